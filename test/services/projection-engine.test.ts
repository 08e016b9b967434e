import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as EffectScope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import { assert, describe, it } from "vitest"
import { Feed } from "#services/ports/feed.ts"
import { ReadModels } from "#services/ports/read-models.ts"
import { ReadModelsUnavailable } from "#services/ports/unavailable.ts"
import { ViewServer } from "#services/ports/view-server.ts"
import { layer, makeEngine } from "#services/projection-engine.ts"
import { Log } from "../support/log.ts"
import { property } from "../support/property.ts"
import {
  acme,
  canonical,
  caughtUp,
  contents,
  families,
  fill,
  folded,
  quick,
  run,
  runOnTestClock,
  type Started,
  Step,
  someSteps,
  sorted,
  space,
  started,
  statusOf,
  streams,
  tallies,
  until
} from "../support/tallies.ts"
import { WeakReadModels } from "../support/weak-read-models.ts"

describe("the projection engine", () => {
  it("shows what is in the log, and what is added later", () =>
    run(
      Effect.gen(function* () {
        const log = new Log()
        fill(log, someSteps(20))
        const { views, wake } = yield* started(log)
        yield* caughtUp(views, log)
        assert.deepStrictEqual(sorted(yield* contents(views)), sorted(folded(log)))
        fill(log, someSteps(15))
        wake()
        yield* caughtUp(views, log)
        assert.deepStrictEqual(sorted(yield* contents(views)), sorted(folded(log)))
      })
    ))
  it("writes a view once for all the events that have come together, in however many pages", () =>
    run(
      Effect.gen(function* () {
        const real = yield* ReadModels
        const written: Array<number> = []
        const watched = ReadModels.of({
          ...real,
          apply: (...args) => {
            written.push(args[3].length)
            return real.apply(...args)
          }
        })
        const log = new Log()
        const { views, wake } = yield* started(log).pipe(Effect.provideService(ReadModels, watched))
        yield* caughtUp(views, log)
        log.pageSizes = [2]
        fill(log, someSteps(12))
        wake()
        yield* caughtUp(views, log)
        assert.deepStrictEqual(written, [8])
        assert.deepStrictEqual(sorted(yield* contents(views)), sorted(folded(log)))
      })
    ))
  it("keeps to a longer pause while many events come, and cuts it short for a reader who waits", () =>
    runOnTestClock(
      Effect.gen(function* () {
        const log = new Log()
        const { views, wake } = yield* started(log, [tallies], { paceMillis: 10, busyPaceMillis: 500 })
        const news = (steps: number) =>
          Effect.gen(function* () {
            fill(log, someSteps(steps))
            wake()
            // It has heard of them, and pauses.
            for (let turn = 0; turn < 100; turn++) yield* Effect.yieldNow
          })
        yield* caughtUp(views, log)
        yield* news(1)
        yield* TestClock.adjust("10 millis")
        yield* caughtUp(views, log)
        yield* news(40)
        yield* TestClock.adjust("10 millis")
        yield* caughtUp(views, log)
        const before = log.head
        yield* news(2)
        yield* TestClock.adjust("400 millis")
        assert.strictEqual((yield* statusOf(views, "tallies")).serving!.position, before)
        yield* views.get("tallies", acme, "all", log.head)
        assert.strictEqual((yield* statusOf(views, "tallies")).serving!.position, log.head)
        yield* news(2)
        yield* TestClock.adjust("500 millis")
        yield* caughtUp(views, log)
      })
    ))
  it("reads nothing while nothing is new", () =>
    run(
      Effect.gen(function* () {
        const log = new Log()
        fill(log, someSteps(5))
        const { views } = yield* started(log)
        yield* caughtUp(views, log)
        for (let turn = 0; turn < 20; turn++) yield* Effect.yieldNow
        const reads = log.reads
        for (let turn = 0; turn < 100; turn++) yield* Effect.yieldNow
        assert.strictEqual(log.reads, reads)
      })
    ))
  it("decodes each event once for all projections, and none that nobody wants", () =>
    run(
      Effect.gen(function* () {
        const log = new Log()
        fill(log, someSteps(10))
        log.add(acme, "tally-n", "Noted", { text: "unwanted" })
        let decoded = 0
        const family = families.get("Counted")!
        const counting = new Map(
          [...families.keys()].map((type) => [
            type,
            {
              ...family,
              decode: (...args: Parameters<typeof family.decode>) => {
                decoded++
                return family.decode(...args)
              }
            }
          ])
        )
        const second = { ...tallies, name: "second" }
        const { views } = yield* Effect.provideService(makeEngine([tallies, second], counting, quick), Feed, log.feed())
        yield* caughtUp(views, log, ["tallies", "second"])
        assert.strictEqual(decoded, 10)
      })
    ))
  it("refuses to start with a projection of events that no aggregate has", () =>
    run(
      Effect.gen(function* () {
        const exit = yield* Effect.exit(started(new Log(), [{ ...tallies, events: ["Nothing"] }]))
        assert.isTrue(Exit.isFailure(exit))
      })
    ))
  it("is woken by the feed where it runs beside the writer", () =>
    run(
      Effect.gen(function* () {
        const log = new Log()
        const views = Context.get(yield* Layer.build(layer([tallies], families, quick).pipe(Layer.provide(log.layer()))), ViewServer)
        yield* caughtUp(views, log)
        fill(log, someSteps(3))
        yield* caughtUp(views, log)
        assert.deepStrictEqual(sorted(yield* contents(views)), sorted(folded(log)))
      })
    ))
})

