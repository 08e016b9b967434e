/** Reads events from the rows of their appends and verifies the checksums, for the journal thread and for readers of their own. */
import type { DatabaseSync, StatementSync } from "node:sqlite"
import { linesPerEvent, recordText, rowChecksum } from "./event-record.ts"
import { RecentMap } from "./recent-map.ts"

/** A stored row whose bytes are not those that were written (R33). */
export class EventDamaged extends Error {
  override readonly name = "EventDamaged"
}

/** Takes one event; the order is that of `rowCells`. */
export type TakeEvent = (
  position: number,
  space: string,
  scope: string,
  stream: string,
  revision: number,
  id: string,
  type: string,
  version: number,
  at: number,
  origin: string,
  data: string,
  hash: string
) => void

interface NamedScope {
  readonly space: string
  readonly scope: string
  /** `<bucket>/<scope key>/` */
  readonly prefix: string
}
interface NamedStream {
  readonly space: string
  readonly scope: string
  readonly stream: string
}
interface NamedType {
  readonly type: string
  readonly version: number
}
/** Of the events that a read looks at: those behind a position, from a revision on, and how many it still takes. */
interface Wanted {
  readonly after: number
  readonly from: number
  left: number
}
/** In the order of `columns`. */
type Row = readonly [
  position: number,
  streamId: number,
  revision: number,
  count: number,
  at: number,
  checksum: number,
  hash: string,
  contents: string | null,
  origin: string,
  events: string,
  scopeId: number | null,
  local: string
]
const columns =
  "a.position, a.stream_id, a.revision, a.count, a.at, a.checksum, a.hash, a.contents, a.origin, a.events, s.scope_id, s.local"
/** A left join: an append whose stream is not stored must be found, not left out. */
const tables = "appends a LEFT JOIN streams s ON s.id = a.stream_id"

/** Stream names held in memory; about 250 bytes each. */
const namesMax = 16_384
const scopesMax = 4_096
/** Rows looked at for one filtered page, so that no read holds its snapshot for long. */
const scanMax = 8_192

export interface FeedPageRead {
  /** Everything up to here was looked at; the `after` when nothing follows it. */
  readonly position: number
  readonly atHead: boolean
}

export class EventRows {
  private readonly names = new RecentMap<number, NamedStream>(namesMax)
  private readonly scopes = new RecentMap<number, NamedScope>(scopesMax)
  private readonly types = new Map<string, NamedType>()
  private readonly page: StatementSync
  private readonly scan: StatementSync
  private readonly one: StatementSync
  private readonly ofStream: StatementSync
  private readonly stream: StatementSync
  private readonly scope: StatementSync
  private readonly retired: StatementSync

  constructor(db: DatabaseSync) {
    this.page = db.prepare(`SELECT ${columns} FROM ${tables} WHERE a.position > ? ORDER BY a.position LIMIT ?`)
    this.scan = db.prepare(
      `SELECT a.position, a.stream_id, s.scope_id, s.local FROM ${tables} WHERE a.position > ? ORDER BY a.position LIMIT ?`
    )
    this.one = db.prepare(`SELECT ${columns} FROM ${tables} WHERE a.position = ?`)
    this.ofStream = db.prepare(`SELECT ${columns} FROM ${tables} WHERE a.stream_id = ? AND a.revision >= ? ORDER BY a.revision`)
    this.stream = db.prepare("SELECT scope_id, local FROM streams WHERE id = ?")
    this.scope = db.prepare("SELECT space, key, bucket FROM scopes WHERE id = ?")
    this.retired = db.prepare("SELECT coalesce((SELECT CAST(value AS INTEGER) FROM meta WHERE name = 'lastPosition'), 0) AS retired")
    for (const statement of [this.page, this.scan, this.one, this.ofStream, this.stream]) statement.setReturnArrays(true)
  }

  /** A limit of -1: all. */
  readStream(streamId: number, from: number, limit: number, take: TakeEvent): void {
    const wanted: Wanted = { after: -1, from, left: limit < 0 ? Number.POSITIVE_INFINITY : limit }
    for (const row of this.ofStream.iterate(streamId, from)) {
      if (wanted.left === 0) return
      this.give(row as unknown as Row, wanted, take)
    }
  }

