/** A stopped embedded installation, read whole and in the log's order by whoever carries it elsewhere; and the mark that it was carried. */
import { DatabaseSync, type StatementSync } from "node:sqlite"
import { contentsContext } from "#adapters/sealing/append-contents.ts"
import type { KeyPurpose, ScopeKey } from "#adapters/sealing/scope-keys.ts"
import { unseal } from "#adapters/sealing/sealing.ts"
import type { OpenedSecret } from "#adapters/sealing/secrets.ts"
import type { WrappedKey } from "#adapters/sealing/wrapped-keys.ts"
import type { EventId } from "#domain/ids.ts"
import type { Origin } from "#domain/recorded.ts"
import type { Scope, StreamName } from "#domain/scope.ts"
import type { NewContent, NewEvent } from "#services/ports/journal.ts"
import type { WorkItem } from "#services/ports/open-work.ts"
import { linesPerEvent, recordText, rowChecksum } from "./event-record.ts"
import { EventDamaged } from "./event-rows.ts"
import { deleteMeta, openJournal, writeMeta } from "./journal-schema.ts"
import { type MoveMark, moveMarkName, readMoveMark } from "./move-mark.ts"
import { scopeOfRow } from "./stored-event.ts"
import { VaultStore } from "./vault-store.ts"

export interface SourceOptions {
  readonly journalFile: string
  readonly vaultFile: string
  readonly masterKey: Uint8Array
  readonly masterKeyId: string
  /** The newest version of each event type that this release can read. */
  readonly eventTypes: Readonly<Record<string, number>>
}

export interface SourceCounts {
  readonly events: number
  readonly appends: number
  readonly streams: number
  readonly retired: number
  readonly openWork: number
  readonly appendsWithContents: number
  readonly keys: number
  readonly secrets: number
}

/** What is left of a retired stream. */
export interface RetiredStream {
  readonly id: number
  readonly scope: Scope
  readonly stream: StreamName
  readonly revision: number
  readonly hash: string
}

/** An append as it was stored, its contents still sealed. */
export interface StoredAppend {
  /** Of its last event. */
  readonly position: number
  readonly scope: Scope
  readonly stream: StreamName
  /** Of its last event. */
  readonly revision: number
  readonly at: number
  readonly origin: Origin
  /** The stream's hash after it. */
  readonly hash: string
  readonly events: readonly [NewEvent, ...ReadonlyArray<NewEvent>]
  /** Slots, lengths and keyed hash of the contents; null: none. */
  readonly contents: string | null
  /** What is hashed of it. */
  readonly record: string
  /** Whether the stream ends with it. */
  readonly isLast: boolean
  /** The stream's open work, where the stream ends with it and has some. */
  readonly workDue: number | null
  readonly keyVersion: number | null
  readonly sealed: Uint8Array | null
}

/** Contents of an append, and the key that they were sealed with. */
export interface OpenedContents {
  readonly key: ScopeKey
  readonly contents: ReadonlyArray<NewContent>
}

export interface StoredSecret {
  readonly scope: string
  readonly owner: string
  readonly field: string
  readonly version: number
  readonly keyVersion: number | null
  readonly salt: Uint8Array | null
  readonly sealed: Uint8Array | null
}

type AppendRow = readonly [
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
  keyVersion: number | null,
  sealed: Uint8Array | null,
  local: string,
  dueAt: number | null,
  space: string,
  scope: string,
  bucket: string
]

const appendsAfter = `
SELECT a.position, a.stream_id, a.revision, a.count, a.at, a.checksum, a.hash, a.contents, a.origin, a.events, a.key_version, a.sealed,
  s.local, s.due_at, c.space, c.key, c.bucket
FROM appends a LEFT JOIN streams s ON s.id = a.stream_id LEFT JOIN scopes c ON c.id = s.scope_id
WHERE a.position > ? ORDER BY a.position`

const cacheKilobytes = 16_384

/** Opened by the holder of the data folder's lock alone. Throws `StartRefused` on what no start would take. */
export class MoveSource {
  readonly journalId: string
  private readonly db: DatabaseSync
  private readonly vault: VaultStore
  private readonly vaultRows: DatabaseSync
  private findKey: StatementSync | undefined
  private findSecret: StatementSync | undefined

  constructor({ journalFile, vaultFile, masterKey, masterKeyId, eventTypes }: SourceOptions) {
    const { db, journalId } = openJournal(journalFile, cacheKilobytes, eventTypes)
    this.db = db
    this.journalId = journalId
    this.vault = new VaultStore(vaultFile, journalId, masterKey, masterKeyId)
    this.vaultRows = new DatabaseSync(vaultFile, { readOnly: true })
  }

