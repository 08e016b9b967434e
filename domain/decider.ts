/** The shape of every rule in the product: a pure decider, and the aggregate that binds one to its stream. */
import type * as Result from "effect/Result"
import type { EventFamily } from "./event-family.ts"

export interface Decider<State, Command, Event, Rejection> {
  /** Raise it when `evolve` or the state's shape changes: snapshots of older versions are then ignored. */
  readonly version: number
  readonly initialState: State
  /** Pure. What it needs of clock, chance or the world comes in with the command. No events means: already so. */
  readonly decide: (command: Command, state: State) => Result.Result<ReadonlyArray<Event>, Rejection>
  readonly evolve: (state: State, event: Event) => State
}

/** A decider with the stream kind that holds its events. The state is plain JSON, so that it can be a snapshot. */
export interface Aggregate<State, Command, Event extends { readonly _tag: string }, Rejection>
  extends Decider<State, Command, Event, Rejection> {
  /** First part of the stream's last segment, `<kind>-<id>`. */
  readonly kind: string
  readonly events: EventFamily<Event>
  /**
   * Open work of this stream: the epoch milliseconds from which somebody has to go on with it (0: at once), or null when
   * nothing is left to do. Kept in an index beside the events, in the same transaction.
   */
  readonly workDue?: (state: State) => number | null
}

/** The state after a list of events. */
export const fold = <State, Event>(
  decider: Pick<Decider<State, never, Event, never>, "evolve">,
  state: State,
  events: Iterable<Event>
): State => {
  let next = state
  for (const event of events) next = decider.evolve(next, event)
  return next
}
