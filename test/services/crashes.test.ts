/** Whatever dies between whichever two steps: an acknowledged event runs, and each order has its effect once. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/testing/TestClock"
import { assert, describe, it } from "vitest"
import type { FlowId } from "#domain/ids.ts"
import { Ingest } from "#services/ingest.ts"
import { OpenWork } from "#services/ports/open-work.ts"
import { type Engine, type Fate, quiet, withFolder } from "../support/engine.ts"
import { startErp } from "../support/erp.ts"
import { bookkeeping, startLedger } from "../support/ledger.ts"
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
  /** Calls that are on their way to the app: whoever died cannot call them back. */
  let underWay = 0
  let landed = () => {}
  const carried: Fate = (what, effect) => {
    if (what === "append") return effect
    const arrives = Effect.sync(() => {
      if (--underWay === 0) landed()
    })
    return Effect.andThen(
      Effect.sync(() => underWay++),
      Effect.onExit(effect, () => arrives)
    )
  }
  const fate: Fate = (what, effect) => Effect.andThen(point, carried(what, effect)).pipe(Effect.tap(() => point))
  const arm = (after: number) => {
    left = after
  }
  const allLanded = () =>
    new Promise<void>((resolve) => {
      landed = resolve
      if (underWay === 0) resolve()
    })
  return { fate, death: death.promise, arm, dead: () => left <= 0, bury: () => burial.resolve(), allLanded }
}

const send = Effect.fnUntraced(function* (endpointId: string, number: number) {
  const ingest = yield* Ingest
  const reception = yield* ingest.at(endpointId)
  const answer = yield* reception!.receive(webhook(number))
  return answer.status === 200
})

/** What the orders are sent to. */
interface App {
  readonly installed: Effect.Effect<{ readonly endpointId: string }, unknown, Engine>
  /** Ends once each order has had its effect. */
  readonly settled: Effect.Effect<void, unknown, Engine>
  /** Who tells the time of a life, where the test does. */
  readonly time?: () => Layer.Layer<never>
}

/** One life that ends at a fault point, and a second one in which the vendor repeats what was not acknowledged. */
const liveTwice = async ({ installed, settled, time = () => Layer.empty }: App, dieAfter: number): Promise<boolean> => {
  let died = false
  const acknowledged = new Set<number>()
  await withFolder(async (start) => {
    const life = mortal()
    const first = start(life.fate, time())
    const { endpointId } = await first.runPromise(installed)
    life.arm(dieAfter)
    const deliver = async (number: number) => {
      if (await first.runPromise(send(endpointId, number))) acknowledged.add(number)
    }
    const work = Promise.all(deliveries.map(deliver)).then(() => first.runPromise(quiet))
    await Promise.race([work, life.death])
    died = life.dead()
    await life.allLanded()
    const second = start(undefined, time())
    for (const number of new Set(deliveries))
      if (!acknowledged.has(number)) assert.isTrue(await second.runPromise(send(endpointId, number)))
    await second.runPromise(Effect.andThen(settled, quiet))
    life.bury()
  })
  return died
}

/** The index is looked through at the start; what it finds goes on in its own time. */
const untilOrders = (orders: ReadonlyMap<string, string>) =>
  Effect.gen(function* () {
    while (orders.size < new Set(deliveries).size) yield* Effect.sleep(2)
  })

/** Lets time go by, second by second, until nothing is left to do. */
const untilNothingIsOpen = Effect.gen(function* () {
  const openWork = yield* OpenWork
  while ((yield* openWork.due({ before: Number.MAX_SAFE_INTEGER, limit: 1 })).length > 0) {
    yield* quiet
    yield* TestClock.adjust("1 second")
    yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
  }
})
const orderIds = ["5600000000", "5600000001", "5600000002", "5600000003"]

describe("a crash at any point", () => {
  it("loses nothing that was acknowledged, and doubles no order", { timeout: 60_000 }, async () => {
    let deaths = 0
    for (let dieAfter = 1; dieAfter <= 40; dieAfter += 2) {
      const erp = await startErp()
      const installed = Effect.gen(function* () {
        const { space, flowId } = yield* publishOrders()
        return yield* customer(space, flowId as FlowId, "acme-corp", { address: erp.address, apiKey: "k" })
      })
      try {
        if (await liveTwice({ installed, settled: untilOrders(erp.orders) }, dieAfter)) deaths++
        const ids = [...erp.orders.values()].map((body) => (JSON.parse(body) as { externalId: string }).externalId)
        assert.deepStrictEqual(ids.sort(), orderIds, `died at point ${dieAfter}`)
      } finally {
        await erp.close()
      }
    }
    assert.isAtLeast(deaths, 10)
  })
  it("leaves one entry of each order in an app that knows no keys and can be asked", { timeout: 120_000 }, async () => {
    let deaths = 0
    const told = new Set<string>()
    for (let dieAfter = 1; dieAfter <= 30; dieAfter += 2) {
      const ledger = await startLedger()
      try {
        const app = { installed: bookkeeping(ledger), settled: untilNothingIsOpen, time: () => TestClock.layer() }
        if (await liveTwice(app, dieAfter)) deaths++
        assert.deepStrictEqual([...ledger.entries].sort(), orderIds, `died at point ${dieAfter}`)
        for (const answer of ledger.told) told.add(answer)
      } finally {
        await ledger.close()
      }
    }
    assert.isAtLeast(deaths, 12)
    assert.deepStrictEqual([...told].sort(), ["absent", "found"])
  })
})
