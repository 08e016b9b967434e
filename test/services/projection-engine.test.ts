import { createHash } from "node:crypto"
import { Effect, Scope as EffectScope, Exit, Fiber, Layer, Schema } from "effect"
import { TestClock } from "effect/testing"
import { assert, describe, it } from "vitest"
import * as sqlite from "#adapters/sqlite/read-models.ts"
import { eventFamily } from "#domain/event-family.ts"
import type { Position, SpaceKey, TenantKey } from "#domain/ids.ts"
import { familiesByType } from "#domain/registry.ts"
import { kindAndIdOf, spaceScope, tenantScope } from "#domain/scope.ts"
import type { Projection } from "#projections/projection.ts"
import { Feed } from "#services/ports/feed.ts"
import { ReadModels } from "#services/ports/read-models.ts"
import { ReadModelsUnavailable } from "#services/ports/unavailable.ts"
import { ViewServer } from "#services/ports/view-server.ts"
import { type Engine, type EngineOptions, layer, makeEngine } from "#services/projection-engine.ts"
import { Log } from "../support/log.ts"
import { property } from "../support/property.ts"

const TallyEvent = Schema.TaggedUnion({ Counted: { by: Schema.Int }, Cleared: {}, Noted: { text: Schema.String } })
type TallyEvent = typeof TallyEvent.Type
const families = familiesByType([eventFamily(TallyEvent)])
const space = spaceScope("saaaabbbbccccddddeee" as SpaceKey)
const tenants = ["tacmeacmeacmeacmeacm", "tboltboltboltboltbol"].map((key) => tenantScope(space.space, key as TenantKey))
const acme = tenants[0]!

interface Tally {
  readonly id: string
  readonly sum: number
  /** Any event that is folded twice, or not at all, shows here. */
  readonly seen: ReadonlyArray<string>
}
/** Each event counts for its stream's tally and for the scope's; clearing removes the stream's. */
const tallies: Projection<TallyEvent, Tally> = {
  name: "tallies",
  version: 1,
  events: ["Counted", "Cleared"],
  fields: { sum: "number" },
  sorts: [["sum"]],
  key: ({ stream }) => [kindAndIdOf(stream).id, "all"],
  evolve: (view, { event, position }, key) => {
    if (event._tag === "Cleared" && key !== "all") return undefined
    const before = view ?? { id: key, sum: 0, seen: [] }
    return { ...before, sum: before.sum + (event._tag === "Counted" ? event.by : 0), seen: [...before.seen, position] }
  }
}
const store = () => sqlite.layer({ file: ":memory:", journalId: "journal" })
const quick: EngineOptions = { paceMillis: 0 }
type Started = Engine["views"]

/** An engine over a log and a store, both outliving it. */
const started = (
  log: Log,
  projections: ReadonlyArray<Projection<TallyEvent, never>> | ReadonlyArray<unknown> = [tallies],
  options = quick
) => Effect.provideService(makeEngine(projections as ReadonlyArray<typeof tallies>, families, options), Feed, log.feed())

const run = (body: Effect.Effect<unknown, unknown, ReadModels | EffectScope.Scope>) =>
  Effect.runPromise(Effect.scoped(body).pipe(Effect.provide(Layer.fresh(store()))) as Effect.Effect<unknown>).then(() => {})
const runOnTestClock = (body: Effect.Effect<unknown, unknown, ReadModels | EffectScope.Scope>) =>
  Effect.runPromise(
    Effect.scoped(body).pipe(Effect.provide([Layer.fresh(store()), TestClock.layer()] as const)) as Effect.Effect<unknown>
  ).then(() => {})

/** Lets the engine go on until something holds. */
const until = <E>(holds: Effect.Effect<boolean, E>, turns = 20_000): Effect.Effect<void, E> =>
  Effect.gen(function* () {
    for (let turn = 0; turn < turns; turn++) {
      if (yield* holds) return
      yield* Effect.yieldNow
    }
    return yield* Effect.die(new Error("It did not come about."))
  })
const statusOf = (views: Started, name: string) => Effect.map(views.projections, (all) => all.find((each) => each.name === name)!)
const caughtUp = (views: Started, log: Log, names: ReadonlyArray<string> = ["tallies"]) =>
  until(
    Effect.map(views.projections, (all) =>
      all.every(({ name, serving, building }) => !names.includes(name) || (building === null && serving?.position === log.head))
    )
  )

/** All views of a model as one hash of canonical text. */
const canonical = (views: ReadonlyArray<unknown>) =>
  createHash("sha256")
    .update(views.map((view) => JSON.stringify(view)).join("\n"))
    .digest("hex")
const contents = (views: Started, name = "tallies") =>
  Effect.map(views.find(name, { scope: space, across: space, limit: 500 }, null), ({ items }) => items)
/** What one plain fold over a part of the log makes of it. */
const folded = (log: Log, upTo: Position | null = log.head): ReadonlyArray<Tally> => {
  const all = new Map<string, Tally>()
  for (const stored of log.events) {
    if (upTo === null || stored.position > upTo || !tallies.events.includes(stored.type as "Counted")) continue
    const recorded = { ...stored, event: { ...stored.data, _tag: stored.type } as TallyEvent }
    for (const id of tallies.key(recorded) as ReadonlyArray<string>) {
      const name = `${stored.scope.key}/${id}`
      const next = tallies.evolve(all.get(name), recorded, id)
      if (next === undefined) all.delete(name)
      else all.set(name, next)
    }
  }
  return [...all.values()]
}
const sorted = (views: ReadonlyArray<unknown>) => views.map((view) => JSON.stringify(view)).sort()

const Step = Schema.Struct({
  tenant: Schema.Literals([0, 1]),
  stream: Schema.Literals(["a", "b", "c"]),
  type: Schema.Literals(["Counted", "Counted", "Cleared", "Noted"]),
  by: Schema.Int.check(Schema.isBetween({ minimum: -3, maximum: 9 }))
})
const fill = (log: Log, steps: ReadonlyArray<typeof Step.Type>) => {
  for (const { tenant, stream, type, by } of steps)
    log.add(tenants[tenant]!, `tally-${stream}`, type, type === "Noted" ? { text: "x" } : { by })
}
const someSteps = (count: number): ReadonlyArray<typeof Step.Type> =>
  Array.from({ length: count }, (_, index) => ({
    tenant: (index % 2) as 0 | 1,
    stream: (["a", "b", "c"] as const)[index % 3]!,
    type: index % 7 === 6 ? ("Cleared" as const) : ("Counted" as const),
    by: index
  }))

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
            { ...family, decode: (...args: Parameters<typeof family.decode>) => (decoded++, family.decode(...args)) }
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
    again: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 5 }))
  })
  property(
    "do not matter to a view, wherever they are cut and however often events come again",
    Cuts,
    ({ steps, more, pageSizes, again }) =>
      run(
        Effect.gen(function* () {
          const log = new Log()
          Object.assign(log, { pageSizes, again })
          fill(log, steps)
          const { views, wake } = yield* started(log, [tallies], { ...quick, cachedViews: 2 })
          yield* caughtUp(views, log)
          fill(log, more)
          wake()
          yield* caughtUp(views, log)
          assert.deepStrictEqual(sorted(yield* contents(views)), sorted(folded(log)))
        })
      ),
    { runs: 60 }
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
