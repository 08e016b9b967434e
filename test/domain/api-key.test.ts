import { assert, describe, it } from "vitest"
import {
  ApiKeyCommand,
  ApiKeyEnded,
  ApiKeyEvent,
  ApiKeyNotFound,
  acceptedDigests,
  apiKey,
  GrantTooWide,
  TenantRequired
} from "#domain/api-key.ts"
import { ApiKeyId, TenantKey } from "#domain/ids.ts"
import { given } from "../support/given.ts"
import { replays } from "../support/replays.ts"

const { CreateApiKey, ExpireApiKey, RevokeApiKey, RotateApiKey } = ApiKeyCommand.cases
const { ApiKeyCreated, ApiKeyExpirySet, ApiKeyRevoked, ApiKeyRotated } = ApiKeyEvent.cases
const keyId = ApiKeyId.make("aaaabbbbcccc")
const [mine, other] = [TenantKey.make("taaaabbbbccccddddeee"), TenantKey.make("tbbbbbbbbccccddddeee")]
const [first, second, third] = ["1", "2", "3"].map((digit) => digit.repeat(64)) as [string, string, string]
const fields = { keyId, digest: first, role: "developer", label: "CI" } as const
const created = ApiKeyCreated.make(fields)
const owner = { actingRole: "owner" } as const
const revoked = ApiKeyRevoked.make({})

describe("an API key", () => {
  it("is created with a role up to the creator's", () => {
    for (const actingRole of ["platform-admin", "developer"] as const)
      given(apiKey)
        .when(CreateApiKey.make({ ...fields, actingRole }))
        .decides(created)
    given(apiKey)
      .when(CreateApiKey.make({ ...fields, actingRole: "operator" }))
      .rejects(new GrantTooWide({ role: "developer", actingRole: "operator", why: "role" }))
  })
  it("is bound to the creator's tenant, when that is bound", () => {
    const create = { ...fields, actingRole: "admin", actingTenant: mine } as const
    given(apiKey).when(CreateApiKey.make(create)).rejects("GrantTooWide")
    given(apiKey)
      .when(CreateApiKey.make({ ...create, tenantKey: other }))
      .rejects("GrantTooWide")
    given(apiKey)
      .when(CreateApiKey.make({ ...create, tenantKey: mine }))
      .decides(ApiKeyCreated.make({ ...fields, tenantKey: mine }))
  })
  it("for a tenant user needs a tenant", () =>
    given(apiKey)
      .when(CreateApiKey.make({ ...fields, role: "tenant-user", actingRole: "admin" }))
      .rejects(new TenantRequired()))
  it("is created once", () =>
    given(apiKey, created)
      .when(CreateApiKey.make({ ...fields, actingRole: "admin" }))
      .rejects("ApiKeyExists"))
  it("opens the door until it expires", () => {
    const { state } = given(apiKey, created, ApiKeyExpirySet.make({ expiresAt: 100 }))
    assert.deepStrictEqual(acceptedDigests(state, 99), [first])
    assert.deepStrictEqual(acceptedDigests(state, 100), [])
  })
  it("opens with both secrets during the grace time after a rotation", () => {
    given(apiKey, created)
      .when(RotateApiKey.make({ digest: second, graceUntil: 100, at: 50, ...owner }))
      .decides(ApiKeyRotated.make({ digest: second, graceUntil: 100 }))
    const { state } = given(apiKey, created, ApiKeyRotated.make({ digest: second, graceUntil: 100 }))
    assert.deepStrictEqual(acceptedDigests(state, 99), [second, first])
    assert.deepStrictEqual(acceptedDigests(state, 100), [second])
  })
  it("forgets the secret before the last two", () => {
    const rotations = [second, third].map((digest) => ApiKeyRotated.make({ digest, graceUntil: 100 }))
    assert.deepStrictEqual(acceptedDigests(given(apiKey, created, ...rotations).state, 50), [third, second])
  })
  it("opens nothing once it is revoked, at once and for both secrets", () => {
    given(apiKey, created).when(RevokeApiKey.make(owner)).decides(revoked)
    given(apiKey, created, revoked).when(RevokeApiKey.make(owner)).decides()
    assert.deepStrictEqual(
      acceptedDigests(given(apiKey, created, ApiKeyRotated.make({ digest: second, graceUntil: 100 }), revoked).state, 50),
      []
    )
  })
  it("cannot come back after it was revoked or had expired", () => {
    const ended = (why: "revoked" | "expired") => new ApiKeyEnded({ keyId, why })
    given(apiKey, created, revoked)
      .when(RotateApiKey.make({ digest: second, graceUntil: 9, at: 1, ...owner }))
      .rejects(ended("revoked"))
    given(apiKey, created, revoked)
      .when(ExpireApiKey.make({ expiresAt: 9, ...owner }))
      .rejects(ended("revoked"))
    given(apiKey, ApiKeyCreated.make({ ...fields, expiresAt: 5 }))
      .when(RotateApiKey.make({ digest: second, graceUntil: 9, at: 5, ...owner }))
      .rejects(ended("expired"))
  })
  it("is not touched by who has a lower role, or another tenant", () => {
    const changes = (acting: { readonly actingRole: "operator" | "admin"; readonly actingTenant?: TenantKey }) => [
      RevokeApiKey.make(acting),
      ExpireApiKey.make({ expiresAt: 9, ...acting }),
      RotateApiKey.make({ digest: second, graceUntil: 9, at: 1, ...acting })
    ]
    for (const command of [...changes({ actingRole: "operator" }), ...changes({ actingRole: "admin", actingTenant: mine })])
      given(apiKey, created).when(command).rejects("GrantTooWide")
  })
  it("that never was cannot be changed", () => {
    for (const command of [
      RevokeApiKey.make(owner),
      ExpireApiKey.make({ expiresAt: 1, ...owner }),
      RotateApiKey.make({ digest: first, graceUntil: 1, at: 0, ...owner })
    ])
      given(apiKey).when(command).rejects(new ApiKeyNotFound())
    assert.deepStrictEqual(acceptedDigests(null, 0), [])
  })
  replays(apiKey, ApiKeyEvent)
})
