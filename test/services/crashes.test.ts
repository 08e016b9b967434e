/** Whatever dies between whichever two steps: an acknowledged event runs, and each order reaches the ERP under one key. */
import * as Effect from "effect/Effect"
import { assert, describe, it } from "vitest"
import type { FlowId } from "#domain/ids.ts"
import { Ingest } from "#services/ingest.ts"
import { type Fate, quiet, withFolder } from "../support/engine.ts"
import { type Erp, startErp } from "../support/erp.ts"
import { customer, publishOrders, webhook } from "../support/orders.ts"

/** Orders that are delivered, some of them twice: all at once, so that their steps interleave. */
const deliveries = [0, 1, 2, 1, 0, 3]

/** Dies at the n-th fault point after it was armed: from then on nothing that it asks for comes back. */
const mortal = () => {
  let left = Number.POSITIVE_INFINITY
  const death = Promise.withResolvers<void>()
  const burial = Promise.withResolvers<void>()
  const point = Effect.suspend(() => {
    if (--left > 0) return Effect.void
    death.resolve()
    return Effect.andThen(
      Effect.promise(() => burial.promise),
      Effect.die("buried")
    )
  })
  const fate: Fate = (_what, effect) => Effect.andThen(point, effect).pipe(Effect.tap(() => point))
  const arm = (after: number) => {
    left = after
  }
  return { fate, death: death.promise, arm, dead: () => left <= 0, bury: () => burial.resolve() }
}

const send = Effect.fnUntraced(function* (endpointId: string, number: number) {
  const ingest = yield* Ingest
  const reception = yield* ingest.at(endpointId)
  const answer = yield* reception!.receive(webhook(number))
  return answer.status === 200
})

/** One life that ends at a fault point, and a second one in which the vendor repeats what was not acknowledged. */
const liveTwice = async (erp: Erp, dieAfter: number): Promise<{ readonly died: boolean; readonly acknowledged: number }> => {
  let died = false
  const acknowledged = new Set<number>()
  await withFolder(async (start) => {
    const life = mortal()
    const first = start(life.fate)
    const { endpointId } = await first.runPromise(
      Effect.gen(function* () {
        const { space, flowId } = yield* publishOrders()
        return yield* customer(space, flowId as FlowId, "acme-corp", { address: erp.address, apiKey: "k" })
      })
    )
    life.arm(dieAfter)
    const deliver = async (number: number) => {
      if (await first.runPromise(send(endpointId, number))) acknowledged.add(number)
    }
    const work = Promise.all(deliveries.map(deliver)).then(() => first.runPromise(quiet))
    await Promise.race([work, life.death])
    died = life.dead()
    const second = start()
    for (const number of new Set(deliveries))
      if (!acknowledged.has(number)) assert.isTrue(await second.runPromise(send(endpointId, number)))
    await second.runPromise(Effect.andThen(untilOrders(erp, new Set(deliveries).size), quiet))
    life.bury()
  })
  return { died, acknowledged: acknowledged.size }
}

/** The index is looked through at the start; what it finds goes on in its own time. */
const untilOrders = (erp: Erp, count: number) =>
  Effect.gen(function* () {
    while (erp.orders.size < count) yield* Effect.sleep(2)
  })

describe("a crash at any point", () => {
  it("loses nothing that was acknowledged, and doubles no order", { timeout: 60_000 }, async () => {
    let deaths = 0
    for (let dieAfter = 1; dieAfter <= 64; dieAfter += 3) {
      const erp = await startErp()
      try {
        const { died } = await liveTwice(erp, dieAfter)
        if (died) deaths++
        const ids = [...erp.orders.values()].map((body) => (JSON.parse(body) as { externalId: string }).externalId)
        assert.deepStrictEqual(ids.sort(), ["5600000000", "5600000001", "5600000002", "5600000003"], `died at point ${dieAfter}`)
      } finally {
        await erp.close()
      }
    }
    assert.isAtLeast(deaths, 10)
  })
})