  readFeed(after: number, limit: number, prefixes: ReadonlyArray<string> | null, take: TakeEvent): FeedPageRead {
    // Read first: whatever lies at or before it and is not found below was retired.
    const { retired } = this.retired.get() as { retired: number }
    const page = prefixes === null ? this.readAll(after, limit, take) : this.readFiltered(after, limit, prefixes, take)
    return page.atHead && page.position < retired ? { position: retired, atHead: true } : page
  }

  private readAll(after: number, limit: number, take: TakeEvent): FeedPageRead {
    const wanted: Wanted = { after, from: 0, left: limit }
    let position = after
    // No append is empty: there are no more rows than events.
    for (const row of this.page.iterate(after, limit)) {
      if (wanted.left === 0) return { position, atHead: false }
      position = this.give(row as unknown as Row, wanted, take)
    }
    return { position, atHead: wanted.left > 0 }
  }

  private readFiltered(after: number, limit: number, prefixes: ReadonlyArray<string>, take: TakeEvent): FeedPageRead {
    const seen = this.scan.all(after, scanMax) as unknown as ReadonlyArray<readonly [number, number, number | null, string]>
    const wanted: Wanted = { after, from: 0, left: limit }
    let position = after
    for (const [at, streamId, scopeId, local] of seen) {
      const stream = this.scoped(scopeId, streamId).prefix + local
      if (!prefixes.some((prefix) => stream.startsWith(prefix))) {
        position = at
        continue
      }
      const row = this.one.get(at) as unknown as Row | undefined
      position = row === undefined ? at : this.give(row, wanted, take) // Or it was retired since the scan.
      if (wanted.left === 0) return { position, atHead: false }
    }
    return { position, atHead: seen.length < scanMax }
  }

  /** Gives an append's events that are wanted; returns the position up to which it was looked at. */
  private give(row: Row, wanted: Wanted, take: TakeEvent): number {
    const [position, streamId, revision, count, at, checksum, hash, contents, origin, events, scopeId, local] = row
    const { space, scope, prefix } = this.scoped(scopeId, streamId)
    const stream = prefix + local
    if (rowChecksum(position, streamId, revision, count, hash, recordText(at, origin, contents, events)) !== checksum)
      throw new EventDamaged(
        `event ${position} (${stream}, revision ${revision}) is damaged: its checksum does not match what is stored. Restore the journal from a backup`
      )
    const lines = events.split("\n")
    const skipped = Math.max(0, wanted.after - (position - count), wanted.from - (revision - count + 1))
    const taken = Math.min(count, skipped + wanted.left)
    for (let index = skipped; index < taken; index++) {
      const behind = count - 1 - index
      const line = index * linesPerEvent
      const { type, version } = this.typed(lines[line + 1]!)
      take(position - behind, space, scope, stream, revision - behind, lines[line]!, type, version, at, origin, lines[line + 2]!, hash)
    }
    wanted.left -= taken - skipped
    return position - count + taken
  }

  /** A stream's name and owner, by its number. */
  named(streamId: number): NamedStream {
    const cached = this.names.get(streamId)
    if (cached !== undefined) return cached
    const row = this.stream.get(streamId) as unknown as readonly [scopeId: number, local: string] | undefined
    if (row === undefined) throw notStored("stream", streamId)
    const { space, scope, prefix } = this.scoped(row[0], streamId)
    const name = { space, scope, stream: prefix + row[1] }
    this.names.set(streamId, name)
    return name
  }

  private scoped(scopeId: number | null, streamId: number): NamedScope {
    if (scopeId === null) throw notStored("stream", streamId)
    const cached = this.scopes.get(scopeId)
    if (cached !== undefined) return cached
    const row = this.scope.get(scopeId) as { space: string; key: string; bucket: string } | undefined
    if (row === undefined) throw notStored("scope", scopeId)
    const scope = { space: row.space, scope: row.key, prefix: `${row.bucket}/${row.key}/` }
    this.scopes.set(scopeId, scope)
    return scope
  }

  private typed(line: string): NamedType {
    const cached = this.types.get(line)
    if (cached !== undefined) return cached
    const border = line.lastIndexOf("@")
    const type = { type: line.slice(0, border), version: Number(line.slice(border + 1)) }
    this.types.set(line, type)
    return type
  }
}

const notStored = (what: string, id: number): EventDamaged =>
  new EventDamaged(`events name the ${what} ${id}, which is not stored. Restore the journal from a backup`)
