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

export class Bus extends Context.Service<
  Bus,
  {
    readonly facts: { readonly survivesPowerLoss: boolean }
    /** Announces that a scope has work. While an announcement of the scope is pending, further ones merge with it. */
    readonly announce: (scope: Scope) => Effect.Effect<void>
    /** Tickets for this worker, at least once, in no order. Bounded: an unasked ticket stays pending. */
    readonly work: Stream.Stream<Ticket>
    /** Scopes announced and not yet done. */
    readonly pending: Effect.Effect<number>
  }
>()("tributary/ports/Bus") {}
