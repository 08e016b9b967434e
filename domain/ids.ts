/** Identifiers. All are random or hashed, never a customer's text, and safe in a stream name, a subject and a path. */
import * as Schema from "effect/Schema"

const text = (pattern: RegExp, expected: string) => Schema.String.check(Schema.isPattern(pattern, { expected }))

/** A space's random key: `s` and 19 characters of base32. */
export type SpaceKey = typeof SpaceKey.Type
export const SpaceKey = text(/^s[a-z2-7]{19}$/u, "a space key").pipe(Schema.brand("SpaceKey"))

/** A tenant's random key: `t` and 19 characters of base32. */
export type TenantKey = typeof TenantKey.Type
export const TenantKey = text(/^t[a-z2-7]{19}$/u, "a tenant key").pipe(Schema.brand("TenantKey"))

/** A name that engineers choose: lower-case letters, digits and dashes, at most 64. */
export const slugPattern = /^[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?$/u
export type ConnectorId = typeof ConnectorId.Type
export const ConnectorId = text(slugPattern, "lower-case letters, digits and dashes, at most 64").pipe(Schema.brand("ConnectorId"))
export type FlowId = typeof FlowId.Type
export const FlowId = text(slugPattern, "lower-case letters, digits and dashes, at most 64").pipe(Schema.brand("FlowId"))
/** A step's name within its flow; also a JSONata field name, so underscores instead of dashes. */
export type StepId = typeof StepId.Type
export const StepId = text(/^[a-z][a-zA-Z0-9_]{0,47}$/u, "a letter, then letters, digits and underscores, at most 48").pipe(
  Schema.brand("StepId")
)

/** `<connector>.<16 characters of base32>`: a connection names the integration that it belongs to. */
export type ConnectionId = typeof ConnectionId.Type
export const ConnectionId = text(/^[a-z0-9][a-z0-9-]{0,63}\.[a-z2-7]{16}$/u, "<connector>.<16 characters>").pipe(
  Schema.brand("ConnectionId")
)
/** `<scope key>` and 16 characters of base32: the id alone leads to the endpoint's stream. */
export type EndpointId = typeof EndpointId.Type
export const EndpointId = text(/^[st][a-z2-7]{35}$/u, "36 letters and digits").pipe(Schema.brand("EndpointId"))
/** 26 characters of base32: a hash of endpoint and delivery id, so that a repeat finds the same stream (R8). */
export type DeliveryId = typeof DeliveryId.Type
export const DeliveryId = text(/^[a-z2-7]{26}(?:\.\d{1,4})?$/u, "26 characters, and .n for a later window").pipe(Schema.brand("DeliveryId"))
/** 26 characters of base32: a hash of what caused the run (R10). */
export type RunId = typeof RunId.Type
export const RunId = text(/^[a-z2-7]{26}$/u, "26 characters").pipe(Schema.brand("RunId"))
/** The public half of an API key: 12 characters of base32. */
export type ApiKeyId = typeof ApiKeyId.Type
export const ApiKeyId = text(/^[a-z2-7]{12}$/u, "12 characters").pipe(Schema.brand("ApiKeyId"))

/** A recorded event's own id: a random UUID per decision, never derived from the command (R2). */
export type EventId = typeof EventId.Type
export const EventId = Schema.String.pipe(Schema.brand("EventId"))

/** A place in the whole log: opaque text that sorts in log order, comparable within one journal only. */
export type Position = typeof Position.Type
export const Position = Schema.String.pipe(Schema.brand("Position"))
