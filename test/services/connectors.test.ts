import * as Effect from "effect/Effect"
import * as ManagedRuntime from "effect/ManagedRuntime"
import { afterAll, assert, describe, it } from "vitest"
import { Connectors } from "#services/connectors.ts"
import { integrationServices, origin, otherTenant, space, tenant } from "../support/integration-services.ts"

const runtime = ManagedRuntime.make(integrationServices)
afterAll(() => runtime.dispose())
const run = <A, E>(effect: (connectors: Connectors["Service"]) => Effect.Effect<A, E>) =>
  runtime.runPromise(Effect.flatMap(Connectors, effect))

const crm = (name: string) => `{ id: crm, name: ${name}, auth: { none: { kind: none } } }`

describe("connectors", () => {
  it("are built in until the space publishes its own", () =>
    run((connectors) =>
      Effect.gen(function* () {
        assert.deepStrictEqual(
          connectors.builtIn.map(({ id, version }) => `${id} ${version}`),
          ["shop 0", "erp 0"]
        )
        assert.strictEqual((yield* connectors.compiled(tenant, "shop")).version, 0)
        yield* connectors.publish(space, "{ id: shop, name: Ours, auth: { none: { kind: none } } }", origin)
        const ours = yield* connectors.compiled(otherTenant, "shop")
        assert.deepStrictEqual([ours.version, ours.manifest.name, ours.webhook], [1, "Ours", undefined])
      })
    ))
  it("get a version with each manifest, and none for the same text", () =>
    run((connectors) =>
      Effect.gen(function* () {
        assert.strictEqual((yield* connectors.publish(space, crm("One"), origin)).version, 1)
        assert.strictEqual((yield* connectors.publish(space, crm("One"), origin)).version, 1)
        assert.strictEqual((yield* connectors.publish(space, crm("Two"), origin)).version, 2)
        assert.strictEqual((yield* connectors.compiled(space, "crm")).manifest.name, "Two")
      })
    ))
  it("are compiled once per version", () =>
    run((connectors) =>
      Effect.gen(function* () {
        yield* connectors.publish(space, crm("Three"), origin)
        assert.strictEqual(yield* connectors.compiled(space, "crm"), yield* connectors.compiled(tenant, "crm"))
      })
    ))
  it("are refused with everything that is wrong, and nothing is published", () =>
    run((connectors) =>
      Effect.gen(function* () {
        const refused = yield* Effect.flip(connectors.publish(space, "{ id: bad, name: Bad, auth: {}, colour: red }", origin))
        assert.strictEqual(refused._tag, "ManifestInvalid")
        assert.include(refused.message, "/colour")
        const pattern = "{ id: bad, name: Bad, auth: { none: { kind: none } }, variables: { a: { pattern: '(?=x)' } } }"
        assert.include((yield* Effect.flip(connectors.publish(space, pattern, origin))).message, "/variables/a/pattern")
        assert.strictEqual((yield* Effect.flip(connectors.compiled(space, "bad")))._tag, "ConnectorNotFound")
      })
    ))
  it("do not exist under names that are none", () =>
    run((connectors) =>
      Effect.gen(function* () {
        for (const name of ["nope", "", "../shop", "constructor", "Shop", "x".repeat(1000)])
          assert.strictEqual((yield* Effect.flip(connectors.compiled(space, name)))._tag, "ConnectorNotFound")
      })
    ))
})
