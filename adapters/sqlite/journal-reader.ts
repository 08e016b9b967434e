/** The feed read in this thread by a read-only connection of its own: for projections, which must not hold up the writer. */
import { DatabaseSync } from "node:sqlite"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { Position } from "#domain/ids.ts"
import type { StreamName } from "#domain/scope.ts"
import { Feed, type FeedPage, type FeedQuery, wants } from "#services/ports/feed.ts"
import type { StoredEvent } from "#services/ports/journal.ts"
import { JournalUnavailable } from "#services/ports/unavailable.ts"
import { EventRows, type TakeEvent } from "./event-rows.ts"
import { follow } from "./feed-follow.ts"
import { HeadWatch } from "./head-watch.ts"
import { eventOfRow, positionNumber, positionOrNull } from "./stored-event.ts"

export interface ReaderOptions {
  /** The journal's file; the journal's thread has opened it before. */
  readonly file: string
  readonly cacheKilobytes?: number
}

/** Tells the followers of this thread that the journal has grown. */
export class FeedWake extends Context.Service<FeedWake, { readonly wake: (head: Position) => void }>()(
  "tributary/adapters/sqlite/FeedWake"
) {}

/** `Feed`, and `FeedWake` to pass on what the writer's thread tells. */
export const layer = (options: ReaderOptions) => Layer.effectContext(open(options))

const open = Effect.fnUntraced(function* ({ file, cacheKilobytes = 1024 }: ReaderOptions) {
  const db = yield* Effect.acquireRelease(
    attempt(() => {
      const opened = new DatabaseSync(file, { readOnly: true, timeout: 5000 })
      opened.exec(`PRAGMA cache_size=-${cacheKilobytes}`)
      return opened
    }),
    (opened) => Effect.sync(() => opened.close())
  )
  const rows = yield* attempt(() => new EventRows(db))
  const newest = db.prepare(
    `SELECT max(coalesce((SELECT max(position) FROM appends), 0), coalesce((SELECT CAST(value AS INTEGER) FROM meta WHERE name = 'lastPosition'), 0)) AS head`
  )
  const readHead = () => (newest.get() as { head: number }).head
  const watch = new HeadWatch(yield* attempt(readHead))
  const read = (query: FeedQuery) => attempt(() => readPage(rows, query))
  const feed = Feed.of({
    read,
    head: Effect.map(attempt(readHead), positionOrNull),
    follow: (query) => follow(query, read, (position, wake) => watch.whenAfter(position, wake))
  })
  return Context.make(Feed, feed).pipe(Context.add(FeedWake, FeedWake.of({ wake: (head) => watch.advance(positionNumber(head)) })))
})

/** Each page is one short read transaction: it holds no snapshot that would keep the log from being checkpointed. */
const readPage = (rows: EventRows, query: FeedQuery): FeedPage => {
  const { after, kinds, limit, streamPrefixes } = query
  const events: Array<StoredEvent> = []
  const take: TakeEvent = (position, space, key, stream, revision, id, type, version, at, origin, data, hash) => {
    if (kinds !== undefined && !wants(query, stream as StreamName)) return
    events.push(eventOfRow(position, space, key, stream, revision, id, type, version, at, origin, data, hash))
  }
  const page = rows.readFeed(positionNumber(after), limit, streamPrefixes ?? null, take)
  return { events, position: positionOrNull(page.position), atHead: page.atHead }
}

const attempt = <A>(read: () => A): Effect.Effect<A, JournalUnavailable> =>
  Effect.try({
    try: read,
    catch: (cause) => new JournalUnavailable({ written: "no", reason: cause instanceof Error ? cause.message : String(cause), cause })
  })
