/** Keeps what a process remembers true while others write: follows the feed, and drops what lacks their events. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import type { Position } from "#domain/ids.ts"
import { Feed } from "./ports/feed.ts"
import type { JournalUnavailable } from "./ports/unavailable.ts"
import { Transact } from "./transact.ts"

/**
 * Kinds of streams whose states are read from memory. Deliveries and runs are not among them: whoever works on one appends at its
 * revision, and learns by that what it has missed (R4).
 */
export const remembered: ReadonlyArray<string> = [
  "apikey",
  "connector",
  "enablement",
  "endpoint",
  "flow",
  "integration",
  "name",
  "quota",
  "settings",
  "space",
  "tenant"
]

const pageEvents = 500
const retryMillis = 1_000

/**
 * For processes that share a journal; one that is alone with its journal knows all that happens. It stands right on `Transact`, under
 * whatever reads: the head has to be known before anything is in memory.
 */
export const layer: Layer.Layer<never, JournalUnavailable, Feed | Transact> = Layer.effectDiscard(
  Effect.gen(function* () {
    const feed = yield* Feed
    const { overtake } = yield* Transact
    let after: Position | null = yield* feed.head
    const follow = Effect.suspend(() =>
      feed.follow({ after, limit: pageEvents, kinds: remembered }).pipe(
        Stream.runForEach((page) =>
          Effect.sync(() => {
            for (const { stream, revision } of page.events) overtake(stream, revision)
            after = page.position
          })
        )
      )
    )
    yield* follow.pipe(
      Effect.tapError((error) => Effect.logWarning(`What others change is not seen for the moment: ${error.message}`)),
      Effect.retry(Schedule.spaced(retryMillis)),
      Effect.forkScoped
    )
  })
)
