/** Following a feed: pages while there are any, then a wait for the next commit. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { Position } from "#domain/ids.ts"
import type { FeedPage, FeedQuery } from "#services/ports/feed.ts"
import type { JournalUnavailable } from "#services/ports/unavailable.ts"
import { positionNumber } from "./stored-event.ts"

/** Calls back once when there is something after a position; returns how to stop waiting. */
export type WhenAfter = (position: number, wake: () => void) => () => void

/** Gives each page that says something: events, a head reached, or a position that moved. */
export const follow = (
  query: FeedQuery,
  read: (query: FeedQuery) => Effect.Effect<FeedPage, JournalUnavailable>,
  whenAfter: WhenAfter
): Stream.Stream<FeedPage, JournalUnavailable> => {
  const waitAfter = (position: Position | null) =>
    Effect.callback<void>((resume) => {
      const stop = whenAfter(positionNumber(position), () => resume(Effect.void))
      return Effect.sync(stop)
    })
  const start: { readonly after: Position | null; readonly wait: boolean } = { after: query.after, wait: false }
  return Stream.paginate(start, ({ after, wait }) =>
    Effect.gen(function* () {
      if (wait) yield* waitAfter(after)
      const page = yield* read({ ...query, after })
      return [[page], Option.some({ after: page.position, wait: page.atHead })] as const
    })
  )
}
