/** A small projection with an engine around it: every event that is folded twice, or not at all, shows in its views. */
import { createHash } from "node:crypto"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Schema from "effect/Schema"
import type * as EffectScope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import * as sqlite from "#adapters/sqlite/read-models.ts"
import { eventFamily } from "#domain/event-family.ts"
import type { Position, SpaceKey, TenantKey } from "#domain/ids.ts"
import { familiesByType } from "#domain/registry.ts"
import { kindAndIdOf, spaceScope, tenantScope } from "#domain/scope.ts"
import type { AnyProjection, Projection } from "#projections/projection.ts"
import { Feed } from "#services/ports/feed.ts"
import type { ReadModels } from "#services/ports/read-models.ts"
import { type Engine, type EngineOptions, makeEngine } from "#services/projection-engine.ts"
import type { Log } from "./log.ts"

export const TallyEvent = Schema.TaggedUnion({ Counted: { by: Schema.Int }, Cleared: {}, Noted: { text: Schema.String } })
export type TallyEvent = typeof TallyEvent.Type
export const families = familiesByType([eventFamily(TallyEvent)])
export const space = spaceScope("saaaabbbbccccddddeee" as SpaceKey)
export const tenants = ["tacmeacmeacmeacmeacm", "tboltboltboltboltbol"].map((key) => tenantScope(space.space, key as TenantKey))
export const acme = tenants[0]!

export interface Tally {
  readonly id: string
  readonly sum: number
  /** Any event that is folded twice, or not at all, shows here. */
  readonly seen: ReadonlyArray<string>
}
/** Each event counts for its stream's tally and for the scope's; clearing removes the stream's. */
export const tallies: Projection<TallyEvent, Tally> = {
  name: "tallies",
  version: 1,
  events: ["Counted", "Cleared"],
  fields: { sum: "number" },
  sorts: [["sum"]],
  acrossSpace: true,
  key: ({ stream }) => [kindAndIdOf(stream).id, "all"],
  evolve: (view, { event, position }, key) => {
    if (event._tag === "Cleared" && key !== "all") return undefined
    const before = view ?? { id: key, sum: 0, seen: [] }
    return { ...before, sum: before.sum + (event._tag === "Counted" ? event.by : 0), seen: [...before.seen, position] }
  }
}
/** Only each stream's own tally: a first event finds no view, so none is loaded. */
export const streams: Projection<TallyEvent, Tally> = {
  ...tallies,
  name: "streams",
  perStream: true,
  key: ({ stream }) => kindAndIdOf(stream).id
}
export const store = () => sqlite.layer({ file: ":memory:", journalId: "journal" })
export const quick: EngineOptions = { paceMillis: 0, busyPaceMillis: 0, chunkViewsMin: 1 }
export type Started = Engine["views"]

/** An engine over a log and a store, both outliving it. */
export const started = (log: Log, projections: ReadonlyArray<AnyProjection> = [tallies], options = quick) =>
  Effect.provideService(makeEngine(projections, families, options), Feed, log.feed())

/** Nothing is logged: that projections stop is what these tests are about. */
const surroundings = () => Layer.merge(Layer.fresh(store()), Logger.layer([]))
type Body = Effect.Effect<unknown, unknown, ReadModels | EffectScope.Scope>

export const run = (body: Body) =>
  Effect.runPromise(Effect.scoped(body).pipe(Effect.provide(surroundings())) as Effect.Effect<unknown>).then(() => {})
export const runOnTestClock = (body: Body) =>
  Effect.runPromise(Effect.scoped(body).pipe(Effect.provide([surroundings(), TestClock.layer()] as const)) as Effect.Effect<unknown>).then(
    () => {}
  )

/** Lets the engine go on until something holds. */
export const until = <E>(holds: Effect.Effect<boolean, E>, turns = 20_000): Effect.Effect<void, E> =>
  Effect.gen(function* () {
    for (let turn = 0; turn < turns; turn++) {
      if (yield* holds) return
      yield* Effect.yieldNow
    }
    return yield* Effect.die(new Error("It did not come about."))
  })
export const statusOf = (views: Started, name: string) => Effect.map(views.projections, (all) => all.find((each) => each.name === name)!)
export const caughtUp = (views: Started, log: Log, names: ReadonlyArray<string> = ["tallies"]) =>
  until(
    Effect.map(views.projections, (all) =>
      all.every(({ name, serving, building }) => !names.includes(name) || (building === null && serving?.position === log.head))
    )
  )

/** All views of a model as one hash of canonical text. */
export const canonical = (views: ReadonlyArray<unknown>) =>
  createHash("sha256")
    .update(views.map((view) => JSON.stringify(view)).join("\n"))
    .digest("hex")
export const contents = (views: Started, name = "tallies") =>
  Effect.map(views.find(name, { scope: space, across: space, limit: 500 }, null), ({ items }) => items)
/** What one plain fold over a part of the log makes of it. */
export const folded = (log: Log, upTo: Position | null = log.head): ReadonlyArray<Tally> => {
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
export const sorted = (views: ReadonlyArray<unknown>) => views.map((view) => JSON.stringify(view)).sort()

export const Step = Schema.Struct({
  tenant: Schema.Literals([0, 1]),
  stream: Schema.Literals(["a", "b", "c"]),
  type: Schema.Literals(["Counted", "Counted", "Cleared", "Noted"]),
  by: Schema.Int.check(Schema.isBetween({ minimum: -3, maximum: 9 }))
})
export const fill = (log: Log, steps: ReadonlyArray<typeof Step.Type>) => {
  for (const { tenant, stream, type, by } of steps)
    log.add(tenants[tenant]!, `tally-${stream}`, type, type === "Noted" ? { text: "x" } : { by })
}
export const someSteps = (count: number): ReadonlyArray<typeof Step.Type> =>
  Array.from({ length: count }, (_, index) => ({
    tenant: (index % 2) as 0 | 1,
    stream: (["a", "b", "c"] as const)[index % 3]!,
    type: index % 7 === 6 ? ("Cleared" as const) : ("Counted" as const),
    by: index
  }))
