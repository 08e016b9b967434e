import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import { assert, describe, it } from "vitest"
import type { Position } from "#domain/ids.ts"
import { ReadModels } from "#services/ports/read-models.ts"
import { standbyMillis } from "#services/projection-runner.ts"
import { Log, positionAt } from "../support/log.ts"
import {
  acme,
  caughtUp,
  contents,
  fill,
  folded,
  run,
  runOnTestClock,
  someSteps,
  sorted,
  space,
  started,
  statusOf,
  tallies,
  until
} from "../support/tallies.ts"

/** The same views, twice as large: what another version would make of the same events. */
const doubled = {
  ...tallies,
  version: 2,
  evolve: ((view, recorded, key) => {
    const next = tallies.evolve(view && { ...view, sum: view.sum / 2 }, recorded, key)
    return next && { ...next, sum: next.sum * 2 }
  }) satisfies typeof tallies.evolve
}
const everything = { scope: space, across: space, limit: 500 }

/** An engine of its own that has run and ended. */
const ran = (log: Log, projections: Parameters<typeof started>[1]) =>
  Effect.scoped(
    Effect.gen(function* () {
      const { views } = yield* started(log, projections)
      yield* caughtUp(views, log)
    })
  )

describe("a rebuild on request", () => {
  it("makes a fresh generation while the present one serves and goes on, then takes its place", () =>
    run(
      Effect.gen(function* () {
        const log = new Log()
        fill(log, someSteps(60))
        const { views, wake } = yield* started(log)
        yield* caughtUp(views, log)
        log.pageSizes = [2]
        const asked = yield* views.rebuild("tallies")
        assert.deepInclude(asked.serving, { model: "tallies@1", status: "live", position: log.head })
        assert.deepInclude(asked.building, { model: "tallies@1+2", status: "building", position: null, share: 0 })
        fill(log, someSteps(6))
        wake()
        let answers = 0
        let shares = 0
        yield* until(
          Effect.gen(function* () {
            const status = yield* statusOf(views, "tallies")
            if (status.building !== null && status.building.share! > 0 && status.building.share! < 1) shares++
            assert.isNotEmpty(yield* contents(views))
            answers++
            return status.building === null
          })
        )
        assert.isAbove(answers, 10)
        assert.isAbove(shares, 5)
        yield* caughtUp(views, log)
        const { serving } = yield* statusOf(views, "tallies")
        assert.deepInclude(serving, { model: "tallies@1+2", status: "live" })
        assert.deepStrictEqual(sorted(yield* contents(views)), sorted(folded(log)))
        const store = yield* ReadModels
        yield* until(Effect.map(store.models, (all) => all.length === 1 && all[0]!.model === "tallies@1+2"))
      })
    ))
  it("is not started twice", () =>
    run(
      Effect.gen(function* () {
        const log = new Log()
        fill(log, someSteps(30))
        const { views } = yield* started(log)
        yield* caughtUp(views, log)
        log.pageSizes = [1]
        yield* views.rebuild("tallies")
        assert.strictEqual((yield* views.rebuild("tallies")).building?.model, "tallies@1+2")
      })
    ))
  it("goes on where it was after a restart, and the old generation goes on serving", () =>
    run(
      Effect.gen(function* () {
        const log = new Log()
        fill(log, someSteps(40))
        yield* ran(log, [tallies])
        log.pageSizes = [3]
        yield* Effect.scoped(
          Effect.gen(function* () {
            const { views } = yield* started(log)
            yield* caughtUp(views, log)
            yield* views.rebuild("tallies")
            yield* until(Effect.map(statusOf(views, "tallies"), ({ building }) => (building?.share ?? 0) > 0.3))
          })
        )
        const store = yield* ReadModels
        const left = (yield* store.models).find(({ model }) => model === "tallies@1+2")!
        assert.isNotNull(left.checkpoint)
        const { views } = yield* started(log)
        const status = yield* statusOf(views, "tallies")
        assert.deepInclude(status.serving, { model: "tallies@1", status: "live" })
        assert.deepInclude(status.building, { model: "tallies@1+2", position: left.checkpoint })
        yield* caughtUp(views, log)
        assert.deepStrictEqual(sorted(yield* contents(views)), sorted(folded(log)))
      })
    ))
  it("of an unknown projection is refused, with the names of those that there are", () =>
    run(
      Effect.gen(function* () {
        const { views } = yield* started(new Log())
        const failure = yield* Effect.flip(views.rebuild("tally"))
        assert.strictEqual(failure.message, "There is no projection tally. There are: tallies.")
      })
    ))
})

