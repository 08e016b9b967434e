/** A command on its way to its stream: what it is asked with, and what becomes of it. */
import type * as Clock from "effect/Clock"
import * as Schema from "effect/Schema"
import type { Aggregate } from "#domain/decider.ts"
import type { Position } from "#domain/ids.ts"
import type { Origin } from "#domain/recorded.ts"
import type { Scope, StreamName } from "#domain/scope.ts"
import type { Actor, TooBusy } from "./actors.ts"
import type { AppendRejected, NewContent } from "./ports/journal.ts"
import type { JournalUnavailable } from "./ports/unavailable.ts"

// biome-ignore lint/suspicious/noExplicitAny: a cache holds the states of all aggregates.
export type Any = any

/** The same command id came with another content: 422 (R1). */
export class CommandIdReused extends Schema.TaggedError<CommandIdReused>()("CommandIdReused", { commandId: Schema.String }) {
  override get message() {
    return `The Idempotency-Key ${this.commandId} was used for another request. Nothing was changed. Use a new key for a new request.`
  }
}
/** The stream's events were removed by the retention policy: it can be neither read nor changed. */
export class AggregateRetired extends Schema.TaggedError<AggregateRetired>()("AggregateRetired", { stream: Schema.String }) {
  override get message() {
    return `${this.stream} was retired by the retention policy. Nothing was changed.`
  }
}
export type TransactError = JournalUnavailable | TooBusy | CommandIdReused | AggregateRetired

export type AppendFailure = AppendRejected | JournalUnavailable
/** What a caller takes for granted when it asks for a change. */
export interface Expecting {
  /** The revision that the aggregate has to be at; -1: it must not exist yet. Left out: whichever. */
  readonly ifRevision?: number | undefined
}

export interface TransactOptions<State = never> extends Expecting {
  /** Which revision is meant where a stream holds several things; the stream's when left out. Asked only when one is expected. */
  readonly revisionOf?: (state: State) => number
  readonly origin: Origin
  /** Content that the decided events refer to; sealed and written with them. By what was decided, where it depends on it. */
  readonly contents?: ReadonlyArray<NewContent> | ((events: ReadonlyArray<{ readonly _tag: string }>) => ReadonlyArray<NewContent>)
  /** The stream is most likely new: decide on the initial state first, and load only when that proves wrong. */
  readonly presumeAbsent?: boolean
}
export interface Transacted<State, Event> {
  readonly state: State
  /** What was decided; empty when it was so already. */
  readonly events: ReadonlyArray<Event>
  readonly revision: number
  /** Of the stream's newest event, where known. */
  readonly position: Position | null
  /** The command id was seen before: nothing was done again. */
  readonly repeated: boolean
}
/** Commands on their way to one stream. */
export interface Job {
  readonly aggregate: Aggregate<Any, Any, Any, Any>
  readonly scope: Scope
  readonly stream: StreamName
  readonly actor: Actor
  readonly commands: ReadonlyArray<Any>
  readonly options: TransactOptions
  readonly clock: Clock.Clock
  conflicts: number
}
export interface Decided {
  readonly state: Any
  readonly events: ReadonlyArray<Any>
  readonly due: number | null
  readonly dueBefore: number | null
}
