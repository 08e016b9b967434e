/** The audit log: who did what to what, when and from where, for every event that a person, a key or a part of the system decided on. */
import * as Schema from "effect/Schema"
import { EventId } from "#domain/ids.ts"
import { Actor, type Recorded } from "#domain/recorded.ts"
import { kindOfEvent } from "#domain/registry.ts"
import { kindAndIdOf } from "#domain/scope.ts"
import type { Projection } from "./projection.ts"

export type AuditEntry = typeof AuditEntry.Type
export const AuditEntry = Schema.Struct({
  id: EventId,
  /** Epoch milliseconds. */
  at: Schema.Int,
  actor: Actor,
  /** `<kind>:<id>` of the actor, to search by. */
  by: Schema.String,
  /** The event's type: what was done. */
  action: Schema.String,
  /** Kind and id of what it was done to. */
  kind: Schema.String,
  target: Schema.String,
  revision: Schema.Int,
  /** What it was set to: the event's fields, without what is secret or sealed. */
  fields: Schema.Record(Schema.String, Schema.Json),
  correlationId: Schema.optionalKey(Schema.String)
})

type AnyEvent = { readonly _tag: string }

/** What comes and goes with each webhook. Of these the audit keeps only what people do about them. */
const traffic = new Set(["delivery", "run", "quota", "name", "retention"])
const doneToRuns = new Set(["RunStarted", "RunCancelled", "RunRetried", "StepDecided"])
const people = new Set(["key", "cli"])

/** Digests and fingerprints of secrets, and text sealed under the tenant's key: of no use to a reader, some to an attacker. */
const withheld = new Set(["_tag", "digest", "fingerprint", "externalId", "displayName", "variables"])
/** Sealed in these events, plain in others. */
const sealedLabels = new Set(["ConnectionAuthorized"])

const shown = (value: unknown): Schema.Json => {
  if (Array.isArray(value)) return value.map(shown)
  if (typeof value !== "object" || value === null) return (value ?? null) as Schema.Json
  return fieldsOf(value)
}

const fieldsOf = (event: object): Record<string, Schema.Json> => {
  const fields: Record<string, Schema.Json> = {}
  for (const [name, value] of Object.entries(event)) if (!withheld.has(name) && value !== undefined) fields[name] = shown(value)
  return fields
}

const entryOf = ({ id, at, origin, type, stream, revision, event }: Recorded<AnyEvent>): AuditEntry => {
  const { kind, id: target } = kindAndIdOf(stream)
  const { label: _, ...unsealed } = event as AnyEvent & { readonly label?: unknown }
  return {
    id,
    at,
    actor: origin.actor,
    by: `${origin.actor.kind}:${origin.actor.id}`,
    action: type,
    kind,
    target,
    revision,
    fields: fieldsOf(sealedLabels.has(type) ? unsealed : event),
    ...(origin.correlationId === undefined ? {} : { correlationId: origin.correlationId })
  }
}

export const audit: Projection<AnyEvent, AuditEntry> = {
  name: "audit",
  version: 1,
  events: [...kindOfEvent].flatMap(([type, kind]) => (doneToRuns.has(type) || !traffic.has(kind) ? [type] : [])),
  fields: { at: "time", by: "text", action: "text", kind: "text", target: "text" },
  sorts: [["at"], ["by", "at"], ["kind", "at"]],
  key: ({ id, type, origin }) => (doneToRuns.has(type) && !people.has(origin.actor.kind) ? undefined : id),
  evolve: (_view, recorded) => entryOf(recorded)
}
