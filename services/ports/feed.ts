/** The whole log in order, for reactors and projections alone: everybody else reads within a scope. */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"
import type { Position } from "#domain/ids.ts"
import { kindAndIdOf, type StreamName } from "#domain/scope.ts"
import type { StoredEvent } from "./journal.ts"
import type { JournalUnavailable } from "./unavailable.ts"

export interface FeedPage {
  readonly events: ReadonlyArray<StoredEvent>
  /** Everything up to here has been seen, also what the filter left out; null on an empty log. */
  readonly position: Position | null
  /** True when the page ends at the head of the log as it was when read. */
  readonly atHead: boolean
}
export interface FeedQuery {
  /** Exclusive; null: from the first event. */
  readonly after: Position | null
  readonly limit: number
  /** Only streams whose name starts with one of these (a bucket, or a bucket and a scope key). */
  readonly streamPrefixes?: ReadonlyArray<string>
  /** Only streams of these kinds (`settings`, `flow`). */
  readonly kinds?: ReadonlyArray<string>
}

/** Whether a query wants a stream's events. */
export const wants = ({ kinds, streamPrefixes }: FeedQuery, stream: StreamName): boolean =>
  (streamPrefixes === undefined || streamPrefixes.some((prefix) => stream.startsWith(prefix))) &&
  (kinds === undefined || kinds.includes(kindAndIdOf(stream).kind))

export class Feed extends Context.Service<
  Feed,
  {
    readonly read: (query: FeedQuery) => Effect.Effect<FeedPage, JournalUnavailable>
    /** Position of the newest event, null on an empty log. */
    readonly head: Effect.Effect<Position | null, JournalUnavailable>
    /**
     * Pages after a position, first what is stored, then what is committed, without gap and in order; at least once (a page may
     * come again after a failure). Never ends.
     */
    readonly follow: (query: FeedQuery) => Stream.Stream<FeedPage, JournalUnavailable>
  }
>()("tributary/ports/Feed") {}
