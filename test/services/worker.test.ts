import * as Effect from "effect/Effect"
import { assert, describe, it } from "vitest"
import { Ingest } from "#services/ingest.ts"
import { Feed } from "#services/ports/feed.ts"
import { Settings } from "#services/settings.ts"
import { Worker } from "#services/worker.ts"
import { quiet, withFolder } from "../support/engine.ts"
import { startErp } from "../support/erp.ts"
import { customer, origin, publishOrders, webhook } from "../support/orders.ts"

const send = Effect.fnUntraced(function* (endpointId: string, number: number) {
  const reception = yield* (yield* Ingest).at(endpointId)
  const answer = yield* reception!.receive(webhook(number))
  assert.strictEqual(answer.status, 200)
})

describe("the worker", () => {
  it("gives a small tenant its turn while a large one has much to do", async () => {
    const erp = await startErp()
    try {
      await withFolder((start) =>
        start().runPromise(
          Effect.gen(function* () {
            const { space, flowId } = yield* publishOrders()
            const large = yield* customer(space, flowId, "large", { address: erp.address, apiKey: "large" })
            const small = yield* customer(space, flowId, "small", { address: erp.address, apiKey: "small" })
            const many = Array.from({ length: 600 }, (_, number) => number)
            yield* Effect.forEach(many, (number) => send(large.endpointId, number), { concurrency: "unbounded", discard: true })
            yield* send(small.endpointId, 9_000)
            yield* quiet
            assert.strictEqual(erp.calls.length, 601)
            // Not at the end of the queue: what one tenant has in hand at most stands before it.
            const place = erp.calls.findIndex(({ apiKey }) => apiKey === "small")
            assert.isBelow(place, 601 - 1, `the small tenant's call was number ${place}`)
          })
        )
      )
    } finally {
      await erp.close()
    }
  })
  it("goes on with what it has no room for in memory, each event once, and keeps no other tenant waiting for it", async () => {
    const erp = await startErp()
    try {
      await withFolder((start) =>
        start(undefined, undefined, { ready: 16 }).runPromise(
          Effect.gen(function* () {
            const { space, flowId } = yield* publishOrders()
            const large = yield* customer(space, flowId, "large", { address: erp.address, apiKey: "large" })
            const small = yield* customer(space, flowId, "small", { address: erp.address, apiKey: "small" })
            for (const { scope } of [large, small]) yield* (yield* Settings).set(scope, "runs.inFlightMax", 1, {}, origin)
            const many = Array.from({ length: 300 }, (_, number) => number)
            yield* Effect.forEach(many, (number) => send(large.endpointId, number), { concurrency: "unbounded", discard: true })
            for (const number of [9_000, 9_001]) yield* send(small.endpointId, number)
            yield* quiet
            assert.strictEqual(erp.calls.length, 302)
            assert.strictEqual(erp.orders.size, 302)
            const last = erp.calls.findLastIndex(({ apiKey }) => apiKey === "small")
            assert.isBelow(last, 302 - 150, `the small tenant's last call was number ${last}`)
            const { events } = yield* (yield* Feed).read({ after: null, limit: 10_000 })
            assert.isFalse(
              events.some(({ type }) => type === "RoutingResumed"),
              "nobody has died"
            )
          })
        )
      )
    } finally {
      await erp.close()
    }
  })
  it("has nothing in memory of a tenant once its work is done", async () => {
    const erp = await startErp()
    try {
      await withFolder((start) =>
        start().runPromise(
          Effect.gen(function* () {
            const { space, flowId } = yield* publishOrders()
            const { endpointId } = yield* customer(space, flowId, "acme-corp", { address: erp.address, apiKey: "k" })
            yield* Effect.forEach([1, 2, 3, 3, 2], (number) => send(endpointId, number), { concurrency: "unbounded", discard: true })
            yield* quiet
            const { figures } = yield* Worker
            assert.deepInclude(figures(), { ready: 0, inFlight: 0, timers: 0, tenants: 0 })
          })
        )
      )
    } finally {
      await erp.close()
    }
  })
  it("stops taking work when it drains, and the next engine goes on with what was left", async () => {
    const erp = await startErp()
    try {
      await withFolder(async (start) => {
        const first = start()
        const endpointId = await first.runPromise(
          Effect.gen(function* () {
            const { space, flowId } = yield* publishOrders()
            const { endpointId } = yield* customer(space, flowId, "acme-corp", { address: erp.address, apiKey: "k" })
            yield* quiet
            yield* (yield* Worker).drain(1_000)
            for (const number of [1, 2, 3]) yield* send(endpointId, number)
            return endpointId
          })
        )
        assert.strictEqual(erp.calls.length, 0)
        await first.dispose()
        const second = start()
        await second.runPromise(
          Effect.gen(function* () {
            while (erp.orders.size < 3) yield* Effect.sleep(2)
            yield* send(endpointId, 1)
            yield* quiet
          })
        )
        assert.strictEqual(erp.calls.length, 3)
      })
    } finally {
      await erp.close()
    }
  })
})
