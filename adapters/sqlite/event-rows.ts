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

interface NamedStream {
  readonly space: string
  readonly scope: string
  readonly stream: string
}
interface NamedType {
  readonly type: string
  readonly version: number
}
/** Columns in the order of `columns`. */
type Row = readonly [number, number, number, number, number, string, string, number, string | null, string, string]
const columns = "position, stream_id, revision, type_id, at, id, hash, checksum, contents, origin, data"

const streamNameColumn = "k.bucket || '/' || k.key || '/' || s.local"

/** Stream names held in memory; about 250 bytes each. */
const namesMax = 16_384
/** Rows looked at for one filtered page, so that no read holds its snapshot for long. */
const scanMax = 8_192

export interface FeedPageRead {
  /** Position of the last row looked at; the `after` when there was none. */
  readonly position: number
  readonly atHead: boolean
}

export class EventRows {
  private readonly names = new RecentMap<number, NamedStream>(namesMax)
  private readonly types = new Map<number, NamedType>()
  private readonly page: StatementSync
  private readonly scan: StatementSync
  private readonly one: StatementSync
  private readonly ofStream: StatementSync
  private readonly stream: StatementSync
  private readonly type: StatementSync

  constructor(db: DatabaseSync) {
    this.page = db.prepare(`SELECT ${columns} FROM events WHERE position > ? ORDER BY position LIMIT ?`)
    this.scan = db.prepare("SELECT position, stream_id FROM events WHERE position > ? ORDER BY position LIMIT ?")
    this.one = db.prepare(`SELECT ${columns} FROM events WHERE position = ?`)
    this.ofStream = db.prepare(`SELECT ${columns} FROM events WHERE stream_id = ? AND revision >= ? ORDER BY revision LIMIT ?`)
    this.stream = db.prepare(
      `SELECT k.space, k.key, ${streamNameColumn} AS stream FROM streams s JOIN scopes k ON k.id = s.scope_id WHERE s.id = ?`
    )
    this.type = db.prepare("SELECT type, version FROM event_types WHERE id = ?")
    for (const statement of [this.page, this.scan, this.one, this.ofStream]) statement.setReturnArrays(true)
  }

  readStream(streamId: number, from: number, limit: number, take: TakeEvent): void {
    const rows = this.ofStream.all(streamId, from, limit) as unknown as ReadonlyArray<Row>
    for (const row of rows) this.give(row, take)
  }

  readFeed(after: number, limit: number, prefixes: ReadonlyArray<string> | null, take: TakeEvent): FeedPageRead {
    if (prefixes !== null) return this.readFiltered(after, limit, prefixes, take)
    const rows = this.page.all(after, limit) as unknown as ReadonlyArray<Row>
    for (const row of rows) this.give(row, take)
    return { position: rows.length === 0 ? after : rows[rows.length - 1]![0], atHead: rows.length < limit }
  }

  private readFiltered(after: number, limit: number, prefixes: ReadonlyArray<string>, take: TakeEvent): FeedPageRead {
    const seen = this.scan.all(after, scanMax) as unknown as ReadonlyArray<readonly [number, number]>
    let position = after
    let taken = 0
    for (const [at, streamId] of seen) {
      position = at
      const { stream } = this.named(streamId)
      if (!prefixes.some((prefix) => stream.startsWith(prefix))) continue
      const row = this.one.get(at) as unknown as Row | undefined
      if (row === undefined) continue // Retired since the scan.
      this.give(row, take)
      if (++taken === limit) return { position, atHead: false }
    }
    return { position, atHead: seen.length < scanMax }
  }

  private give(row: Row, take: TakeEvent): void {
    const { space, scope, stream } = this.named(row[1])
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
    const row = this.stream.get(streamId) as { space: string; key: string; stream: string } | undefined
    if (row === undefined)
      throw new EventDamaged(`events name the stream ${streamId}, which is not stored. Restore the journal from a backup`)
    const name = { space: row.space, scope: row.key, stream: row.stream }
    this.names.set(streamId, name)
    return name
  }

  private typed(typeId: number): NamedType {
    const cached = this.types.get(typeId)
    if (cached !== undefined) return cached
    const row = this.type.get(typeId) as { type: string; version: number } | undefined
    if (row === undefined) throw new EventDamaged(`events name the type ${typeId}, which is not stored. Restore the journal from a backup`)
    const type = { type: row.type, version: row.version }
    this.types.set(typeId, type)
    return type
  }
}
