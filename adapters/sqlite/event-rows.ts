/** Reads events from the rows of their appends and verifies the checksums, for the journal thread and for readers of their own. */
import type { DatabaseSync, StatementSync } from "node:sqlite"
import { RecentMap } from "#adapters/memory/recent-map.ts"
import { hashBeforeFirst, linesPerEvent, nextHash, recordText, rowChecksum } from "./event-record.ts"
import { nameNumber } from "./stream-names.ts"

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
  local: string,
  number: number
]
const columns =
  "a.position, a.stream_id, a.revision, a.count, a.at, a.checksum, a.hash, a.contents, a.origin, a.events, s.scope_id, s.local, s.number"
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
  private readonly retirement: StatementSync
  private readonly newest: StatementSync

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
    this.retirement = db.prepare("SELECT retired_revision FROM streams WHERE id = ?")
    this.newest = db.prepare("SELECT revision FROM appends WHERE stream_id = ? ORDER BY revision DESC LIMIT 1")
    for (const statement of [this.page, this.scan, this.one, this.ofStream, this.stream, this.retirement, this.newest])
      statement.setReturnArrays(true)
  }

  /** A limit of -1: all. The rows must follow from each other by revisions and hashes: the index may be damaged, where no checksum is. */
  readStream(streamId: number, from: number, limit: number, take: TakeEvent): void {
    const wanted: Wanted = { after: -1, from, left: limit < 0 ? Number.POSITIVE_INFINITY : limit }
    let before: Row | undefined
    for (const next of this.ofStream.iterate(streamId, from)) {
      if (wanted.left === 0) return
      const row = next as unknown as Row
      this.give(row, wanted, take)
      if (!this.follows(row, before, from)) throw chainBroken(row)
      before = row
    }
    if (limit >= 0) return
    // Looked for from the other side: a damaged index can end a stream early from one side alone.
    const newest = this.newest.get(streamId) as unknown as readonly [revision: number] | undefined
    if (newest !== undefined && newest[0] >= from && newest[0] !== before?.[2])
      throw new EventDamaged(`the stream ${streamId} ends at revision ${before?.[2] ?? "none"} and at ${newest[0]}. ${restore}`)
    if (before === undefined && from === 0 && !this.isRetired(streamId))
      throw new EventDamaged(`the stream ${streamId} has no events, but it was not retired. ${restore}`)
  }

  private follows(row: Row, before: Row | undefined, from: number): boolean {
    const [, , revision, count, at, , hash, contents, origin, events, scopeId, local] = row
    const previous = revision - count
    if (before === undefined && previous !== -1) return previous < from
    if (before !== undefined && previous !== before[2]) return false
    const hashBefore = before === undefined ? hashBeforeFirst(this.scoped(scopeId, row[1]).prefix + local) : before[6]
    return nextHash(hashBefore, recordText(at, origin, contents, events)) === hash
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
    const [position, streamId, revision, count, at, checksum, hash, contents, origin, events, scopeId, local, number] = row
    const { space, scope, prefix } = this.scoped(scopeId, streamId)
    const stream = prefix + local
    const isText = typeof hash === "string" && typeof origin === "string" && typeof events === "string"
    if (!isText || rowChecksum(position, streamId, revision, count, hash, recordText(at, origin, contents, events)) !== checksum)
      throw new EventDamaged(
        `event ${position} (${stream}, revision ${revision}) is damaged: its checksum does not match what is stored. ${restore}`
      )
    // Names are checked once for each stream, where it begins.
    if (revision === count - 1 && nameNumber(hashBeforeFirst(stream)) !== number)
      throw new EventDamaged(`the name of the stream ${streamId} (${stream}) is damaged. ${restore}`)
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

  private isRetired(streamId: number): boolean {
    const row = this.retirement.get(streamId) as unknown as readonly [number | null] | undefined
    return row !== undefined && row[0] !== null
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

const restore = "Restore the journal from a backup"
const notStored = (what: string, id: number): EventDamaged =>
  new EventDamaged(`events name the ${what} ${id}, which is not stored. ${restore}`)
const chainBroken = ([position, streamId, revision]: Row): EventDamaged =>
  new EventDamaged(`event ${position} (stream ${streamId}, revision ${revision}) does not follow from the one before it. ${restore}`)
