/** Answers queries from the serving generations, once these have got to the position that the reader has seen. */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type { Position } from "#domain/ids.ts"
import type { Feed } from "./ports/feed.ts"
import type { QueryRefused, ReadModels, StoredModel } from "./ports/read-models.ts"
import { type ModelProgress, type ProjectionStatus, ProjectionUnknown, ViewsBehind, ViewsBuilding } from "./ports/view-server.ts"
import { type Entry, type Model, reaches } from "./projection-runner.ts"

/** A query waits at most so long for its position, or for the first generation to be complete (R22). */
export const waitMillis = 2000
const retryAfterSeconds = 2

interface Waiter {
  readonly entry: Entry
  /** Null: any complete generation will do. */
  readonly wanted: Position | null
  readonly reached: Deferred.Deferred<void>
}

/** Share of the log that is done, where positions are counted numbers. */
const shareOf = (position: Position | null, head: Position | null): number | null => {
  if (head === null) return 1
  if (!/^\d{1,16}$/u.test(head)) return null
  return position === null ? 0 : Math.min(1, Number(position) / Number(head))
}

const isRefused = (error: unknown): error is QueryRefused => (error as { readonly _tag?: unknown } | null)?._tag === "QueryRefused"

const isThere = ({ serving }: Entry, wanted: Position | null) => serving !== null && (wanted === null || reaches(serving.position, wanted))

/** `urge` is called when somebody begins to wait. */
export const makeQueries = (entries: ReadonlyMap<string, Entry>, store: ReadModels["Service"], feed: Feed["Service"], urge: () => void) => {
  const waiters = new Set<Waiter>()
  const headOrNull = feed.head.pipe(Effect.catch(() => Effect.succeed(null)))

  const entryOf = (name: string): Effect.Effect<Entry, ProjectionUnknown> => {
    const entry = entries.get(name)
    return entry === undefined
      ? Effect.fail(new ProjectionUnknown({ projection: name, known: [...entries.keys()].sort() }))
      : Effect.succeed(entry)
  }

  const notYet = Effect.fnUntraced(function* ({ projection, building }: Entry) {
    const head = yield* headOrNull
    return yield* new ViewsBuilding({ projection: projection.name, share: shareOf(building?.position ?? null, head), retryAfterSeconds })
  })

  const late = (entry: Entry, wanted: Position | null): Effect.Effect<never, ViewsBuilding | ViewsBehind> =>
    entry.serving === null || wanted === null
      ? notYet(entry)
      : Effect.fail(new ViewsBehind({ projection: entry.projection.name, wanted, position: entry.serving.position, retryAfterSeconds }))

  /** The serving model, once it has got there. */
  const servingAt = (entry: Entry, wanted: Position | null) => {
    if (isThere(entry, wanted)) return Effect.succeed(entry.serving!)
    return Effect.suspend(() => {
      const waiter: Waiter = { entry, wanted, reached: Deferred.makeUnsafe() }
      waiters.add(waiter)
      urge()
      return Deferred.await(waiter.reached).pipe(
        Effect.timeoutOrElse({ duration: waitMillis, orElse: () => late(entry, wanted) }),
        Effect.map(() => entry.serving!),
        Effect.ensuring(Effect.sync(() => waiters.delete(waiter)))
      )
    })
  }

  const progressOf = (model: Model | null, head: Position | null, stored: ReadonlyMap<string, StoredModel>): ModelProgress | null => {
    if (model === null) return null
    const found = stored.get(model.name)
    // What another process runs is as far as it has stored it.
    const position = model.status === "standby" ? (found?.checkpoint ?? model.position) : model.position
    return {
      model: model.name,
      status: model.status,
      position,
      rows: found?.rows ?? 0,
      share: shareOf(position, head),
      eventsPerSecond: model.eventsPerSecond === null ? null : Math.round(model.eventsPerSecond),
      fault: model.fault
    }
  }

  return {
    entryOf,
    waiting: () => waiters.size > 0,
    waitedFor: (): ReadonlyArray<Entry> => (waiters.size === 0 ? [] : [...new Set(Array.from(waiters, ({ entry }) => entry))]),
    /** Called when a model has moved on. */
    settle: () => {
      for (const { entry, wanted, reached } of waiters) if (isThere(entry, wanted)) Deferred.doneUnsafe(reached, Effect.void)
    },
    ask: Effect.fnUntraced(function* <A, E>(projection: string, after: Position | null, question: (model: string) => Effect.Effect<A, E>) {
      const entry = yield* entryOf(projection)
      const { name, status } = yield* servingAt(entry, after)
      // An older version may lack the field that is asked for: only a newer one can answer.
      return yield* status === "frozen" ? Effect.catchIf(question(name), isRefused, () => notYet(entry)) : question(name)
    }),
    statuses: Effect.gen(function* () {
      const head = yield* headOrNull
      const stored = new Map((yield* store.models).map((found) => [found.model, found]))
      return [...entries.values()].map(
        ({ projection, serving, building }): ProjectionStatus => ({
          name: projection.name,
          version: projection.version,
          serving: progressOf(serving, head, stored),
          building: progressOf(building, head, stored),
          head
        })
      )
    })
  }
}
