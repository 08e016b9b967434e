import * as Effect from "effect/Effect"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Stream from "effect/Stream"
import { afterAll, assert, describe, it } from "vitest"
import type { FlowId } from "#domain/ids.ts"
import { Flows } from "#services/flows.ts"
import { Feed } from "#services/ports/feed.ts"
import { integrationServices, ordersFlow, origin, space, tenant } from "../support/integration-services.ts"

const runtime = ManagedRuntime.make(integrationServices)
afterAll(() => runtime.dispose())
const run = <A, E>(effect: (flows: Flows["Service"]) => Effect.Effect<A, E, Feed>) => runtime.runPromise(Effect.flatMap(Flows, effect))

const flowId = "orders-to-erp" as FlowId
const named = (id: string, text = ordersFlow()) => text.replace("orders-to-erp", id)
const data = {
  trigger: { body: { name: "#1001", total_price: "60.70", currency: "EUR", line_items: [{ sku: "A-1" }] }, event: "orders/create" },
  steps: { order: { output: { externalId: "#1001", total: 60.7, currency: "EUR" } } }
}

describe("flows", () => {
  it("are drafted, published and ready to run", () =>
    run((flows) =>
      Effect.gen(function* () {
        const drafted = yield* flows.draft(space, ordersFlow(), origin)
        assert.deepStrictEqual([drafted.flowId, drafted.findings], [flowId, []])
        const published = yield* flows.publish(space, flowId, origin)
        assert.deepStrictEqual([published.version, published.contentHash], [1, drafted.contentHash])
        const ready = yield* flows.published(tenant, flowId, null)
        assert.deepStrictEqual(ready.graph, { ids: ["order", "send"], order: [0, 1], needs: [[], [0]] })
        assert.deepStrictEqual(ready.stepList, [
          { id: "order", kind: "transform" },
          { id: "send", kind: "action" }
        ] as never)
        assert.deepStrictEqual(yield* ready.steps[0]!.evaluate(data), { externalId: "#1001", total: 60.7, currency: "EUR" })
        assert.deepStrictEqual(yield* ready.steps[1]!.evaluate(data), {
          externalId: "#1001",
          total: 60.7,
          currency: "EUR",
          lines: [{ sku: "A-1", fixed: 1 }]
        })
      })
    ))
  it("want events by name and accept them by condition", () =>
    run((flows) =>
      Effect.gen(function* () {
        yield* flows.draft(space, ordersFlow(), origin)
        yield* flows.publish(space, flowId, origin)
        const ready = yield* flows.published(space, flowId, null)
        assert.deepStrictEqual([ready.wants("orders/create"), ready.wants("orders/paid")], [true, false])
        assert.deepStrictEqual(
          [ready.accepts({ body: { total_price: "10.01" } }), ready.accepts({ body: { total_price: "9" } })],
          [true, false]
        )
      })
    ))
  it("are compiled once per version, and an identical one is not published again", () =>
    run((flows) =>
      Effect.gen(function* () {
        const id = "twice" as FlowId
        yield* flows.draft(space, named(id), origin)
        yield* flows.publish(space, id, origin)
        assert.strictEqual((yield* flows.publish(space, id, origin)).version, 1)
        const first = yield* flows.published(space, id, null)
        assert.strictEqual(yield* flows.published(tenant, id, 1), first)
        yield* flows.draft(space, named(id, ordersFlow("# changed\n")), origin)
        assert.strictEqual((yield* flows.publish(space, id, origin)).version, 2)
        assert.strictEqual((yield* flows.published(space, id, null)).version, 2)
        assert.strictEqual(yield* flows.published(space, id, 1), first)
        assert.include((yield* flows.get(space, id, 2)).text, "# changed")
        assert.notInclude((yield* flows.get(space, id, 1)).text, "# changed")
      })
    ))
  it("report at drafting what would keep them from being published, and are refused for it then", () =>
    run((flows) =>
      Effect.gen(function* () {
        const id = "wrong" as FlowId
        const text = named(id).replace("steps.order.output.total", "steps.ghost.output.total").replace("createOrder", "createOdrer")
        const { findings } = yield* flows.draft(space, text, origin)
        assert.deepStrictEqual(
          findings.map(({ pointer }) => pointer),
          ["/steps/1/action", "/steps/1/input/total"]
        )
        const refused = yield* Effect.flip(flows.publish(space, id, origin))
        assert.strictEqual(refused._tag, "FlowInvalid")
        assert.include(refused.message, "steps.ghost")
        assert.strictEqual((yield* Effect.flip(flows.published(space, id, null)))._tag, "FlowNotPublished")
      })
    ))
  it("are refused for JSONata that does not parse, where it stands", () =>
    run((flows) =>
      Effect.gen(function* () {
        const text = named("broken").replace("= trigger.body.line_items[0].sku", "'= trigger.body.('")
        const { findings } = yield* flows.draft(space, text, origin)
        assert.deepStrictEqual(
          findings.map(({ pointer }) => pointer),
          ["/steps/1/input/lines/0/sku"]
        )
      })
    ))
  it("are not drafted when their shape is wrong", () =>
    run((flows) =>
      Effect.gen(function* () {
        for (const text of [
          "",
          "id: x",
          "[1, 2",
          named("x").replace("kind: transform", "kind: forEach"),
          named("x").replace("event:", "evnet:")
        ])
          assert.strictEqual((yield* Effect.flip(flows.draft(space, text, origin)))._tag, "FlowInvalid")
      })
    ))
  it("have no newest version once archived, while what runs goes on", () =>
    run((flows) =>
      Effect.gen(function* () {
        const id = "old" as FlowId
        yield* flows.draft(space, named(id), origin)
        yield* flows.publish(space, id, origin)
        yield* flows.archive(space, id, origin)
        assert.strictEqual((yield* Effect.flip(flows.published(space, id, null)))._tag, "FlowNotPublished")
        assert.strictEqual((yield* flows.published(space, id, 1)).version, 1)
        assert.strictEqual((yield* Effect.flip(flows.live(space, id, 1)))._tag, "FlowNotPublished")
      })
    ))
  it("leave no text of theirs readable in the log", () =>
    run((flows) =>
      Effect.gen(function* () {
        yield* flows.draft(space, named("quiet", ordersFlow("notes: canary-in-a-document\n")), origin)
        const feed = yield* Feed
        const [page] = yield* Stream.runCollect(Stream.take(feed.follow({ after: null, limit: 1000 }), 1))
        assert.notInclude(JSON.stringify(page), "canary-in-a-document")
      })
    ))
})
