/** The feed on SQLite: the newest events from memory, older ones from the journal's thread, page by page. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Feed, type FeedPage, type FeedQuery, wants } from "#services/ports/feed.ts"
import type { StoredEvent } from "#services/ports/journal.ts"
import type { JournalUnavailable } from "#services/ports/unavailable.ts"
import { follow } from "./feed-follow.ts"
import type { FeedReply } from "./journal-protocol.ts"
import { type JournalConnection, JournalThread } from "./journal-thread-client.ts"
import { eventsOfCells, positionNumber, positionOrNull } from "./stored-event.ts"

/** Largest page: it is read between two commits. */
const pageMax = 1_000

export const layer = Layer.effect(
  Feed,
  Effect.gen(function* () {
    const { connection } = yield* JournalThread
    const read = (query: FeedQuery) => readPage(connection, query)
    return Feed.of({
      read,
      head: Effect.sync(() => positionOrNull(connection.ring.head)),
      follow: (query) => follow(query, read, (position, wake) => connection.whenAfter(position, wake))
    })
  })
)

const readPage = (connection: JournalConnection, query: FeedQuery): Effect.Effect<FeedPage, JournalUnavailable> =>
  Effect.suspend(() => {
    const after = positionNumber(query.after)
    const limit = Math.min(query.limit, pageMax)
    const recent = connection.ring.after(after, limit)
    if (recent !== null) return Effect.succeed(pageOfRecent(recent, after, limit, connection.ring.head, query))
    const prefixes = query.streamPrefixes ?? null
    return Effect.map(connection.ask<FeedReply>({ op: "readFeed", after, limit, prefixes }), ({ events, position, atHead }) => ({
      events: query.kinds === undefined ? eventsOfCells(events) : eventsOfCells(events).filter(({ stream }) => wants(query, stream)),
      position: positionOrNull(position),
      atHead
    }))
  })

const pageOfRecent = (recent: ReadonlyArray<StoredEvent>, after: number, limit: number, head: number, query: FeedQuery): FeedPage => {
  const all = query.streamPrefixes === undefined && query.kinds === undefined
  const events = all ? recent : recent.filter(({ stream }) => wants(query, stream))
  const last = recent.at(-1)?.position ?? positionOrNull(after)
  return { events, position: last, atHead: recent.length < limit || positionNumber(last) === head }
}
