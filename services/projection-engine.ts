/** The projection engine: follows the feed, keeps every projection's views up to date, rebuilds them beside the serving ones and answers queries. */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import type * as EffectScope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Position } from "#domain/ids.ts"
import type { FamiliesByType } from "#domain/registry.ts"
import type { AnyProjection } from "#projections/projection.ts"
import { Feed } from "./ports/feed.ts"
import { ReadModels } from "./ports/read-models.ts"
import type { ReadModelsUnavailable } from "./ports/unavailable.ts"
import { ViewServer } from "./ports/view-server.ts"
import { DecodedBatch } from "./projection-fold.ts"
import { choose, definitionOf, nextGeneration, parseModel } from "./projection-models.ts"
import { makeQueries } from "./projection-queries.ts"
import {
  type Entry,
  foremostOf,
  type Model,
  makeRunner,
  openModel,
  reaches,
  rearmostOf,
  standbyMillis,
  toldMillis
} from "./projection-runner.ts"
import { generationGraceMillis, makeWatch, versionGraceMillis } from "./projection-watch.ts"

export interface EngineOptions {
  /** Events of one page of the log. */
  readonly batchEvents?: number
  /** A rebuild stores at least so many changed views together. */
  readonly chunkViewsMin?: number
  /** Views of a model kept in memory, in each of two generations. */
  readonly cachedViews?: number
  /** Pause before a live round, unless somebody waits for it: an event is followed by others soon, and the thread by those who made it. */
  readonly paceMillis?: number
  /** The same while many events come: most views then reach their last state in memory, and are written once. */
  readonly busyPaceMillis?: number
  /** Other processes use the same store: one of them runs a projection at a time, the others show what it stores (R20). */
  readonly shared?: boolean
  /** False: folds nothing, and answers from what others store. */
  readonly follows?: boolean
}
const defaults = {
  batchEvents: 500,
  chunkViewsMin: 250,
  cachedViews: 500,
  paceMillis: 25,
  busyPaceMillis: 500,
  shared: false,
  follows: true
}

/** From so many events a second on, the longer pause is kept. */
const busyEventsPerSecond = 1500
/** What changed in memory is stored at the latest after so many events, or when a model has so many changed views. */
const roundEventsMax = 10_000
const touchedViewsMax = 4000

/** How long one uninterrupted piece of a rebuild may take, and a query wait: how many views are stored together follows from it. */
const pieceMillis = 15
/** Pauses after a failure of a port: doubled from the first to the last. */
const failureMillis = { first: 100, last: 5000 }

export interface Engine {
  readonly views: ViewServer["Service"]
  /** Says that there are new events. Returns at once; calls are merged. */
  readonly wake: () => void
}

const clamp = (value: number, least: number, most: number) => Math.max(least, Math.min(most, value))

