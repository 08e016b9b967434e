/** Answers questions of the embedded journal: streams, pages of the feed, content and open work. */
import type { DatabaseSync, StatementSync } from "node:sqlite"
import { contentsContext, placeOf } from "#adapters/sealing/append-contents.ts"
import { keyedHash, unseal } from "#adapters/sealing/sealing.ts"
import { EventRows, type TakeEvent } from "./event-rows.ts"
import type { Cell, ContentReply, FeedReply, LoadReply, WorkReply } from "./journal-protocol.ts"
import { snapshotContext } from "./journal-writer.ts"
import type { KeyRing } from "./key-ring.ts"
import type { OpenWorkIndex } from "./open-work-index.ts"
import type { StreamNames } from "./stream-names.ts"

interface StreamRow {
  readonly id: number
  readonly retired_revision: number | null
}
interface SnapshotRow {
  readonly revision: number
  readonly key_version: number
  readonly sealed: Uint8Array
}
interface ContentsRow {
  readonly position: number
  readonly revision: number
  readonly contents: string
}
interface SealedRow {
  readonly key_version: number
  readonly sealed: Uint8Array | null
}

export class JournalQueries {
  private readonly keys: KeyRing
  private readonly names: StreamNames
  private readonly rows: EventRows
  private readonly stream: StatementSync
  private readonly snapshot: StatementSync
  private readonly contents: StatementSync
  private readonly sealed: StatementSync
  private readonly due: StatementSync
  private readonly scope: StatementSync
  private readonly openWork: OpenWorkIndex
  private readonly summary: StatementSync

  constructor(db: DatabaseSync, keys: KeyRing, names: StreamNames, openWork: OpenWorkIndex) {
    this.names = names
    this.keys = keys
    this.openWork = openWork
    this.rows = new EventRows(db)
    this.stream = db.prepare("SELECT id, retired_revision FROM streams WHERE id = ?")
    this.snapshot = db.prepare("SELECT revision, key_version, sealed FROM snapshots WHERE stream_id = ? AND version = ?")
    this.contents = db.prepare(
      "SELECT position, revision, contents FROM appends WHERE stream_id = ? AND contents IS NOT NULL ORDER BY revision DESC"
    )
    this.sealed = db.prepare("SELECT key_version, sealed FROM appends WHERE position = ?")
    this.due = db.prepare(
      "SELECT id, due_at FROM streams WHERE due_at IS NOT NULL AND due_at <= ? AND (due_at, id) > (?, ?) ORDER BY due_at, id LIMIT ?"
    )
    this.scope = db.prepare("SELECT id FROM scopes WHERE key = ?")
    this.summary = db.prepare("SELECT count(*) AS open, min(due_at) AS earliest FROM streams WHERE due_at IS NOT NULL")
  }

  load(scope: string, stream: string, snapshotVersion: number): LoadReply {
    const row = this.find(scope, stream)
    if (row === undefined) return { snapshot: null, events: [], retired: false }
    if (row.retired_revision !== null) return { snapshot: null, events: [], retired: true }
    const snapshot = this.openSnapshot(row.id, scope, stream, snapshotVersion)
    const events: Array<Cell> = []
    this.rows.readStream(row.id, snapshot === null ? 0 : snapshot.revision + 1, -1, intoCells(events))
    return { snapshot, events, retired: false }
  }

  readStream(scope: string, stream: string, from: number, limit: number): ReadonlyArray<Cell> {
    const row = this.find(scope, stream)
    const events: Array<Cell> = []
    if (row !== undefined) this.rows.readStream(row.id, from, limit, intoCells(events))
    return events
  }

  readFeed(after: number, limit: number, prefixes: ReadonlyArray<string> | null): FeedReply {
    const events: Array<Cell> = []
    const page = this.rows.readFeed(after, limit, prefixes, intoCells(events))
    return { events, position: page.position, atHead: page.atHead }
  }

  openContents(scope: string, owners: ReadonlyArray<string>, slots: ReadonlyArray<string>): ContentReply {
    const contents: Array<Uint8Array> = []
    for (let index = 0; index < slots.length; index++) {
      const opened = this.openContent(scope, owners[index]!, slots[index]!)
      if (typeof opened === "string") return { gone: index, why: opened }
      contents.push(opened)
    }
    return { contents }
  }

  workDue(
    before: number,
    limit: number,
    scope: string | null,
    after: { readonly dueAt: number; readonly scope: string; readonly stream: string } | null
  ): WorkReply {
    const afterDue = after === null ? -1 : after.dueAt
    const afterId = after === null ? -1 : (this.find(after.scope, after.stream)?.id ?? -1)
    const items: Array<Cell> = []
    const give = (streamId: number, dueAt: number) => {
      const { space, scope, stream } = this.rows.named(streamId)
      items.push(space, scope, stream, dueAt)
    }
    if (scope === null) {
      const rows = this.due.all(before, afterDue, afterId, limit) as unknown as ReadonlyArray<{ id: number; due_at: number }>
      for (const { id, due_at } of rows) give(id, due_at)
    } else {
      const row = this.scope.get(scope) as { id: number } | undefined
      if (row !== undefined) this.openWork.due(row.id, before, afterDue, afterId, limit, give)
    }
    return { items }
  }

  workSummary(): { readonly open: number; readonly earliest: number | null } {
    return this.summary.get() as { open: number; earliest: number | null }
  }

  /** The content that the stream's newest append with this slot has; the keyed hash must be the one in the append's row. */
  private openContent(scope: string, owner: string, slot: string): Uint8Array | "retired" | "absent" | "damaged" {
    const stream = this.find(scope, owner)
    if (stream === undefined) return "absent"
    if (stream.retired_revision !== null) return "retired"
    for (const { position, revision, contents } of this.contents.iterate(stream.id) as unknown as Iterable<ContentsRow>) {
      const place = placeOf(contents, slot)
      if (place === null) continue
      const { key_version, sealed } = this.sealed.get(position) as unknown as SealedRow
      if (sealed === null) return "damaged"
      const key = this.keys.toOpen(scope, "log", key_version)
      if (key === undefined) return "absent"
      const plain = unseal(key.key, contentsContext(owner, revision, place.slots, key_version), sealed)
      if (plain === null || keyedHash(key.hashKey, plain) !== place.hash) return "damaged"
      return Uint8Array.prototype.slice.call(plain, place.start, place.end) // A view would be cloned with all that is behind it.
    }
    return "absent"
  }

  /** Null when there is none of this version, or its key is gone: it is only a cache. */
  private openSnapshot(streamId: number, scope: string, stream: string, version: number): LoadReply["snapshot"] {
    const row = this.snapshot.get(streamId, version) as SnapshotRow | undefined
    const key = row && this.keys.toOpen(scope, "log", row.key_version)
    if (row === undefined || key === undefined) return null
    const plain = unseal(key.key, snapshotContext(stream, version, row.revision, row.key_version), row.sealed)
    return plain === null ? null : { revision: row.revision, state: plain.toString("utf8") }
  }

  private find(scope: string, stream: string): StreamRow | undefined {
    const id = this.names.find(scope, stream)
    return id === undefined ? undefined : (this.stream.get(id) as unknown as StreamRow)
  }
}

const intoCells =
  (cells: Array<Cell>): TakeEvent =>
  (position, space, scope, stream, revision, id, type, version, at, origin, data, hash) => {
    cells.push(position, space, scope, stream, revision, id, type, version, at, origin, data, hash)
  }
