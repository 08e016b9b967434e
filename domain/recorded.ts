/** The envelope: what is known of every recorded event besides its own fields. */
import * as Schema from "effect/Schema"
import type { EventId, Position } from "./ids.ts"
import type { Scope, StreamName } from "./scope.ts"

/** Who did it. `key` is an API key, `system` is a part of Tributary, `webhook` an outside app by its signature. */
export type Actor = typeof Actor.Type
export const Actor = Schema.Struct({
  kind: Schema.Literals(["key", "system", "webhook", "cli"]),
  /** The key's public id, the part's name or the endpoint's id. */
  id: Schema.String,
  /** From where: the caller's address, when there is one. */
  address: Schema.optionalKey(Schema.String)
})

/** What all events of one append share. */
export type Origin = typeof Origin.Type
export const Origin = Schema.Struct({
  actor: Actor,
  /** Id of the event or command that led to this one. */
  causationId: Schema.optionalKey(Schema.String),
  /** Ties together what one outside cause set off. */
  correlationId: Schema.optionalKey(Schema.String),
  /** W3C traceparent of the request, when there is one. */
  trace: Schema.optionalKey(Schema.String),
  /** Command id and hash of the command's content: they recognise a repeat (R1). */
  commandId: Schema.optionalKey(Schema.String),
  commandHash: Schema.optionalKey(Schema.String)
})

export interface Envelope {
  readonly id: EventId
  readonly type: string
  readonly version: number
  readonly scope: Scope
  readonly stream: StreamName
  /** Counts within the stream, from 0. */
  readonly revision: number
  readonly position: Position
  /** Epoch milliseconds; it orders nothing (R30). */
  readonly at: number
  readonly origin: Origin
  /** SHA-256 over the stream's hash before and the stored bytes of the append that this event was written by, hex (R33). */
  readonly hash: string
}

/** A recorded event, as projections and reactors see it. */
export interface Recorded<Event> extends Envelope {
  readonly event: Event
}

export const systemActor = (id: string): Actor => ({ kind: "system", id })
