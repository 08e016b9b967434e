/** Events that come in at the same time are recorded with what they lead to; what does not fit that goes its ordinary way. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { assert, describe, it } from "vitest"
import type { TenantScope } from "#domain/scope.ts"
import { Ingest } from "#services/ingest.ts"
import { Feed } from "#services/ports/feed.ts"
import type { StoredEvent } from "#services/ports/journal.ts"
import { Quotas } from "#services/quotas.ts"
import { Settings } from "#services/settings.ts"
import { PredecessorDied } from "#services/suspects.ts"
import { Worker } from "#services/worker.ts"
import { type Engine, quiet, withFolder } from "../support/engine.ts"
import { type Erp, startErp } from "../support/erp.ts"
import { customer, ordersFlow, origin, publishOrders, webhook } from "../support/orders.ts"

const send = Effect.fnUntraced(function* (endpointId: string, number: number) {
  const reception = yield* (yield* Ingest).at(endpointId)
  return yield* reception!.receive(webhook(number))
})
const sendAll = (endpointId: string, numbers: ReadonlyArray<number>) =>
  Effect.forEach(numbers, (number) => send(endpointId, number), { concurrency: "unbounded" })

/** The tenant's events since a set-up, each as the actor's id and the type. */
const events = Effect.fnUntraced(function* ({ key }: TenantScope) {
  const { events } = yield* (yield* Feed).read({ after: null, limit: 1_000 })
  return events.filter(({ scope, stream }) => scope.key === key && /\/(?:delivery|run|quota)-/u.test(stream))
})
const types = (all: ReadonlyArray<StoredEvent>) => all.map(({ type }) => type)

const world =
  (body: (erp: Erp) => Effect.Effect<void, unknown, Engine>, started: Layer.Layer<never> = Layer.empty) =>
  async () => {
    const erp = await startErp()
    try {
      await withFolder((start) => start(undefined, started).runPromise(body(erp)))
    } finally {
      await erp.close()
    }
  }
const installed = Effect.fnUntraced(function* (erp: Erp, text = ordersFlow()) {
  const { space, flowId } = yield* publishOrders(text)
  return yield* customer(space, flowId, "acme-corp", { address: erp.address, apiKey: "k" })
})
const used = Effect.fnUntraced(function* (scope: TenantScope) {
  const { window } = yield* (yield* Quotas).standing(scope, "events")
  const { entries } = yield* (yield* Quotas).ledger(scope, "events", window)
  return entries.map(({ decision }) => decision)
})

describe("arrivals", () => {
  it(
    "are recorded with their units, their routing and the beginnings of their runs, in one append",
    world((erp) =>
      Effect.gen(function* () {
        const { scope, endpointId } = yield* installed(erp)
        yield* send(endpointId, 0)
        yield* quiet
        const before = (yield* events(scope)).length
        const answers = yield* sendAll(endpointId, [1, 2, 3])
        assert.isTrue(answers.every((answer) => "status" in answer && answer.status === 200))
        yield* quiet
        const all = types((yield* events(scope)).slice(before))
        const one = ["DeliveryReceived", "EventRouted", "RunStarted", "StepSucceeded", "StepStarted"]
        // The first does not wait for others; those that come meanwhile go together.
        assert.deepStrictEqual(all.slice(0, 6), ["UnitsReserved", ...one])
        const second = all.indexOf("UnitsReserved", 1)
        assert.deepStrictEqual(all.slice(second, second + 11), ["UnitsReserved", ...one, ...one])
        assert.deepStrictEqual(yield* used(scope), ["granted", "granted", "granted", "granted"])
        assert.strictEqual(erp.calls.length, 4)
      })
    )
  )
  it(
    "that no flow wants are routed as they are recorded",
    world((erp) =>
      Effect.gen(function* () {
        const { scope, endpointId } = yield* installed(erp, ordersFlow().replace("orders/create", "orders/cancelled"))
        yield* sendAll(endpointId, [1])
        assert.deepStrictEqual(types(yield* events(scope)), ["UnitsReserved", "DeliveryReceived", "EventRouted"])
      })
    )
  )
  it(
    "have their effect once, however often one comes at the same time, and are counted once",
    world((erp) =>
      Effect.gen(function* () {
        const { scope, endpointId } = yield* installed(erp)
        const answers = yield* sendAll(endpointId, [1, 1, 2, 1, 3, 2, 1])
        assert.isTrue(answers.every((answer) => "status" in answer && answer.status === 200))
        yield* quiet
        yield* sendAll(endpointId, [3, 4, 1])
        yield* quiet
        assert.deepStrictEqual(erp.calls.map(({ body }) => (JSON.parse(body) as { externalId: string }).externalId).sort(), [
          "5600000001",
          "5600000002",
          "5600000003",
          "5600000004"
        ])
        assert.deepStrictEqual(yield* used(scope), ["granted", "granted", "granted", "granted"])
        assert.lengthOf(
          types(yield* events(scope)).filter((type) => type === "DeliveryReceived"),
          4
        )
      })
    )
  )
  it(
    "are decided one by one near the limit: exactly so many pass",
    world((erp) =>
      Effect.gen(function* () {
        const { scope, endpointId } = yield* installed(erp)
        yield* (yield* Settings).set(scope, "quota.eventsPerDay.limit", 5, {}, origin)
        yield* sendAll(endpointId, [1, 2, 3, 4, 5, 6, 7, 8])
        yield* quiet
        assert.strictEqual(erp.calls.length, 5)
        const decisions = yield* used(scope)
        assert.lengthOf(
          decisions.filter((decision) => decision === "granted"),
          5
        )
        assert.lengthOf(
          decisions.filter((decision) => decision === "refused"),
          3
        )
      })
    )
  )
  it("begin as many runs as the tenant may have in hand; the others wait for their turn", async () => {
    const erp = await startErp(() => "hang")
    await withFolder((start) =>
      start().runPromise(
        Effect.gen(function* () {
          const { scope, endpointId } = yield* installed(erp)
          yield* (yield* Settings).set(scope, "runs.inFlightMax", 3, {}, origin)
          const answers = yield* sendAll(endpointId, [1, 2, 3, 4, 5, 6, 7, 8])
          assert.isTrue(answers.every((answer) => "status" in answer && answer.status === 200))
          while (erp.calls.length < 3) yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
          assert.strictEqual((yield* Worker).figures().inFlight, 3)
          assert.lengthOf(
            types(yield* events(scope)).filter((type) => type === "RunStarted"),
            3
          )
          // What hangs ends with the app.
          yield* Effect.promise(() => erp.close())
        })
      )
    )
  })
  it(
    "are recorded before anything is done for them, after the process before this one has died",
    world(
      (erp) =>
        Effect.gen(function* () {
          const { scope, endpointId } = yield* installed(erp)
          yield* send(endpointId, 1)
          yield* quiet
          assert.strictEqual(types(yield* events(scope))[0], "DeliveryReceived")
          const routed = (yield* events(scope)).find(({ type }) => type === "EventRouted")
          assert.strictEqual(routed?.origin.actor.id, "router")
          assert.strictEqual(erp.calls.length, 1)
        }),
      Layer.succeed(PredecessorDied, true)
    )
  )
})