/** Runs as long as its scope. */
export const makeEngine = Effect.fnUntraced(function* (
  projections: ReadonlyArray<AnyProjection>,
  families: FamiliesByType,
  options: EngineOptions = {}
): Effect.fn.Return<Engine, ReadModelsUnavailable, Feed | ReadModels | EffectScope.Scope> {
  const { batchEvents, chunkViewsMin, cachedViews, paceMillis, busyPaceMillis, shared, follows } = { ...defaults, ...options }
  const feed = yield* Feed
  const store = yield* ReadModels
  const clock = yield* Clock.Clock
  const scope = yield* Effect.scope
  const nowMillis = () => Number(clock.monotonicTimeNanosUnsafe() / 1000n) / 1000

  for (const projection of projections)
    for (const type of projection.events)
      if (!families.has(type))
        return yield* Effect.die(new Error(`The projection ${projection.name} wants ${type}, which no aggregate has.`))

  const entries = new Map<string, Entry>()
  /** Open: there may be new events. */
  const news = Latch.makeUnsafe(true)
  /** Open: somebody waits for a position, so the pause is cut short. */
  const urgent = Latch.makeUnsafe(false)
  const queries = makeQueries(entries, store, feed, () => {
    news.openUnsafe()
    urgent.openUnsafe()
    watch.urge()
  })
  const watch = makeWatch(entries, store, {
    waitedFor: queries.waitedFor,
    moved: queries.settle,
    begun: () => news.openUnsafe(),
    follows,
    cachedViews
  })

  let lastLiveAt = Number.NEGATIVE_INFINITY
  /** Pause after the last round. */
  let pace = paceMillis
  /** Views of a model that a rebuild stores together. */
  let together = chunkViewsMin
  /** What a rebuild has folded since it stored for the last time. */
  let chunk = { began: 0, events: 0 }
  let pieceAt = 0
  let longestPiece = 0
  /** Between two pieces of work: lets queries in, and notes how long they had to wait. */
  const breathe = Effect.suspend(() => {
    longestPiece = Math.max(longestPiece, nowMillis() - pieceAt)
    return Effect.map(Effect.yieldNow, () => {
      pieceAt = nowMillis()
    })
  })
  const runner = makeRunner(store, breathe, shared)

  const models = () => [...entries.values()].flatMap(({ serving, building }) => [serving, building].filter((model) => model !== null))
  const live = () => models().filter(({ status }) => status === "live")
  const standingBy = () => models().filter(({ status }) => status === "standby")
  /** Generations being made, and serving ones that were left behind: the foremost go first, and together when they are level. */
  const behind = (): ReadonlyArray<Model> => {
    const all = models().filter(({ status }) => status === "building" || status === "catching-up")
    const foremost = foremostOf(all)
    return all.filter(({ folded }) => folded === foremost)
  }

  /** Where others may show it still, it stays for a while. */
  const drop = (projection: AnyProjection, name: string) => {
    const grace = parseModel(name)?.version === projection.version ? generationGraceMillis : versionGraceMillis
    return store.drop(name).pipe(Effect.delay(shared ? grace : 0), Effect.ignore({ log: "Warn" }), Effect.forkIn(scope))
  }

  const startBuilding = (projection: AnyProjection, name: string, checkpoint: Position | null) =>
    Effect.as(store.define(definitionOf(projection, name)), openModel(projection, name, "building", checkpoint, cachedViews))

  const start = Effect.gen(function* () {
    const stored = yield* store.models
    const checkpointOf = (name: string) => stored.find(({ model }) => model === name)?.checkpoint ?? null
    for (const projection of projections) {
      const { serving, building, drop: leftOver } = choose(projection, stored)
      const status = serving !== null && parseModel(serving)?.version === projection.version ? "live" : "frozen"
      entries.set(projection.name, {
        projection,
        serving: serving === null ? null : openModel(projection, serving, status, checkpointOf(serving), cachedViews),
        building: building === null ? null : yield* startBuilding(projection, building, checkpointOf(building))
      })
      yield* Effect.forEach(leftOver, (name) => drop(projection, name))
    }
    const foremost = foremostOf(live())
    for (const model of live()) if (model.folded !== foremost) model.status = "catching-up"
  })

  /** The generation being made has reached the head: it serves from now on, and the old one goes. */
  const takeOver = Effect.fnUntraced(function* (model: Model) {
    yield* store.promote(model.name)
    const entry = entries.get(model.projection.name)!
    const old = entry.serving
    model.complete = true
    model.status = "live"
    model.eventsPerSecond = null
    entry.serving = model
    entry.building = null
    if (old !== null) yield* drop(old.projection, old.name)
  })

  /** Folds the next page into the serving models, in memory; how many events it had, and whether there are more. */
  const livePage = Effect.fnUntraced(function* (following: ReadonlyArray<Model>) {
    const after = rearmostOf(following)
    const page = yield* feed.read({ after, limit: batchEvents })
    if (page.position === null || page.position === after) return { events: 0, more: false }
    const batch = new DecodedBatch(page.events, families)
    for (const model of following) if (!reaches(model.folded, page.position)) yield* runner.fold(model, batch, page.position)
    return { events: page.events.length, more: !page.atHead }
  })

  /** Folds what is new into the serving models and stores it; true when there is more. */
  const liveRound = Effect.fnUntraced(function* () {
    if (live().length === 0) return false
    const began = nowMillis()
    let events = 0
    let more = true
    while (more) {
      const following = live()
      if (following.length === 0) break
      const page = yield* livePage(following)
      events += page.events
      more = page.more
      if (events >= roundEventsMax || following.some(({ touched }) => touched.length >= touchedViewsMax)) break
      if (more) yield* breathe
    }
    for (const model of live()) {
      yield* runner.save(model)
      if (queries.waiting()) queries.settle()
    }
    pace = (events * 1000) / Math.max(1, began - lastLiveAt) >= busyEventsPerSecond ? busyPaceMillis : paceMillis
    lastLiveAt = began
    return more
  })

  /** Stores what a rebuild has folded; the next chunk's size follows the longest time that queries had to wait. */
  const storeChunk = Effect.fnUntraced(function* (building: ReadonlyArray<Model>, atHead: boolean) {
    const most = Math.max(...building.map(({ touched }) => touched.length))
    pieceAt = nowMillis()
    longestPiece = 0
    for (const model of building) {
      yield* runner.save(model)
      if (atHead && model.status === "building") yield* takeOver(model)
      else if (atHead && model.status === "catching-up") model.status = "live"
      if (queries.waiting()) queries.settle()
      yield* breathe
    }
    const seconds = (nowMillis() - chunk.began) / 1000
    for (const model of building) model.eventsPerSecond = model.status === "live" || seconds === 0 ? null : chunk.events / seconds
    chunk.events = 0
    if (most >= together && longestPiece > 0)
      together = Math.round(clamp(together * clamp(pieceMillis / longestPiece, 0.5, 2), chunkViewsMin, touchedViewsMax))
  })

  /** Folds the next page of a rebuild, read afresh, and stores the chunk that it completes. */
  const buildingPage = Effect.fnUntraced(function* (building: ReadonlyArray<Model>) {
    if (chunk.events === 0) chunk = { began: nowMillis(), events: 0 }
    const page = yield* feed.read({ after: foremostOf(building), limit: batchEvents })
    yield* breathe
    const batch = new DecodedBatch(page.events, families)
    if (page.position !== null) for (const model of building) yield* runner.fold(model, batch, page.position)
    chunk.events += page.events.length
    const isFull = chunk.events >= roundEventsMax || building.some(({ touched }) => touched.length >= together)
    if (page.atHead || isFull || queries.waiting()) yield* storeChunk(building, page.atHead)
    yield* breathe
  })

  const pause = Effect.suspend(() => {
    if (pace === 0 || queries.waiting()) return Effect.void
    const left = Math.max(paceMillis, pace - (nowMillis() - lastLiveAt))
    urgent.closeUnsafe()
    return urgent.await.pipe(Effect.timeoutOption(left), Effect.asVoid)
  })

  const idle = Effect.suspend(() => {
    const untold = shared && live().some(({ unsaved }) => unsaved > 0)
    const wait = untold ? toldMillis : standingBy().length > 0 ? standbyMillis : null
    return (wait === null ? news.await : news.await.pipe(Effect.timeoutOption(wait))).pipe(Effect.andThen(pause))
  })

  const round = Effect.gen(function* () {
    yield* Effect.forEach(standingBy(), runner.returnFromStandby)
    const building = behind()
    if (building.length === 0) yield* idle
    if (building.length === 0 || nowMillis() - lastLiveAt >= pace || queries.waiting()) {
      news.closeUnsafe()
      if (yield* liveRound()) {
        news.openUnsafe()
        pace = 0
      }
    }
    if (building.length > 0) yield* buildingPage(building)
  })

  let failures = 0
  const goOn = (cause: Cause.Cause<unknown>) => {
    news.openUnsafe()
    const wait = Math.min(failureMillis.last, failureMillis.first * 2 ** failures++)
    return Effect.logError("The projections could not go on; they try again", cause).pipe(Effect.andThen(Effect.sleep(wait)))
  }
  const rounds = round.pipe(
    Effect.tap(() => Effect.sync(() => (failures = 0))),
    Effect.catchCauseIf((cause) => !Cause.hasInterruptsOnly(cause), goOn),
    Effect.forever
  )

  /** Writes the checkpoints that are ahead in memory, so that the next start reads nothing twice. */
  const save = Effect.suspend(() =>
    Effect.forEach(
      live().filter(({ position, stored }) => position !== stored),
      ({ name, stored, position }) => store.apply(name, stored, position!, [])
    )
  ).pipe(Effect.ignore)

  const rebuild = Effect.fnUntraced(function* (name: string) {
    const entry = yield* queries.entryOf(name)
    const given = entry.building
    const stored = yield* store.models
    if (!follows) {
      // It is made known in the store; a process that follows the log takes it up.
      const { building } = choose(entry.projection, stored)
      const begun = building !== null && stored.some(({ model }) => model === building)
      if (!begun) yield* store.define(definitionOf(entry.projection, nextGeneration(entry.projection, stored)))
    } else if (given === null || given.status === "quarantined") {
      entry.building = yield* startBuilding(entry.projection, nextGeneration(entry.projection, stored), null)
      if (given !== null) yield* drop(given.projection, given.name)
      news.openUnsafe()
    }
    return (yield* queries.statuses).find((status) => status.name === name)!
  })

  if (follows) {
    yield* start
    yield* Effect.addFinalizer(() => save)
    yield* Effect.forkScoped(rounds)
  } else for (const projection of projections) entries.set(projection.name, { projection, serving: null, building: null })
  if (shared) yield* Effect.forkScoped(watch.watch, { startImmediately: true })

  return {
    views: ViewServer.of({
      get: (projection, of, id, after) => queries.ask(projection, after, (model) => store.get(model, of, id)),
      find: (projection, query, after) => queries.ask(projection, after, (model) => store.find(model, query)),
      projections: queries.statuses,
      rebuild
    }),
    wake: () => {
      news.openUnsafe()
    }
  }
})

/** The engine in this process, woken by the feed itself. */
export const layer = (projections: ReadonlyArray<AnyProjection>, families: FamiliesByType, options?: EngineOptions) =>
  Layer.effect(
    ViewServer,
    Effect.gen(function* () {
      const feed = yield* Feed
      const head = yield* feed.head
      const { views, wake } = yield* makeEngine(projections, families, options)
      if (options?.follows === false) return views
      const awake = feed.follow({ after: head, limit: defaults.batchEvents }).pipe(Stream.runForEach(() => Effect.sync(wake)))
      yield* awake.pipe(Effect.retry(Schedule.spaced(failureMillis.last)), Effect.forkScoped)
      return views
    })
  )
