/** A log in memory, read as a `Feed`: for engines under test. */
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import type { EventId, Position } from "#domain/ids.ts"
import { systemActor } from "#domain/recorded.ts"
import { type LocalName, type Scope, streamName } from "#domain/scope.ts"
import { Feed, type FeedPage, type FeedQuery } from "#services/ports/feed.ts"
import type { StoredEvent } from "#services/ports/journal.ts"

export const positionAt = (number: number) => String(number).padStart(16, "0") as Position

export class Log {
  readonly events: Array<StoredEvent> = []
  readonly #revisions = new Map<string, number>()
  readonly #grown = Latch.makeUnsafe(false)
  /** Events of a page at most, whatever is asked for; changes from page to page when a list is given. */
  pageSizes: ReadonlyArray<number> = [Number.POSITIVE_INFINITY]
  /** Events before the asked position that come again with each page, as after a reconnect. */
  again = 0
  reads = 0

  /** Records one event; its position is its number, from 1. */
  add(scope: Scope, local: LocalName, type: string, data: Record<string, unknown> = {}, version = 1): StoredEvent {
    const stream = streamName(scope, local)
    const revision = (this.#revisions.get(stream) ?? -1) + 1
    this.#revisions.set(stream, revision)
    const number = this.events.length + 1
    const event: StoredEvent = {
      id: `event-${number}` as EventId,
      type,
      version,
      scope,
      stream,
      revision,
      position: positionAt(number),
      at: 1_000_000 + number,
      origin: { actor: systemActor("test") },
      hash: "",
      data
    }
    this.events.push(event)
    this.#grown.openUnsafe()
    return event
  }

  get head(): Position | null {
    return this.events.at(-1)?.position ?? null
  }

  read({ after, limit }: FeedQuery): FeedPage {
    const size = Math.max(1, Math.min(limit, this.pageSizes[this.reads++ % this.pageSizes.length]!))
    const from = after === null ? 0 : Number(after)
    const events = this.events.slice(Math.max(0, from - this.again), from + size)
    return { events, position: events.at(-1)?.position ?? after, atHead: from + size >= this.events.length }
  }

  feed(): Feed["Service"] {
    const read = (query: FeedQuery) => Effect.sync(() => this.read(query))
    const next = (after: Position | null, limit: number) =>
      Effect.suspend(() => {
        if ((after ?? "") < (this.head ?? "")) return read({ after, limit })
        this.#grown.closeUnsafe()
        return Effect.andThen(this.#grown.await, read({ after, limit }))
      })
    return Feed.of({
      read,
      head: Effect.sync(() => this.head),
      follow: ({ after, limit }) => Stream.unfold(after, (from) => Effect.map(next(from, limit), (page) => [page, page.position] as const))
    })
  }

  layer() {
    return Layer.succeed(Feed, this.feed())
  }
}