describe("a new version", () => {
  it("is built from the first event, and the old one is dropped when it serves", () =>
    run(
      Effect.gen(function* () {
        const log = new Log()
        fill(log, someSteps(20))
        yield* ran(log, [tallies])
        const { views } = yield* started(log, [doubled])
        yield* caughtUp(views, log)
        const twice = folded(log).map((view) => ({ ...view, sum: view.sum * 2 }))
        assert.deepStrictEqual(sorted(yield* contents(views)), sorted(twice))
        const store = yield* ReadModels
        yield* until(Effect.map(store.models, (all) => all.length === 1 && all[0]!.model === "tallies@2"))
      })
    ))
  it("lets the old one serve as it was where today's code can show it", () =>
    runOnTestClock(
      Effect.gen(function* () {
        const log = new Log()
        fill(log, someSteps(20))
        yield* ran(log, [tallies])
        const before = sorted(folded(log))
        fill(log, [...someSteps(3)])
        const { views } = yield* started(log, [{ ...doubled, readableSince: 1, evolve: stuck }])
        yield* until(Effect.map(statusOf(views, "tallies"), ({ building }) => building?.status === "quarantined"))
        assert.deepInclude((yield* statusOf(views, "tallies")).serving, { model: "tallies@1", status: "frozen" })
        assert.deepStrictEqual(sorted(yield* contents(views)), before)
      })
    ))
  it("answers that it is being built where today's code cannot show the old one", () =>
    runOnTestClock(
      Effect.gen(function* () {
        const log = new Log()
        fill(log, someSteps(20))
        yield* ran(log, [tallies])
        const { views } = yield* started(log, [{ ...doubled, evolve: stuck }])
        const asking = yield* Effect.forkChild(Effect.flip(views.find("tallies", everything, null)), { startImmediately: true })
        yield* TestClock.adjust("2 seconds")
        const failure = yield* Fiber.join(asking)
        assert.strictEqual(failure._tag, "ViewsBuilding")
        assert.match(failure.message, /being built from the log \(\d+ % done\)/u)
      })
    ))
  it("is not hidden by a field that the old one does not know", () =>
    runOnTestClock(
      Effect.gen(function* () {
        const log = new Log()
        fill(log, someSteps(20))
        yield* ran(log, [tallies])
        const fields = { sum: "number", id: "text" } as const
        const { views } = yield* started(log, [{ ...doubled, readableSince: 1, fields, evolve: stuck }])
        const failure = yield* Effect.flip(views.find("tallies", { ...everything, where: [{ field: "id", is: "eq", value: "a" }] }, null))
        assert.strictEqual(failure._tag, "ViewsBuilding")
      })
    ))
  it("is made as well when only the declared fields have changed", () =>
    run(
      Effect.gen(function* () {
        const log = new Log()
        fill(log, someSteps(20))
        yield* ran(log, [tallies])
        const { views } = yield* started(log, [{ ...tallies, fields: { sum: "number", id: "text" }, sorts: [["sum"], ["id"]] }])
        yield* caughtUp(views, log)
        const { items } = yield* views.find("tallies", { ...everything, where: [{ field: "id", is: "eq", value: "a" }] }, null)
        assert.isNotEmpty(items)
        assert.strictEqual((yield* statusOf(views, "tallies")).serving?.model, "tallies@1+2")
      })
    ))
  it("of a newer release is left alone by an older one", () =>
    run(
      Effect.gen(function* () {
        const log = new Log()
        fill(log, someSteps(10))
        yield* ran(log, [doubled])
        yield* ran(log, [tallies])
        const store = yield* ReadModels
        assert.deepStrictEqual((yield* store.models).map(({ model }) => model).sort(), ["tallies@1", "tallies@2"])
      })
    ))
})

/** Throws at the ninth event. */
const stuck: typeof tallies.evolve = (view, recorded, key) => {
  if (recorded.position === positionAt(9)) throw new Error("a bug in the fold")
  return tallies.evolve(view, recorded, key)
}

