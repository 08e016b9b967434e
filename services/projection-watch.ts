/** Generations that another process runs: which of them serves, and how far it is, is read from the store from time to time. */
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import type { ReadModels, StoredModel } from "./ports/read-models.ts"
import type { ReadModelsUnavailable } from "./ports/unavailable.ts"
import { choose, parseModel } from "./projection-models.ts"
import { type Entry, type Model, openModel, standbyMillis } from "./projection-runner.ts"

/** How often a position is looked at that somebody waits for. */
const lookMillis = 25
/** How long a generation stays after another one took its place: every process has noticed by then. */
export const generationGraceMillis = 3 * standbyMillis
/** The same for one of an older version: processes of the release before serve from it until they are replaced. */
export const versionGraceMillis = 600_000

/** A generation that this process shows and does not run. */
export const standbyModel = ({ projection }: Entry, { model, checkpoint }: StoredModel, cachedViews: number): Model =>
  openModel(projection, model, parseModel(model)?.version === projection.version ? "standby" : "frozen", checkpoint, cachedViews)

const isForeign = (model: Model | null): model is Model => model !== null && (model.status === "standby" || model.status === "frozen")

export interface WatchOptions {
  /** Entries that a query waits for. */
  readonly waitedFor: () => ReadonlyArray<Entry>
  /** Called when a position may have moved. */
  readonly moved: () => void
  /** Called when there is a generation to take part in. */
  readonly begun: () => void
  /** Takes part in a rebuild that was begun elsewhere. */
  readonly follows: boolean
  readonly cachedViews: number
}

export const makeWatch = (
  entries: ReadonlyMap<string, Entry>,
  store: ReadModels["Service"],
  { waitedFor, moved, begun, follows, cachedViews }: WatchOptions
) => {
  const asked = Latch.makeUnsafe(false)

  /** Somebody else's rebuild has taken the place of what this process shows, or has made the first that can be shown. */
  const takePlaces = Effect.fnUntraced(function* () {
    const stored = yield* store.models
    for (const entry of entries.values()) {
      const { serving, building } = choose(entry.projection, stored)
      const made = stored.find(({ model }) => model === building)
      if (follows && entry.building === null && made !== undefined) {
        entry.building = openModel(entry.projection, made.model, "building", made.checkpoint, cachedViews)
        begun()
      }
      const found = stored.find(({ model }) => model === serving)
      if (found === undefined) continue
      if (entry.serving?.name !== found.model) {
        entry.serving = standbyModel(entry, found, cachedViews)
        if (entry.building?.name === found.model) entry.building = null
      } else if (isForeign(entry.serving)) entry.serving.position = found.checkpoint
    }
    moved()
  })

  /** Positions alone, as often as somebody waits for them. */
  const follow: Effect.Effect<void, ReadModelsUnavailable> = Effect.gen(function* () {
    for (const { serving } of waitedFor()) if (isForeign(serving)) serving.position = yield* store.checkpoint(serving.name)
    moved()
  })

  const pause = Effect.suspend(() => {
    if (waitedFor().some(({ serving }) => serving === null)) return Effect.sleep(standbyMillis / 10)
    if (waitedFor().length > 0) return Effect.void
    asked.closeUnsafe()
    return asked.await.pipe(Effect.timeoutOption(standbyMillis), Effect.asVoid)
  })
  const whileWaitedFor: Effect.Effect<void, ReadModelsUnavailable> = Effect.suspend(() =>
    waitedFor().some(({ serving }) => isForeign(serving))
      ? Effect.andThen(follow, Effect.andThen(Effect.sleep(lookMillis), whileWaitedFor))
      : Effect.void
  )

  return {
    /** Somebody begins to wait. */
    urge: () => asked.openUnsafe(),
    /** Never ends. */
    watch: Effect.forever(
      Effect.andThen(takePlaces(), Effect.andThen(pause, whileWaitedFor)).pipe(
        Effect.catch(({ message }) => Effect.andThen(Effect.logWarning(message), Effect.sleep(standbyMillis)))
      )
    )
  }
}
