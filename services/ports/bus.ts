/** Wake-ups: "this tenant has work". It may lose or repeat them: the open-work index repairs both (R24, R26). */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"
import type { Scope } from "#domain/scope.ts"

/** One wake-up, leased to this worker until it is done or its lease runs out. */
export interface Ticket {
  readonly scope: Scope
  /** 1 for the first delivery. */
  readonly attempt: number
  readonly done: Effect.Effect<void>
  /** Gives it back, to come again after so many milliseconds. */
  readonly later: (milliseconds: number) => Effect.Effect<void>
}

export interface BusFacts {
  /** Whether an announcement surely outlives a power loss. Nobody may rely on it: the sweeper repairs what is lost. */
  readonly survivesPowerLoss: boolean
  /** Times that an announcement comes without being done before it is given up. */
  readonly attemptsMax: number
}

/** Counted since the process started. */
export interface BusFigures {
  /** Announcements for which there was no room. The sweeper announces their scopes again. */
  readonly dropped: number
  /** Announcements that came `attemptsMax` times and were never done. The sweeper announces what is still open afresh. */
  readonly givenUp: number
}

export class Bus extends Context.Service<
  Bus,
  {
    readonly facts: BusFacts
    /**
     * Announces that a scope has work; never waits for a server, and never fails. While an announcement of the scope is pending
     * and in nobody's hands, further ones merge with it; one that comes while a worker holds the ticket leads to another ticket.
     */
    readonly announce: (scope: Scope) => Effect.Effect<void>
    /**
     * Tickets of the buckets that this process owns, at least once, in no order; a scope's next one comes when this one is done
     * or its lease has run out. Bounded: an unasked ticket stays pending.
     */
    readonly work: Stream.Stream<Ticket>
    /** Scopes announced and not yet done, as far as it is known now. */
    readonly pending: Effect.Effect<number>
    readonly figures: () => BusFigures
  }
>()("tributary/ports/Bus") {}
