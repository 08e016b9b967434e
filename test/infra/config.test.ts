import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import { afterEach, assert, describe, it } from "vitest"
import { type ProcessSettings, readSettings } from "#infra/config.ts"

const before = { ...process.env }
afterEach(() => {
  process.env = { ...before }
})

const servers = {
  TRIBUTARY_JOURNAL: "esdb://ana:sesame@store:2113",
  TRIBUTARY_BUS: "nats://bus:4222",
  TRIBUTARY_READ_MODELS: "mongodb://views/tributary_views",
  TRIBUTARY_VAULT: "mongodb://vault/tributary_vault"
}
const masterKey = { TRIBUTARY_MASTER_KEY: "07".repeat(32) }

const settings = (environment: Readonly<Record<string, string>>) => {
  for (const name of Object.keys(process.env)) if (name.startsWith("TRIBUTARY_")) delete process.env[name]
  Object.assign(process.env, environment)
  return Effect.runSync(Effect.result(readSettings()))
}
const taken = (environment: Readonly<Record<string, string>>): ProcessSettings => Result.getOrThrow(settings(environment))
const refusal = (environment: Readonly<Record<string, string>>): string => {
  const found = settings(environment)
  if (Result.isSuccess(found)) return assert.fail("It was taken.")
  return found.failure.message
}

describe("the settings of a process", () => {
  it("are those of the embedded form when no server is named, or named as nothing", () => {
    for (const environment of [{}, { TRIBUTARY_JOURNAL: "", TRIBUTARY_VAULT: "" }]) assert.isNull(taken(environment).servers)
  })
  it("are those of the distributed form when all four servers are named", () => {
    const found = taken({ ...servers, ...masterKey, TRIBUTARY_ROLE: "worker", TRIBUTARY_RUNS_IN_FLIGHT: "25" })
    assert.strictEqual(Redacted.value(found.servers!.journal.url), servers.TRIBUTARY_JOURNAL)
    assert.strictEqual(found.role, "worker")
    assert.deepStrictEqual(found.runsInFlight, Option.some(25))
  })
  it("refuse every other mixture, and say what is missing without a credential", () => {
    const names = Object.keys(servers) as ReadonlyArray<keyof typeof servers>
    for (const left of names) {
      const { [left]: _, ...rest } = servers
      const message = refusal({ ...rest, ...masterKey })
      assert.include(message, `${left} is not`)
      assert.include(message, "Nothing was started")
      assert.notInclude(message, "sesame")
    }
  })
  it("refuse a role without servers to share, and a distributed form without a master key", () => {
    assert.include(refusal({ TRIBUTARY_ROLE: "api" }), "TRIBUTARY_ROLE=api needs the distributed form")
    assert.include(refusal(servers), "TRIBUTARY_MASTER_KEY")
  })
  it("name the variable that cannot be meant", () => {
    assert.include(refusal({ TRIBUTARY_RUNS_IN_FLIGHT: "many" }), "RUNS_IN_FLIGHT")
    assert.include(refusal({ TRIBUTARY_RUNS_IN_FLIGHT: "0" }), "RUNS_IN_FLIGHT")
    assert.include(refusal({ TRIBUTARY_ROLE: "boss" }), "ROLE")
  })
  it("take NATS for published events with either form", () => {
    for (const environment of [{}, { ...servers, ...masterKey }])
      assert.isTrue(Option.isSome(taken({ ...environment, TRIBUTARY_NATS: "nats://out:4222" }).relay))
  })
})
