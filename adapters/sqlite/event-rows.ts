/** Reads event rows and verifies their checksums, for the journal thread and for readers of their own. */
import type { DatabaseSync, StatementSync } from "node:sqlite"
import { recordText, rowChecksum } from "./event-record.ts"
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
/** In the order of `columns`. */
type Row = readonly [
  position: number,
  streamId: number,
  revision: number,
  typeId: number,
  at: number,
  id: string,
  hash: string,
  checksum: number,
  contents: string | null,
  origin: string,
  data: string,
  scopeId: number | null,
  local: string
]
const columns =
  "e.position, e.stream_id, e.revision, e.type_id, e.at, e.id, e.hash, e.checksum, e.contents, e.origin, e.data, s.scope_id, s.local"
/** A left join: an event whose stream is not stored must be found, not left out. */
const tables = "events e LEFT JOIN streams s ON s.id = e.stream_id"

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
  private readonly types = new Map<number, NamedType>()
  private readonly page: StatementSync
  private readonly scan: StatementSync
  private readonly one: StatementSync
  private readonly ofStream: StatementSync
  private readonly stream: StatementSync
  private readonly scope: StatementSync
  private readonly type: StatementSync
  private readonly retired: StatementSync

  constructor(db: DatabaseSync) {
    this.page = db.prepare(`SELECT ${columns} FROM ${tables} WHERE e.position > ? ORDER BY e.position LIMIT ?`)
    this.scan = db.prepare(
      `SELECT e.position, e.stream_id, s.scope_id, s.local FROM ${tables} WHERE e.position > ? ORDER BY e.position LIMIT ?`
    )
    this.one = db.prepare(`SELECT ${columns} FROM ${tables} WHERE e.position = ?`)
    this.ofStream = db.prepare(`SELECT ${columns} FROM ${tables} WHERE e.stream_id = ? AND e.revision >= ? ORDER BY e.revision LIMIT ?`)
    this.stream = db.prepare("SELECT scope_id, local FROM streams WHERE id = ?")
    this.scope = db.prepare("SELECT space, key, bucket FROM scopes WHERE id = ?")
    this.type = db.prepare("SELECT type, version FROM event_types WHERE id = ?")
    this.retired = db.prepare("SELECT coalesce((SELECT CAST(value AS INTEGER) FROM meta WHERE name = 'lastPosition'), 0) AS retired")
    for (const statement of [this.page, this.scan, this.one, this.ofStream, this.stream]) statement.setReturnArrays(true)
  }

  readStream(streamId: number, from: number, limit: number, take: TakeEvent): void {
    const rows = this.ofStream.all(streamId, from, limit) as unknown as ReadonlyArray<Row>
    for (const row of rows) this.give(row, take)
  }

  readFeed(after: number, limit: number, prefixes: ReadonlyArray<string> | null, take: TakeEvent): FeedPageRead {
    // Read first: whatever lies at or before it and is not found below was retired.
    const { retired } = this.retired.get() as { retired: number }
    const page = prefixes === null ? this.readAll(after, limit, take) : this.readFiltered(after, limit, prefixes, take)
    return page.atHead && page.position < retired ? { position: retired, atHead: true } : page
  }

  private readAll(after: number, limit: number, take: TakeEvent): FeedPageRead {
    const rows = this.page.all(after, limit) as unknown as ReadonlyArray<Row>
    for (const row of rows) this.give(row, take)
    return { position: rows.length === 0 ? after : rows[rows.length - 1]![0], atHead: rows.length < limit }
  }

  private readFiltered(after: number, limit: number, prefixes: ReadonlyArray<string>, take: TakeEvent): FeedPageRead {
    const seen = this.scan.all(after, scanMax) as unknown as ReadonlyArray<readonly [number, number, number | null, string]>
    let position = after
    let taken = 0
    for (const [at, streamId, scopeId, local] of seen) {
      position = at
      const stream = this.scoped(scopeId, streamId).prefix + local
      if (!prefixes.some((prefix) => stream.startsWith(prefix))) continue
      const row = this.one.get(at) as unknown as Row | undefined
      if (row === undefined) continue // Retired since the scan.
      this.give(row, take)
      if (++taken === limit) return { position, atHead: false }
    }
    return { position, atHead: seen.length < scanMax }
  }

  private give(row: Row, take: TakeEvent): void {
    const { space, scope, prefix } = this.scoped(row[11], row[1])
    const stream = prefix + row[12]
    const { type, version } = this.typed(row[3])
    const record = recordText(row[5], type, version, row[4], row[9], row[8], row[10])
    if (rowChecksum(row[0], row[1], row[2], row[6], record) !== row[7])
      throw new EventDamaged(
        `event ${row[0]} (${stream}, revision ${row[2]}) is damaged: its checksum does not match what is stored. Restore the journal from a backup`
      )
    take(row[0], space, scope, stream, row[2], row[5], type, version, row[4], row[9], row[10], row[6])
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

  private typed(typeId: number): NamedType {
    const cached = this.types.get(typeId)
    if (cached !== undefined) return cached
    const row = this.type.get(typeId) as { type: string; version: number } | undefined
    if (row === undefined) throw notStored("type", typeId)
    const type = { type: row.type, version: row.version }
    this.types.set(typeId, type)
    return type
  }
}

const notStored = (what: string, id: number): EventDamaged =>
  new EventDamaged(`events name the ${what} ${id}, which is not stored. Restore the journal from a backup`)