  get mark(): MoveMark | null {
    return readMoveMark(this.db)
  }

  /** Durable when it returns. Null: the folder may be started again. */
  setMark(mark: MoveMark | null): void {
    if (mark === null) deleteMeta(this.db, moveMarkName)
    else writeMeta(this.db, moveMarkName, JSON.stringify(mark))
  }

  /** How many events lie at or before a position. */
  eventsUpTo(position: number): number {
    const found = this.db.prepare("SELECT coalesce(sum(count), 0) AS events FROM appends WHERE position <= ?").get(position)
    return found!["events"] as number
  }

  counts(): SourceCounts {
    const log = this.db
      .prepare("SELECT coalesce(sum(count), 0) AS events, count(*) AS appends, count(contents) AS appendsWithContents FROM appends")
      .get() as Pick<SourceCounts, "events" | "appends" | "appendsWithContents">
    const streams = this.db
      .prepare("SELECT count(*) AS streams, count(retired_revision) AS retired, count(due_at) AS openWork FROM streams")
      .get() as Pick<SourceCounts, "streams" | "retired" | "openWork">
    const vault = this.vaultRows
      .prepare("SELECT (SELECT count(*) FROM wrapped_keys) AS keys, (SELECT count(*) FROM secrets) AS secrets")
      .get() as Pick<SourceCounts, "keys" | "secrets">
    return { ...log, ...streams, ...vault }
  }

  /** `<type>@<version>` of everything that the log ever held. */
  eventTypes(): ReadonlyArray<string> {
    const rows = this.db.prepare("SELECT type, version FROM event_types ORDER BY type, version").all()
    return rows.map(({ type, version }) => `${type}@${version}`)
  }

  /** In the order of their numbers. */
  *retired(afterId: number): Iterable<RetiredStream> {
    const rows = this.db
      .prepare(
        `SELECT s.id, s.local, s.retired_revision, s.retired_hash, c.space, c.key, c.bucket FROM streams s JOIN scopes c ON c.id = s.scope_id
         WHERE s.retired_revision IS NOT NULL AND s.id > ? ORDER BY s.id`
      )
      .iterate(afterId) as Iterable<Record<string, unknown>>
    for (const { id, local, retired_revision, retired_hash, space, key, bucket } of rows)
      yield {
        id: id as number,
        scope: scopeOfRow(space as string, key as string),
        stream: `${bucket}/${key}/${local}` as StreamName,
        revision: retired_revision as number,
        hash: retired_hash as string
      }
  }

  /** In the order of the log; throws `EventDamaged` on bytes that are not those that were written. */
  *appends(afterPosition: number): Iterable<StoredAppend> {
    const statement = this.db.prepare(appendsAfter)
    statement.setReturnArrays(true)
    const newest = this.db.prepare("SELECT max(revision) AS revision FROM appends WHERE stream_id = ?")
    for (const row of statement.iterate(afterPosition) as unknown as Iterable<AppendRow>) {
      const isLast = (newest.get(row[1]) as { revision: number }).revision === row[2]
      yield appendOf(row, isLast)
    }
  }

  *openWork(): Iterable<WorkItem> {
    const rows = this.db
      .prepare(
        "SELECT s.local, s.due_at, c.space, c.key, c.bucket FROM streams s JOIN scopes c ON c.id = s.scope_id WHERE s.due_at IS NOT NULL"
      )
      .iterate() as Iterable<Record<string, unknown>>
    for (const { local, due_at, space, key, bucket } of rows)
      yield {
        scope: scopeOfRow(space as string, key as string),
        stream: `${bucket}/${key}/${local}` as StreamName,
        dueAt: due_at as number
      }
  }

  /** The number of a stream; undefined: there is none of this name. Looks through all of them. */
  streamId(scope: string, local: string): number | undefined {
    const found = this.db
      .prepare("SELECT s.id FROM streams s JOIN scopes c ON c.id = s.scope_id WHERE s.local = ? AND c.key = ?")
      .get(local, scope) as { id: number } | undefined
    return found?.id
  }

  /** Where the append that ends at a revision of a stream lies; undefined: there is no such append. */
  positionOf(streamId: number, revision: number): number | undefined {
    const found = this.db.prepare("SELECT position FROM appends WHERE stream_id = ? AND revision = ?").get(streamId, revision)
    return found?.["position"] as number | undefined
  }