describe("batches", () => {
  const Cuts = Schema.Struct({
    steps: Schema.Array(Step),
    more: Schema.Array(Step),
    pageSizes: Schema.NonEmptyArray(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 7 }))),
    again: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 20 })),
    chunkViewsMin: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 5 }))
  })
  property(
    "do not matter to a view, wherever they are cut and however often events come again",
    Cuts,
    ({ steps, more, pageSizes, again, chunkViewsMin }) =>
      run(
        Effect.gen(function* () {
          const log = new Log()
          Object.assign(log, { pageSizes, again })
          fill(log, steps)
          const { views, wake } = yield* started(log, [tallies, streams], { ...quick, chunkViewsMin, cachedViews: 1 })
          yield* caughtUp(views, log, ["tallies", "streams"])
          fill(log, more)
          wake()
          yield* caughtUp(views, log, ["tallies", "streams"])
          assert.deepStrictEqual(sorted(yield* contents(views)), sorted(folded(log)))
          assert.deepStrictEqual(sorted(yield* contents(views, "streams")), sorted(folded(log).filter(({ id }) => id !== "all")))
        })
      ),
    { runs: 100 }
  )
  property(
    "give the same views by a rebuild as one after the other, by canonical hash",
    Schema.Array(Step),
    (steps) =>
      run(
        Effect.gen(function* () {
          const log = new Log()
          const { views, wake } = yield* started(log)
          for (let from = 0; from < steps.length; from += 3) {
            fill(log, steps.slice(from, from + 3))
            wake()
            yield* caughtUp(views, log)
          }
          const incremental = canonical(yield* contents(views))
          const before = (yield* statusOf(views, "tallies")).serving!.model
          yield* views.rebuild("tallies")
          yield* until(Effect.map(statusOf(views, "tallies"), ({ serving, building }) => building === null && serving!.model !== before))
          assert.strictEqual(canonical(yield* contents(views)), incremental)
        })
      ),
    { runs: 25 }
  )
})

describe("a store that writes views one by one", () => {
  const Breaks = Schema.Struct({
    steps: Schema.Array(Step),
    writes: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 30 })),
    pageSize: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 9 })),
    chunkViewsMin: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 5 }))
  })
  property(
    "folds no event twice, wherever a batch breaks off",
    Breaks,
    ({ steps, writes, pageSize, chunkViewsMin }) =>
      runOnTestClock(
        Effect.gen(function* () {
          const log = new Log()
          fill(log, steps)
          const weak = new WeakReadModels()
          weak.writesLeft = writes
          log.pageSizes = [pageSize]
          const options = { ...quick, chunkViewsMin, cachedViews: 1 }
          const { views } = yield* started(log, [tallies, streams], options).pipe(Effect.provide(weak.layer()))
          const all = Effect.andThen(TestClock.adjust("1 second"), views.projections)
          yield* until(Effect.map(all, (each) => each.every(({ serving }) => serving !== null && serving.position === log.head)))
          assert.deepStrictEqual(sorted(weak.views("tallies@1")), sorted(folded(log)))
          assert.deepStrictEqual(sorted(weak.views("streams@1")), sorted(folded(log).filter(({ id }) => id !== "all")))
        })
      ),
    { runs: 100 }
  )
})

