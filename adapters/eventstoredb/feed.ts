/** The feed on EventStoreDB: the log of all streams, filtered by the server to events of the domain. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import type { StreamName } from "#domain/scope.ts"
import { Feed, type FeedPage, type FeedQuery, wants } from "#services/ports/feed.ts"
import type { StoredEvent } from "#services/ports/journal.ts"
import { attempt } from "./attempt.ts"
import { Store } from "./driver.ts"
import { Follower } from "./follower.ts"
import { logPosition } from "./position.ts"
import type { RawEvent, ReadCalls } from "./read-calls.ts"
import { isDomainEvent, readEvent } from "./recorded-event.ts"

/** Largest page. */
const pageMax = 1_000

export const layer: Layer.Layer<Feed, never, Store> = Layer.effect(
  Feed,
  Effect.gen(function* () {
    const { reads } = yield* Store
    return Feed.of({
      read: (query) => attempt(() => readPage(reads, query)),
      head: attempt(async () => (await reads.log({ after: null, backwards: true, limit: 1 }))[0]?.position ?? null),
      follow: (query) =>
        Stream.unwrap(
          Effect.map(
            Effect.acquireRelease(
              Effect.sync(() => new Follower(reads, checkedAfter(query), Math.min(query.limit, pageMax), namesOf(query))),
              (follower) => Effect.sync(() => follower.close())
            ),
            (follower) =>
              Stream.fromEffectRepeat(follower.page).pipe(
                Stream.mapEffect(({ events, position, atHead }) =>
                  attempt(async () => ({ events: eventsOf(events, query), position, atHead }))
                )
              )
          )
        )
    })
  })
)

const checkedAfter = ({ after }: FeedQuery) => {
  if (after !== null) logPosition(after)
  return after
}

const readPage = async (reads: ReadCalls, query: FeedQuery): Promise<FeedPage> => {
  const limit = Math.min(query.limit, pageMax)
  const raws = await reads.log({ after: query.after, limit })
  return { events: eventsOf(raws, query), position: raws.at(-1)?.position ?? query.after, atHead: raws.length < limit }
}

/** More prefixes than this are looked for here, not by the server. */
const prefixesMax = 32
const scopePattern = "[0-9a-f]{2}/[^/]+/"
const literal = (text: string) => text.replaceAll(/[\\^$.*+?()[\]{}|]/gu, "\\$&")

/** What the server is to look for in the streams' names; null: nothing, the query wants most of the log. */
const namesOf = ({ kinds, streamPrefixes }: FeedQuery): string | null => {
  if (kinds !== undefined) return `^${scopePattern}(?:${kinds.map(literal).join("|")})-`
  if (streamPrefixes === undefined || streamPrefixes.length > prefixesMax) return null
  return `^(?:${streamPrefixes.map(literal).join("|")})`
}

/** Markers of retired streams count for the position alone. */
const eventsOf = (raws: ReadonlyArray<RawEvent>, query: FeedQuery): ReadonlyArray<StoredEvent> => {
  const events: Array<StoredEvent> = []
  for (const raw of raws) if (isDomainEvent(raw) && wants(query, raw.stream as StreamName)) events.push(readEvent(raw).event)
  return events
}