describe("an event that a projection cannot take", () => {
  it("stops that projection just before it, says so, and stops no other", () =>
    run(
      Effect.gen(function* () {
        const log = new Log()
        fill(log, someSteps(8))
        const broken = { ...tallies, name: "broken", evolve: stuck }
        const { views, wake } = yield* started(log, [tallies, broken])
        yield* caughtUp(views, log, ["tallies", "broken"])
        fill(log, someSteps(8))
        wake()
        yield* caughtUp(views, log)
        yield* until(Effect.map(statusOf(views, "broken"), ({ serving }) => serving?.status === "quarantined"))
        const { serving } = yield* statusOf(views, "broken")
        assert.deepStrictEqual(serving?.fault, { position: positionAt(9), type: "Counted", error: "a bug in the fold" })
        assert.strictEqual(serving?.position, positionAt(8))
        assert.deepStrictEqual(sorted(yield* contents(views, "broken")), sorted(folded(log, positionAt(8))))
        assert.deepStrictEqual(sorted(yield* contents(views)), sorted(folded(log)))
      })
    ))
  it("that this release cannot read stops only those that want it", () =>
    run(
      Effect.gen(function* () {
        const log = new Log()
        fill(log, someSteps(3))
        log.add(acme, "tally-x", "Noted", { text: "of a newer release" }, 7)
        fill(log, someSteps(3))
        const wanting = { ...tallies, name: "wanting", events: ["Counted", "Cleared", "Noted"] as const }
        const { views } = yield* started(log, [tallies, wanting])
        yield* caughtUp(views, log)
        yield* until(Effect.map(statusOf(views, "wanting"), ({ building }) => building?.status === "quarantined"))
        assert.match((yield* statusOf(views, "wanting")).building!.fault!.error, /version 7/u)
      })
    ))
  it("is taken by the next release, from where it stopped", () =>
    run(
      Effect.gen(function* () {
        const log = new Log()
        fill(log, someSteps(8))
        yield* Effect.scoped(
          Effect.gen(function* () {
            const { views, wake } = yield* started(log, [{ ...tallies, evolve: stuck }])
            yield* caughtUp(views, log)
            fill(log, someSteps(9))
            wake()
            yield* until(Effect.map(statusOf(views, "tallies"), ({ serving }) => serving?.status === "quarantined"))
          })
        )
        const { views } = yield* started(log)
        yield* caughtUp(views, log)
        assert.deepStrictEqual(sorted(yield* contents(views)), sorted(folded(log)))
        assert.strictEqual((yield* statusOf(views, "tallies")).serving?.model, "tallies@1")
      })
    ))
})

describe("two runners of one projection", () => {
  it("do not both run it: the one that lost stands by, and takes over when the other is gone", () =>
    runOnTestClock(
      Effect.gen(function* () {
        const log = new Log()
        fill(log, someSteps(5))
        const store = yield* ReadModels
        const { views, wake } = yield* started(log)
        yield* caughtUp(views, log)
        // Another process moves the checkpoint.
        fill(log, someSteps(4))
        yield* store.apply("tallies@1", positionAt(5), positionAt(6), [])
        wake()
        yield* until(Effect.map(statusOf(views, "tallies"), ({ serving }) => serving?.status === "standby"))
        assert.strictEqual(yield* store.checkpoint("tallies@1"), positionAt(6))
        // It is alive: we go on standing by.
        yield* store.apply("tallies@1", positionAt(6), positionAt(7), [])
        yield* TestClock.adjust(standbyMillis)
        yield* until(Effect.map(statusOf(views, "tallies"), ({ serving }) => serving?.position === positionAt(7)))
        assert.strictEqual((yield* statusOf(views, "tallies")).serving?.status, "standby")
        yield* TestClock.adjust(standbyMillis)
        yield* caughtUp(views, log)
        assert.strictEqual((yield* statusOf(views, "tallies")).serving?.status, "live")
      })
    ))
})

describe("a query with a position", () => {
  it("is answered once the view shows it", () =>
    run(
      Effect.gen(function* () {
        const log = new Log()
        fill(log, someSteps(5))
        const { views, wake } = yield* started(log)
        yield* caughtUp(views, log)
        const asking = yield* Effect.forkChild(views.find("tallies", everything, positionAt(8)), { startImmediately: true })
        fill(log, someSteps(3))
        wake()
        const { items } = yield* Fiber.join(asking)
        assert.deepStrictEqual(sorted(items), sorted(folded(log, positionAt(8))))
      })
    ))
  it("fails after two seconds when the view does not get there", () =>
    runOnTestClock(
      Effect.gen(function* () {
        const log = new Log()
        fill(log, someSteps(5))
        const { views } = yield* started(log)
        yield* caughtUp(views, log)
        const asking = yield* Effect.forkChild(Effect.flip(views.get("tallies", acme, "a", positionAt(6))), { startImmediately: true })
        yield* TestClock.adjust("1999 millis")
        assert.isUndefined(asking.pollUnsafe())
        yield* TestClock.adjust("1 millis")
        const failure = yield* Fiber.join(asking)
        assert.deepInclude(failure, {
          _tag: "ViewsBehind",
          projection: "tallies",
          wanted: positionAt(6),
          position: positionAt(5),
          retryAfterSeconds: 2
        })
      })
    ))
  it("does not wait where the view is far enough", () =>
    runOnTestClock(
      Effect.gen(function* () {
        const log = new Log()
        fill(log, someSteps(5))
        const { views } = yield* started(log)
        yield* caughtUp(views, log)
        assert.isNotNull(yield* views.get("tallies", acme, "all", log.head as Position))
      })
    ))
})
