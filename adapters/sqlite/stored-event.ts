/** Stored events as the ports give them: the envelope at once, the fields parsed when somebody looks. */

import { RecentMap } from "#adapters/memory/recent-map.ts"
import type { EventId, Position } from "#domain/ids.ts"
import type { Origin } from "#domain/recorded.ts"
import { type Scope, type StreamName, scopeOf } from "#domain/scope.ts"
import type { StoredEvent } from "#services/ports/journal.ts"
import { type EventRowCells, rowCells } from "./journal-protocol.ts"

export class EventOfRow implements StoredEvent {
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

  constructor(
    position: number,
    scope: Scope,
    stream: string,
    revision: number,
    id: string,
    type: string,
    version: number,
    at: number,
    origin: Origin,
    data: string,
    hash: string
  ) {
    this.id = id as EventId
    this.type = type
    this.version = version
    this.scope = scope
    this.stream = stream as StreamName
    this.revision = revision
    this.position = positionText(position)
    this.at = at
    this.origin = origin
    this.hash = hash
    this.#text = data
    this.#data = undefined
  }

  get data(): Record<string, unknown> {
    this.#data ??= JSON.parse(this.#text) as Record<string, unknown>
    return this.#data
  }
}

/** Sixteen digits: text that sorts like the numbers, up to 2^53. */
export const positionText = (position: number): Position => String(position).padStart(16, "0") as Position
export const positionOrNull = (position: number): Position | null => (position === 0 ? null : positionText(position))
/** 0 for null: before the first event. Another journal's position is a defect of the caller. */
export const positionNumber = (position: Position | null): number => {
  if (position === null) return 0
  const value = Number(position)
  if (!/^\d{16}$/u.test(position) || !Number.isSafeInteger(value)) throw new Error(`"${position}" is not a position of this journal.`)
  return value
}

const scopes = new RecentMap<string, Scope>(4_096)
/** One scope object for all its events, checked once. */
export const scopeOfRow = (space: string, key: string): Scope => {
  const cached = scopes.get(key)
  if (cached !== undefined && cached.space === space) return cached
  const scope = scopeOf(space, key)
  scopes.set(key, scope)
  return scope
}

let lastOrigin: { readonly text: string; readonly origin: Origin } | undefined
/** The events of one append share their origin, and follow each other. */
export const originOfRow = (text: string): Origin => {
  if (lastOrigin?.text !== text) lastOrigin = { text, origin: JSON.parse(text) as Origin }
  return lastOrigin.origin
}

export const eventOfRow = (
  position: number,
  space: string,
  key: string,
  stream: string,
  revision: number,
  id: string,
  type: string,
  version: number,
  at: number,
  origin: string,
  data: string,
  hash: string
): StoredEvent => new EventOfRow(position, scopeOfRow(space, key), stream, revision, id, type, version, at, originOfRow(origin), data, hash)

export const eventsOfCells = (cells: EventRowCells): ReadonlyArray<StoredEvent> => {
  const events: Array<StoredEvent> = []
  for (let cell = 0; cell < cells.length; cell += rowCells)
    events.push(
      eventOfRow(
        cells[cell] as number,
        cells[cell + 1] as string,
        cells[cell + 2] as string,
        cells[cell + 3] as string,
        cells[cell + 4] as number,
        cells[cell + 5] as string,
        cells[cell + 6] as string,
        cells[cell + 7] as number,
        cells[cell + 8] as number,
        cells[cell + 9] as string,
        cells[cell + 10] as string,
        cells[cell + 11] as string
      )
    )
  return events
}