describe("a crash", () => {
  /** Ports that stop answering at the call of a number, before it or right after it was carried out. */
  const failing = (at: number, after: boolean) => {
    let calls = 0
    const crashed = { yes: false }
    const guard = <A, E>(call: Effect.Effect<A, E>): Effect.Effect<A, E | ReadModelsUnavailable> =>
      Effect.suspend((): Effect.Effect<A, E | ReadModelsUnavailable> => {
        if (crashed.yes) return Effect.fail(new ReadModelsUnavailable({ reason: "it crashed" }))
        if (++calls !== at) return call
        crashed.yes = true
        return after ? Effect.andThen(call, Effect.never) : Effect.never
      })
    return { guard, crashed }
  }
  const guarded = (real: ReadModels["Service"], guard: ReturnType<typeof failing>["guard"]) =>
    ReadModels.of({
      ...real,
      define: (definition) => guard(real.define(definition)),
      promote: (model) => guard(real.promote(model)),
      apply: (...args) => guard(real.apply(...args)),
      load: (...args) => guard(real.load(...args)),
      drop: (model) => guard(real.drop(model))
    })

  for (const after of [false, true])
    it(`${after ? "right after" : "before"} any call leaves views that agree with the checkpoint, and the next start goes on`, async () => {
      let survived = false
      for (let at = 1; !survived; at++)
        await run(
          Effect.gen(function* () {
            const real = yield* ReadModels
            const log = new Log()
            log.pageSizes = [4]
            fill(log, someSteps(18))
            const { guard, crashed } = failing(at, after)
            const scope = yield* EffectScope.make()
            const engine = yield* Effect.forkChild(
              started(log, [tallies]).pipe(Effect.provideService(ReadModels, guarded(real, guard)), EffectScope.provide(scope))
            )
            yield* until(
              Effect.gen(function* () {
                if (crashed.yes) return true
                const [model] = yield* real.models
                return model?.checkpoint === log.head && model.complete
              })
            )
            survived = !crashed.yes
            yield* Fiber.interrupt(engine)
            yield* EffectScope.close(scope, Exit.void)
            for (const { model, checkpoint } of yield* real.models) {
              const { items } = yield* real.find(model, { scope: space, across: space, limit: 500 })
              assert.deepStrictEqual(sorted(items), sorted(folded(log, checkpoint)), `after call ${at}`)
            }
            const { views } = yield* started(log)
            yield* caughtUp(views, log)
            assert.deepStrictEqual(sorted(yield* contents(views)), sorted(folded(log)))
          })
        )
    })
  it("of the store for a while is outlived, and nothing is counted twice", () =>
    runOnTestClock(
      Effect.gen(function* () {
        const real = yield* ReadModels
        const log = new Log()
        log.pageSizes = [3]
        fill(log, someSteps(12))
        let left = 2
        const flaky = ReadModels.of({
          ...real,
          apply: (...args) => (left-- > 0 ? Effect.fail(new ReadModelsUnavailable({ reason: "the disk is full" })) : real.apply(...args))
        })
        const { views } = yield* started(log).pipe(Effect.provideService(ReadModels, flaky))
        yield* until(Effect.sync(() => left < 2))
        yield* TestClock.adjust("1 minute")
        yield* caughtUp(views, log)
        assert.deepStrictEqual(sorted(yield* contents(views)), sorted(folded(log)))
      })
    ))
})

describe("several processes over one store", () => {
  const shared = { ...quick, shared: true }
  const showing = { ...shared, follows: false }

  it("show what one of them stores, as soon as somebody waits for it", () =>
    run(
      Effect.gen(function* () {
        const log = new Log()
        const { views: api } = yield* started(log, [tallies], showing)
        const asked = yield* Effect.forkChild(api.find("tallies", { scope: space, across: space, limit: 500 }, null))
        fill(log, someSteps(20))
        const { wake } = yield* started(log, [tallies], shared)
        yield* Fiber.join(asked)
        fill(log, someSteps(15))
        wake()
        const { items } = yield* api.find("tallies", { scope: space, across: space, limit: 500 }, log.head)
        assert.deepStrictEqual(sorted(items), sorted(folded(log)))
        assert.strictEqual((yield* statusOf(api, "tallies")).serving?.status, "standby")
      })
    ))
  it("carry out a rebuild that one of them was asked for, and go over to it", () =>
    runOnTestClock(
      Effect.gen(function* () {
        const log = new Log()
        fill(log, someSteps(20))
        const { views: worker } = yield* started(log, [tallies], shared)
        const { views: api } = yield* started(log, [tallies], showing)
        const shows = (views: Started, model: string) =>
          until(
            Effect.gen(function* () {
              yield* TestClock.adjust("1 second")
              const { serving, building } = yield* statusOf(views, "tallies")
              return building === null && serving?.model === model && serving.position === log.head
            })
          )
        yield* shows(worker, "tallies@1")
        yield* shows(api, "tallies@1")
        yield* api.rebuild("tallies")
        yield* api.rebuild("tallies")
        fill(log, someSteps(5))
        yield* shows(worker, "tallies@1+2")
        yield* shows(api, "tallies@1+2")
        assert.deepStrictEqual(sorted(yield* contents(api)), sorted(folded(log)))
      })
    ))
  it("fold every event once, whoever of two runs the projection", () =>
    run(
      Effect.gen(function* () {
        const log = new Log()
        const first = yield* started(log, [tallies], shared)
        const second = yield* started(log, [tallies], shared)
        for (let batch = 0; batch < 30; batch++) {
          fill(log, someSteps(4))
          first.wake()
          second.wake()
          yield* Effect.yieldNow
        }
        const { items } = yield* first.views.find("tallies", { scope: space, across: space, limit: 500 }, log.head)
        assert.deepStrictEqual(sorted(items), sorted(folded(log)))
      })
    ))
})
