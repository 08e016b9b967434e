/** A domain event as it lies in the store: its fields as JSON data, its envelope as JSON metadata with a checksum over both. */
import { crc32 } from "node:zlib"
import { RecentMap } from "#adapters/memory/recent-map.ts"
import { eventLines, recordText } from "#adapters/sqlite/event-record.ts"
import type { EventId, Position } from "#domain/ids.ts"
import type { Origin } from "#domain/recorded.ts"
import { type Scope, type StreamName, scopeOf } from "#domain/scope.ts"
import type { StoredEvent } from "#services/ports/journal.ts"
import type { RawEvent } from "./read-calls.ts"

/** Of an append, as far as each of its events carries it. */
export interface AppendFacts {
  readonly stream: string
  readonly space: string
  readonly at: number
  readonly origin: Origin
  /** The stream's hash after the append (R33). */
  readonly hash: string
}
/** The metadata, in the order in which it is written. */
export interface EventMetadata {
  readonly version: number
  /** The port's count: contents do not count. */
  readonly revision: number
  readonly at: number
  readonly space: string
  readonly origin: Origin
  readonly hash: string
  /** On an append's first event, when it has contents: their slots, lengths and keyed hash. */
  readonly contents?: string
  /** On an append's last event, when it said so: the stream's open work from then on. */
  readonly workDue?: number | null
  readonly checksum: number
}

export const retiredType = "retired"
export const contentType = "content"

/** A stored event whose bytes are not those that were written (R33). */
export class EventDamaged extends Error {
  override readonly name = "EventDamaged"
}

export const checksumOf = (stream: string, id: string, type: string, data: string, metadata: Omit<EventMetadata, "checksum">): number => {
  const { version, revision, at, space, origin, hash, contents, workDue } = metadata
  const record = recordText(at, JSON.stringify(origin), contents ?? null, eventLines(id, type, version, data))
  return crc32(`${stream}\n${revision}\n${space}\n${hash}\n${workDue === undefined ? "" : workDue}\n${record}`)
}

/** A domain event with its envelope; the fields are parsed when somebody looks. */
export class DomainEvent implements StoredEvent {
  readonly id: EventId
  readonly type: string
  readonly version: number
  readonly scope: Scope
  readonly stream: StreamName
  readonly revision: number
  readonly position: Position
  readonly at: number
  readonly origin: Origin
  readonly hash: string
  readonly #text: string
  #data: Record<string, unknown> | undefined

  constructor(raw: RawEvent, metadata: EventMetadata, text: string) {
    this.id = raw.id as EventId
    this.type = raw.type
    this.version = metadata.version
    this.scope = scopeOfEvent(metadata.space, raw.stream)
    this.stream = raw.stream as StreamName
    this.revision = metadata.revision
    this.position = raw.position
    this.at = metadata.at
    this.origin = metadata.origin
    this.hash = metadata.hash
    this.#text = text
    this.#data = undefined
  }

  get data(): Record<string, unknown> {
    this.#data ??= JSON.parse(this.#text) as Record<string, unknown>
    return this.#data
  }

  /** The fields as they lie in the store. */
  static textOf(event: DomainEvent): string {
    return event.#text
  }
}

/** A domain event as it was read: what the port gives, and what only the adapter needs. */
export interface ReadEvent {
  readonly event: DomainEvent
  readonly metadata: EventMetadata
  readonly serverRevision: number
}

/** Throws `EventDamaged`. */
export const readEvent = (raw: RawEvent): ReadEvent => {
  const metadata = metadataOf(raw)
  const text = Buffer.from(raw.data).toString("utf8")
  if (checksumOf(raw.stream, raw.id, raw.type, text, metadata) !== metadata.checksum)
    throw damaged(raw, "its checksum does not match what is stored")
  return { event: new DomainEvent(raw, metadata, text), metadata, serverRevision: raw.serverRevision }
}

export const isDomainEvent = ({ type }: RawEvent): boolean => {
  const first = type.charCodeAt(0)
  return first >= 65 && first <= 90
}

const metadataOf = (raw: RawEvent): EventMetadata => {
  try {
    return JSON.parse(Buffer.from(raw.metadata).toString("utf8")) as EventMetadata
  } catch {
    throw damaged(raw, "its metadata is no JSON")
  }
}

export const damaged = ({ stream, serverRevision, position }: RawEvent, what: string): EventDamaged =>
  new EventDamaged(
    `event ${position} (${stream}, revision ${serverRevision} of the server) is damaged: ${what}. Restore the journal from a backup`
  )

const scopes = new RecentMap<string, Scope>(4_096)
/** One scope object for all its events, checked once. */
const scopeOfEvent = (space: string, stream: string): Scope => {
  const key = stream.slice(3, stream.indexOf("/", 3))
  const cached = scopes.get(key)
  if (cached !== undefined && cached.space === space) return cached
  const scope = scopeOf(space, key)
  scopes.set(key, scope)
  return scope
}
