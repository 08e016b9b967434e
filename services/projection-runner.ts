/** One stored generation of a projection, and how a batch of events is folded into it. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { Position } from "#domain/ids.ts"
import type { AnyProjection } from "#projections/projection.ts"
import type { ReadModels } from "./ports/read-models.ts"
import type { ReadModelsUnavailable } from "./ports/unavailable.ts"
import type { ModelProgress } from "./ports/view-server.ts"
import { type CachedView, type DecodedBatch, type Fault, fill, foldPlan, planFold, ViewCache } from "./projection-fold.ts"

/** Events without effect on a model after which its checkpoint is written all the same. */
const unsavedMax = 4096
/** The same by time, where others read the checkpoint to know how far the views are. */
export const toldMillis = 250
/** A model that somebody else runs is looked at again after this time (R20). */
export const standbyMillis = 5000

export interface Model {
  readonly name: string
  readonly projection: AnyProjection
  readonly wanted: ReadonlySet<string>
  readonly cache: ViewCache
  status: ModelProgress["status"]
  /** It has been at the head once, and may serve. */
  complete: boolean
  /** The checkpoint in the store. */
  stored: Position | null
  /** How far its stored views are: ahead of the stored checkpoint only by events that changed nothing. */
  position: Position | null
  /** How far the views in memory are. */
  folded: Position | null
  /** Views that changed in memory and are not stored yet. */
  touched: Array<CachedView>
  /** Events since the stored checkpoint. */
  unsaved: number
  /** When the checkpoint was stored, epoch milliseconds. */
  storedAt: number
  fault: Fault | null
  /** Epoch milliseconds. */
  standbyUntil: number
  eventsPerSecond: number | null
}

/** The generations of one projection that are in use. */
export interface Entry {
  readonly projection: AnyProjection
  serving: Model | null
  building: Model | null
}

export const openModel = (
  projection: AnyProjection,
  name: string,
  status: Model["status"],
  checkpoint: Position | null,
  cachedViews: number
): Model => ({
  name,
  projection,
  wanted: new Set(projection.events),
  cache: new ViewCache(cachedViews),
  status,
  complete: status !== "building",
  stored: checkpoint,
  position: checkpoint,
  folded: checkpoint,
  touched: [],
  unsaved: 0,
  storedAt: 0,
  fault: null,
  standbyUntil: 0,
  eventsPerSecond: null
})

export const reaches = (position: Position | null, wanted: Position) => position !== null && position >= wanted

/** How far the one is that is furthest on in memory; null when none has begun. */
export const foremostOf = (models: ReadonlyArray<Model>): Position | null =>
  models.reduce<Position | null>((most, { folded }) => (folded !== null && (most === null || folded > most) ? folded : most), null)

/** How far the one is that is furthest behind in memory; null when one has not begun. */
export const rearmostOf = (models: ReadonlyArray<Model>): Position | null =>
  models.reduce<Position | null>(
    (least, { folded }) => (least !== null && (folded === null || folded < least) ? folded : least),
    models[0]?.folded ?? null
  )

/** Forgets what is in memory only: the model goes on from what is stored. */
const forget = (model: Model, stored: Position | null) => {
  model.cache.clear()
  model.touched = []
  model.stored = model.position = model.folded = stored
  model.unsaved = 0
}

/** `breathe` is called between reading and writing: it lets queries in. `shared`: others read the checkpoints. */
export const makeRunner = (store: ReadModels["Service"], breathe: Effect.Effect<void>, shared: boolean) => {
  /** Somebody else moved the checkpoint: what is in memory is not what is stored. */
  const standBy = Effect.fnUntraced(function* (model: Model) {
    forget(model, yield* store.checkpoint(model.name))
    model.status = "standby"
    model.standbyUntil = (yield* Clock.currentTimeMillis) + standbyMillis
  })

  const quarantine = (model: Model, fault: Fault) => {
    model.fault = fault
    model.status = "quarantined"
    model.cache.clear()
    return Effect.logError(`The projection ${model.name} stopped at ${fault.type}, position ${fault.position}: ${fault.error}`)
  }

  const save = Effect.fnUntraced(function* (model: Model) {
    const { folded, touched } = model
    const now = shared ? yield* Clock.currentTimeMillis : 0
    const telling = shared && model.unsaved > 0 && now >= model.storedAt + toldMillis
    if (folded !== null && (touched.length > 0 || model.unsaved >= unsavedMax || telling)) {
      if ((yield* store.apply(model.name, model.stored, folded, touched)) === "stale") return yield* standBy(model)
      for (const view of touched) view.touched = false
      model.touched = []
      model.stored = folded
      model.unsaved = 0
      model.storedAt = now
    }
    model.position = folded
    model.cache.trim()
  })

  const foldInMemory = Effect.fnUntraced(function* (model: Model, batch: DecodedBatch, to: Position) {
    const plan = planFold(model.projection, model.wanted, batch, model.cache, model.folded, to)
    if (plan.missing.length > 0) {
      const loaded = yield* store.load(model.name, plan.missing)
      plan.missing.forEach((view, index) => fill(view, loaded[index]))
    }
    const { to: folded, fault } = foldPlan(model.projection, plan, model.folded, model.touched)
    model.unsaved += batch.events.length
    model.folded = folded
    if (fault === null) return
    yield* save(model)
    if (model.status !== "standby") yield* quarantine(model, fault)
  })

  /** After a failure the model goes on from what is stored. */
  const orForget = <E>(model: Model, work: Effect.Effect<void, E>) =>
    Effect.tapCause(work, () => Effect.sync(() => forget(model, model.stored)))

  return {
    /** Folds one page into one model, in memory. A model that cannot go on is stored and stopped. */
    fold: (model: Model, batch: DecodedBatch, to: Position): Effect.Effect<void, ReadModelsUnavailable> => {
      if (batch.hasAny(model.wanted)) return orForget(model, foldInMemory(model, batch, to))
      model.unsaved += batch.events.length
      model.folded = to
      return Effect.void
    },
    /** Stores what was folded since the last time, with the checkpoint; each view once. */
    save: (model: Model) => orForget(model, model.touched.length > 0 ? Effect.andThen(breathe, save(model)) : save(model)),
    /** Takes a model over whose checkpoint nobody moved for a while. */
    returnFromStandby: Effect.fnUntraced(function* (model: Model) {
      if (model.status !== "standby" || (yield* Clock.currentTimeMillis) < model.standbyUntil) return
      if ((yield* store.checkpoint(model.name)) !== model.stored) return yield* standBy(model)
      model.status = model.complete ? "catching-up" : "building"
    })
  }
}
