import { readdirSync, readFileSync } from "node:fs"
import * as Schema from "effect/Schema"
import { assert, describe, it } from "vitest"
import type { SpaceKey } from "#domain/ids.ts"
import type { Actor } from "#domain/recorded.ts"
import { allEvents, kindOfEvent } from "#domain/registry.ts"
import { type LocalName, spaceScope } from "#domain/scope.ts"
import { AuditEntry, audit } from "#projections/audit.ts"
import { project, recorded } from "../support/project.ts"

const scope = spaceScope("saaaabbbbccccddddeee" as SpaceKey)
const key: Actor = { kind: "key", id: "abcdefghijkl", address: "192.0.2.7" }
const entries = (local: LocalName, event: { readonly _tag: string }, actor: Actor = key) =>
  Object.values(
    project(
      audit,
      recorded(scope, local, [event]).map((each) => ({ ...each, origin: { actor, correlationId: "c" } }))
    )
  )

interface Sample {
  readonly type: string
  readonly version: number
  readonly data: Record<string, unknown>
}
const samplesFolder = new URL("../domain/samples/", import.meta.url)
const samples = readdirSync(samplesFolder)
  .filter((file) => file.endsWith(".json"))
  .flatMap((file) => JSON.parse(readFileSync(new URL(file, samplesFolder), "utf8")) as ReadonlyArray<Sample>)

describe("the audit log", () => {
  it("says who did what to what, when, from where and with which outcome", () =>
    assert.deepStrictEqual(entries("settings-self", { _tag: "SettingChanged", key: "runs.attemptsMax", value: 3 } as never), [
      {
        id: "settings-self/0" as never,
        at: 1_000,
        actor: key,
        by: "key:abcdefghijkl",
        action: "SettingChanged",
        kind: "settings",
        target: "self",
        revision: 0,
        fields: { key: "runs.attemptsMax", value: 3 },
        correlationId: "c"
      }
    ]))
  it("keeps what people do to runs, and nothing of what the system does with them", () => {
    const cancelled = { _tag: "RunCancelled", reason: "by hand" } as never
    assert.lengthOf(entries("run-a", cancelled), 1)
    assert.lengthOf(entries("run-a", cancelled, { kind: "system", id: "runner" }), 0)
  })
  it("leaves out digests, fingerprints and sealed text, however deep", () => {
    const secrets = [{ field: "apiKey", version: 1, fingerprint: "f00d" }]
    const [authorized] = entries("integration-erp", {
      _tag: "ConnectionAuthorized",
      connectionId: "erp.a",
      method: "api-key",
      secrets,
      variables: "sealed",
      label: "sealed"
    } as never)
    assert.deepStrictEqual(authorized?.fields, { connectionId: "erp.a", method: "api-key", secrets: [{ field: "apiKey", version: 1 }] })
    const [created] = entries("apikey-a", { _tag: "ApiKeyCreated", keyId: "a", digest: "d1", label: "Wall" } as never)
    assert.deepStrictEqual(created?.fields, { keyId: "a", label: "Wall" })
  })
  it("holds every event of what people set up, and no traffic", () => {
    for (const type of audit.events) assert.isTrue(allEvents.has(type))
    for (const [type, kind] of kindOfEvent)
      assert.strictEqual(
        audit.events.includes(type),
        !["delivery", "run", "quota", "name", "retention"].includes(kind) || /^Run(Started|Cancelled|Retried)$|^StepDecided$/u.test(type),
        type
      )
  })
  it("has a shape that the API can show for every stored sample, and no digest in it", () => {
    for (const { type, version, data } of samples) {
      if (!audit.events.includes(type)) continue
      const [entry] = entries(`${kindOfEvent.get(type)}-x`, allEvents.get(type)!.decode(type, version, data))
      assert.doesNotThrow(() => Schema.decodeUnknownSync(AuditEntry)(JSON.parse(JSON.stringify(entry))), type)
      assert.notMatch(JSON.stringify(entry), /"(digest|fingerprint|externalId|displayName)":/u)
    }
  })
})
