/** One stored generation of a projection, and how a batch of events is folded into it. */
import { Clock, Effect } from "effect"
import type { Position } from "#domain/ids.ts"
import type { AnyProjection } from "#projections/projection.ts"
import type { ReadModels } from "./ports/read-models.ts"
import type { ModelProgress } from "./ports/view-server.ts"
import { type DecodedBatch, type Fault, fill, foldPlan, planFold, ViewCache } from "./projection-fold.ts"

/** Events without effect on a model after which its checkpoint is written all the same. */
const unsavedMax = 4096
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
  /** How far it is: ahead of the stored checkpoint only by events that changed nothing. */
  position: Position | null
  /** Events since the stored checkpoint. */
  unsaved: number
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
  unsaved: 0,
  fault: null,
  standbyUntil: 0,
  eventsPerSecond: null
})

export const reaches = (position: Position | null, wanted: Position) => position !== null && position >= wanted

/** The position that is furthest on; null when none has begun. */
export const foremostOf = (models: ReadonlyArray<Model>): Position | null =>
  models.reduce<Position | null>((most, { position }) => (position !== null && (most === null || position > most) ? position : most), null)

/** The position that is furthest behind; null when one has not begun. */
export const rearmostOf = (models: ReadonlyArray<Model>): Position | null =>
  models.reduce<Position | null>(
    (least, { position }) => (position === null || least === null || position < least ? position : least),
    foremostOf(models)
  )

/** `breathe` is called between reading and writing: it lets queries in. */
export const makeRunner = (store: ReadModels["Service"], breathe: Effect.Effect<void>) => {
  /** Somebody else moved the checkpoint: what is in memory is not what is stored. */
  const standBy = Effect.fnUntraced(function* (model: Model) {
    model.cache.clear()
    model.stored = model.position = yield* store.checkpoint(model.name)
    model.status = "standby"
    model.standbyUntil = (yield* Clock.currentTimeMillis) + standbyMillis
  })

  const quarantine = (model: Model, fault: Fault) => {
    model.fault = fault
    model.status = "quarantined"
    model.cache.clear()
    return Effect.logError(`The projection ${model.name} stopped at ${fault.type}, position ${fault.position}: ${fault.error}`)
  }

  const foldAndStore = Effect.fnUntraced(function* (model: Model, batch: DecodedBatch, to: Position) {
    const plan = planFold(model.projection, model.wanted, batch, model.cache, model.position, to)
    if (plan.missing.length > 0) {
      const loaded = yield* store.load(model.name, plan.missing)
      plan.missing.forEach((view, index) => fill(view, loaded[index]))
    }
    const folded = foldPlan(model.projection, plan, model.position)
    if (folded.touched.length > 0) yield* breathe
    model.unsaved += batch.events.length
    if (folded.to !== null && (folded.touched.length > 0 || model.unsaved >= unsavedMax)) {
      if ((yield* store.apply(model.name, model.stored, folded.to, folded.touched)) === "stale") return yield* standBy(model)
      model.stored = folded.to
      model.unsaved = 0
    }
    model.position = folded.to
    model.cache.trim()
    if (folded.fault !== null) yield* quarantine(model, folded.fault)
  })

  return {
    /** Folds one page into one model and stores it with the checkpoint. After a failure the model goes on from what is stored. */
    advance: (model: Model, batch: DecodedBatch, to: Position) =>
      foldAndStore(model, batch, to).pipe(
        Effect.tapCause(() =>
          Effect.sync(() => {
            model.cache.clear()
            model.position = model.stored
          })
        )
      ),
    /** Takes a model over whose checkpoint nobody moved for a while. */
    returnFromStandby: Effect.fnUntraced(function* (model: Model) {
      if (model.status !== "standby" || (yield* Clock.currentTimeMillis) < model.standbyUntil) return
      if ((yield* store.checkpoint(model.name)) !== model.stored) return yield* standBy(model)
      model.status = model.complete ? "catching-up" : "building"
    })
  }
}
