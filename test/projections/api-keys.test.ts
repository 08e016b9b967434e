import { assert, describe, it } from "vitest"
import { ApiKeyEvent } from "#domain/api-key.ts"
import { ApiKeyId, type SpaceKey } from "#domain/ids.ts"
import { spaceScope } from "#domain/scope.ts"
import { apiKeys } from "#projections/api-keys.ts"
import { project, recorded } from "../support/project.ts"

const { ApiKeyCreated, ApiKeyExpirySet, ApiKeyRevoked, ApiKeyRotated } = ApiKeyEvent.cases
const scope = spaceScope("saaaabbbbccccddddeee" as SpaceKey)
const keyId = ApiKeyId.make("aaaabbbbcccc")
const digest = "1".repeat(64)
const created = ApiKeyCreated.make({ keyId, digest, role: "viewer", label: "Wall" })
const viewed = (...events: ReadonlyArray<ApiKeyEvent>) =>
  project(apiKeys, recorded(scope, `apikey-${keyId}`, events))[`${scope.key}/${keyId}`]

describe("the API keys view", () => {
  it("shows what a key is for and who made it, and never its digest", () =>
    assert.deepStrictEqual(viewed(created), {
      keyId,
      role: "viewer",
      tenantKey: null,
      label: "Wall",
      status: "active",
      createdBy: "system:test",
      createdAt: 1_000,
      expiresAt: null,
      rotatedAt: null,
      revokedAt: null
    }))
  it("shows when it was rotated, expires and was revoked", () => {
    const rotated = ApiKeyRotated.make({ digest: "2".repeat(64), graceUntil: 9 })
    const shown = viewed(created, rotated, ApiKeyExpirySet.make({ expiresAt: 5_000 }), ApiKeyRevoked.make({}))
    assert.deepInclude(shown, { rotatedAt: 1_001, expiresAt: 5_000, revokedAt: 1_003, status: "revoked" })
    assert.isFalse(/1{64}|2{64}/u.test(JSON.stringify(shown)))
  })
  it("wants every event of a key", () => assert.deepStrictEqual([...apiKeys.events].sort(), Object.keys(ApiKeyEvent.cases).sort()))
})
