/** The open-work index on EventStoreDB: folded from the log for the buckets that this process owns. */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import { newest } from "#adapters/memory/newest.ts"
import { OpenWork } from "#services/ports/open-work.ts"
import { attempt } from "./attempt.ts"
import { Store } from "./driver.ts"
import { OpenedJournal } from "./journal.ts"
import { WorkOwner, type WorkOwnerOptions } from "./work-owner.ts"

export interface OpenWorkOptions extends Partial<WorkOwnerOptions> {
  /** The buckets to own from now on, each time that they change. The layer is ready when it owns the first of these sets. */
  readonly buckets: Stream.Stream<ReadonlySet<string>>
}

const defaults: WorkOwnerOptions = { checkpointMillis: 10_000, changesMin: 1, eventsMin: 20_000, reclaimMillis: 2_000 }
/** All of them: for the only worker of an installation. */
export const allBuckets: ReadonlySet<string> = new Set(Array.from({ length: 256 }, (_, n) => n.toString(16).padStart(2, "0")))

export const layer = ({ buckets, ...options }: OpenWorkOptions): Layer.Layer<OpenWork, never, Store | OpenedJournal> =>
  Layer.effect(
    OpenWork,
    Effect.gen(function* () {
      const driver = yield* Store
      const { newestOwn } = yield* OpenedJournal
      /** Whoever waits for buckets to be taken over. */
      const listeners = new Set<() => void>()
      const tell = () => {
        for (const listener of listeners) listener()
      }
      const owner = yield* Effect.acquireRelease(
        Effect.sync(() => new WorkOwner(driver, newestOwn, { ...defaults, ...options }, tell)),
        (owner) => Effect.promise(() => owner.close())
      )
      const first = yield* Deferred.make<void>()
      // Until the store answers: what is asked meanwhile fails as unavailable.
      const own = (wanted: ReadonlySet<string>) =>
        attempt(() => owner.own(wanted)).pipe(
          Effect.retry(Schedule.spaced("1 second")),
          Effect.orDie,
          Effect.andThen(Deferred.succeed(first, undefined))
        )
      yield* Effect.forkScoped(Stream.runForEach(buckets, own), { startImmediately: true })
      yield* Deferred.await(first)
      return OpenWork.of({
        takenOver: newest(
          () => undefined,
          (taken) => {
            listeners.add(taken)
            return () => void listeners.delete(taken)
          }
        ),
        due: ({ before, limit, key, after }) =>
          attempt(async () => {
            await owner.caughtUp()
            return owner.fold.due(before, limit, key, after)
          }),
        summary: attempt(async () => {
          await owner.caughtUp()
          return owner.fold.summary
        })
      })
    })
  )
