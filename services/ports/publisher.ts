/** Where integration events and run events go outside the installation: kept for a window of time, read by whoever subscribes. */
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import type * as Effect from "effect/Effect"
import type { EventId, SpaceKey, TenantKey } from "#domain/ids.ts"

export class PublisherUnavailable extends Data.TaggedError("PublisherUnavailable")<{ readonly reason: string; readonly cause?: unknown }> {
  override get message() {
    return `Events cannot be published now: ${this.reason}. Nothing is lost: they stand in the journal, and are published once it is possible.`
  }
}

export interface Message {
  /** The recorded event's: the same event has the same id however often it is published. */
  readonly id: EventId
  readonly space: SpaceKey
  readonly tenant: TenantKey
  /** Connector and event, or `runs` and what became of one; any text. */
  readonly topic: readonly [string, string]
  /** JSON text. */
  readonly body: string
}

export class Publisher extends Context.Service<
  Publisher,
  {
    /** Largest body, bytes. */
    readonly bodyBytesMax: number
    /** How long messages are kept. */
    readonly windowMillis: number
    /**
     * Names the place where messages are kept. Another name than before: what was kept is gone, and the whole window has to be
     * published again.
     */
    readonly target: Effect.Effect<string, PublisherUnavailable>
    /**
     * Kept at the target when it succeeds, in this order where nothing had to be repeated. After a failure some may be kept and
     * others not: publish all of them again. A message whose id came minutes ago is not kept twice; later on it may be.
     */
    readonly publish: (messages: ReadonlyArray<Message>) => Effect.Effect<void, PublisherUnavailable>
  }
>()("tributary/ports/Publisher") {}
