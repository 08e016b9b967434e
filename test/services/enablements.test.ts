import * as Effect from "effect/Effect"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Redacted from "effect/Redacted"
import { afterAll, assert, describe, it } from "vitest"
import type { ConnectionId, FlowId } from "#domain/ids.ts"
import { Connections } from "#services/connections.ts"
import { Enablements } from "#services/enablements.ts"
import { Flows } from "#services/flows.ts"
import { integrationServices, ordersFlow, origin, otherTenant, space, tenant } from "../support/integration-services.ts"

const runtime = ManagedRuntime.make(integrationServices)
afterAll(() => runtime.dispose())
const run = <A, E>(effect: (enablements: Enablements["Service"]) => Effect.Effect<A, E, Connections | Flows>) =>
  runtime.runPromise(Effect.flatMap(Enablements, effect))
const flow = Effect.fnUntraced(function* (id: string) {
  const flows = yield* Flows
  yield* flows.draft(space, ordersFlow().replace("orders-to-erp", id), origin)
  yield* flows.publish(space, id as FlowId, origin)
  return id as FlowId
})
const failed = <E extends { readonly _tag: string }>(effect: Effect.Effect<unknown, E>) =>
  Effect.map(Effect.flip(effect), ({ _tag }) => _tag)

describe("enablements", () => {
  it("turn a flow on for one tenant, and off", () =>
    run((enablements) =>
      Effect.gen(function* () {
        const id = yield* flow("first")
        yield* enablements.enable(tenant, id, {}, origin)
        assert.deepStrictEqual((yield* enablements.enabled(tenant)).flows, { [id]: { version: null, bindings: {} } })
        assert.deepStrictEqual((yield* enablements.enabled(otherTenant)).flows, {})
        yield* enablements.disable(tenant, id, origin)
        assert.deepStrictEqual((yield* enablements.enabled(tenant)).flows, {})
      })
    ))
  it("refuse a flow or version that is not published, or archived", () =>
    run((enablements) =>
      Effect.gen(function* () {
        const id = yield* flow("second")
        assert.strictEqual(yield* failed(enablements.enable(tenant, "ghost" as FlowId, {}, origin)), "FlowNotPublished")
        assert.strictEqual(yield* failed(enablements.enable(tenant, id, { version: 2 }, origin)), "FlowNotPublished")
        yield* (yield* Flows).archive(space, id, origin)
        assert.strictEqual(yield* failed(enablements.enable(tenant, id, { version: 1 }, origin)), "FlowNotPublished")
      })
    ))
  it("report missing connections and turn the flow on all the same", () =>
    run((enablements) =>
      Effect.gen(function* () {
        const id = yield* flow("third")
        const before = yield* enablements.enable(otherTenant, id, {}, origin)
        assert.deepStrictEqual(
          before.missing.map(({ connectorId, problem }) => `${connectorId} ${problem._tag}`),
          ["erp ConnectionRequired"]
        )
        assert.include(before.missing[0]!.problem.message, "erp")
        const connection = { method: "apiKey", secrets: { apiKey: Redacted.make("k-123456") }, variables: { address: "https://erp.test" } }
        const { connectionId } = yield* (yield* Connections).connect(otherTenant, "erp", connection, origin)
        const after = yield* enablements.enable(otherTenant, id, { bindings: { erp: connectionId } }, origin)
        assert.deepStrictEqual([after.version, after.missing], [1, []])
      })
    ))
  it("refuse bindings that the flow does not know, or of another connector", () =>
    run((enablements) =>
      Effect.gen(function* () {
        const id = yield* flow("fourth")
        const shop = "shop.aaaaaaaaaaaaaaaa" as ConnectionId
        const refused = yield* Effect.flip(enablements.enable(tenant, id, { bindings: { erp: shop, crm: shop } }, origin))
        assert.strictEqual(refused._tag, "BindingsInvalid")
        assert.include(refused.message, "/bindings/erp")
        assert.include(refused.message, "/bindings/crm")
        const missing = yield* enablements.enable(tenant, id, { bindings: { erp: "erp.zzzzzzzzzzzzzzzz" as ConnectionId } }, origin)
        assert.deepStrictEqual(
          missing.missing.map(({ binding }) => binding),
          ["erp"]
        )
      })
    ))
})