  /** Null: its key was destroyed, and the contents with it. Throws `EventDamaged`. */
  open({ contents, keyVersion, sealed, scope, stream, revision }: StoredAppend): OpenedContents | null {
    if (contents === null) throw new Error(`The append to ${stream} at revision ${revision} has no contents.`)
    const key = keyVersion === null ? undefined : this.vault.keys.toOpen(scope.key, "log", keyVersion)
    if (key === undefined) return null
    const slots = contents.slice(0, contents.lastIndexOf(";"))
    const plain = sealed === null ? null : unseal(key.key, contentsContext(stream, revision, slots, key.version), sealed)
    if (plain === null) throw new EventDamaged(`The contents of ${stream} at revision ${revision} are damaged. ${restore}`)
    return { key, contents: partsOf(plain, slots) }
  }

  *keys(): Iterable<WrappedKey> {
    const rows = this.vaultRows
      .prepare("SELECT scope, purpose, version, kek_id, wrapped, made_at FROM wrapped_keys ORDER BY scope, purpose, version")
      .iterate() as Iterable<Record<string, unknown>>
    for (const { scope, purpose, version, kek_id, wrapped, made_at } of rows)
      yield {
        scope: scope as string,
        purpose: purpose as KeyPurpose,
        version: version as number,
        masterKeyId: kek_id as string,
        wrapped: wrapped as Uint8Array,
        madeAt: made_at as number
      }
  }

  *secrets(): Iterable<StoredSecret> {
    const rows = this.vaultRows
      .prepare("SELECT scope, owner, field, version, key_version AS keyVersion, salt, sealed FROM secrets ORDER BY scope, owner, field")
      .iterate() as unknown as Iterable<StoredSecret>
    for (const row of rows) yield { ...row }
  }

  /** The master key's wrapping of it; undefined: there is no such key. */
  wrappedKey({ scope, purpose, version }: Pick<WrappedKey, "scope" | "purpose" | "version">): Uint8Array | undefined {
    this.findKey ??= this.vaultRows.prepare("SELECT wrapped FROM wrapped_keys WHERE scope = ? AND purpose = ? AND version = ?")
    return this.findKey.get(scope, purpose, version)?.["wrapped"] as Uint8Array | undefined
  }

  secret({ scope, owner, field }: Pick<StoredSecret, "scope" | "owner" | "field">): StoredSecret | undefined {
    this.findSecret ??= this.vaultRows.prepare(
      "SELECT scope, owner, field, version, key_version AS keyVersion, salt, sealed FROM secrets WHERE scope = ? AND owner = ? AND field = ?"
    )
    return this.findSecret.get(scope, owner, field) as StoredSecret | undefined
  }

  openSecret({ scope, owner, field }: StoredSecret): OpenedSecret {
    return this.vault.get(scope, owner, field, 0)
  }

  close(): void {
    this.vaultRows.close()
    this.vault.close()
    this.db.close()
  }
}

const restore = "Restore the data folder from a backup"

const appendOf = (row: AppendRow, isLast: boolean): StoredAppend => {
  const [position, streamId, revision, count, at, checksum, hash, contents, originText, lines, keyVersion, sealed] = row
  const [, , , , , , , , , , , , local, dueAt, space, scope, bucket] = row
  const record = recordText(at, originText, contents, lines)
  if (local === null || bucket === null)
    throw new EventDamaged(`Event ${position} names the stream ${streamId}, which is not stored. ${restore}`)
  const stream = `${bucket}/${scope}/${local}` as StreamName
  if (rowChecksum(position, streamId, revision, count, hash, record) !== checksum)
    throw new EventDamaged(`Event ${position} (${stream}, revision ${revision}) is damaged: its checksum does not match. ${restore}`)
  return {
    position,
    scope: scopeOfRow(space, scope),
    stream,
    revision,
    at,
    origin: JSON.parse(originText) as Origin,
    hash,
    events: eventsOf(lines) as unknown as StoredAppend["events"],
    contents,
    record,
    isLast,
    workDue: isLast ? dueAt : null,
    keyVersion,
    sealed
  }
}

const eventsOf = (text: string): ReadonlyArray<NewEvent> => {
  const lines = text.split("\n")
  const events: Array<NewEvent> = []
  for (let line = 0; line < lines.length; line += linesPerEvent) {
    const typed = lines[line + 1]!
    const border = typed.lastIndexOf("@")
    events.push({
      id: lines[line] as EventId,
      type: typed.slice(0, border),
      version: Number(typed.slice(border + 1)),
      data: lines[line + 2]!
    })
  }
  return events
}

const partsOf = (pack: Uint8Array, slots: string): ReadonlyArray<NewContent> => {
  let start = 0
  return slots.split(",").map((entry) => {
    const border = entry.lastIndexOf("=")
    const end = start + Number(entry.slice(border + 1))
    const bytes = pack.subarray(start, end)
    start = end
    return { slot: entry.slice(0, border), bytes }
  })
}
