/** Every stream of a journal's file, in pieces: whose it is, whether its name leads to it, and what is kept beside its events. */
import type { DatabaseSync } from "node:sqlite"
import { unseal } from "#adapters/sealing/sealing.ts"
import { bucketOf, type ScopeKey, scopeOf } from "#domain/scope.ts"
import type { Damages } from "./damages.ts"
import { hashBeforeFirst } from "./event-record.ts"
import { snapshotContext } from "./journal-writer.ts"
import type { KeyRing } from "./key-ring.ts"
import { nameNumber } from "./stream-names.ts"
import { messageOf } from "./write-failure.ts"

const rowsPerPiece = 2_000

interface StreamRow {
  readonly id: number
  readonly local: string
  readonly number: number
  readonly due_at: number | null
  readonly retired_revision: number | null
  readonly retired_hash: string | null
  readonly scope_id: number
  readonly scope: string | null
  readonly bucket: string | null
  /** Revision of its newest event. */
  readonly newest: number | null
  /** Streams that its name leads to by the index of names. */
  readonly named: number
}
const streamsAfter = `
SELECT s.id, s.local, s.number, s.due_at, s.retired_revision, s.retired_hash, s.scope_id, c.key AS scope, c.bucket,
  (SELECT max(revision) FROM appends WHERE stream_id = s.id) AS newest,
  (SELECT count(*) FROM stream_names n JOIN streams o ON o.id = n.stream_id AND o.local = s.local AND o.scope_id = s.scope_id
    WHERE n.number = s.number) AS named
FROM streams s LEFT JOIN scopes c ON c.id = s.scope_id WHERE s.id > ? ORDER BY s.id LIMIT ${rowsPerPiece}`

const damageOf = (row: StreamRow, indexedTo: number): string | undefined => {
  const { id, local, number, scope, bucket, due_at, retired_revision, retired_hash, newest, named } = row
  if (scope === null) return "its scope is not stored"
  if (nameNumber(hashBeforeFirst(`${bucket}/${scope}/${local}`)) !== number) return "its name is damaged"
  if (named > 1) return "its name leads to several streams"
  if (named === 0 && id <= indexedTo) return "its name does not lead to it"
  if (retired_revision === null) return newest === null ? "all its events are missing, and nobody retired it" : undefined
  if (newest !== null) return "it is retired, and has events"
  if (due_at !== null) return "it is retired, and has open work"
  return retired_revision >= 0 && /^[0-9a-f]{64}$/u.test(retired_hash ?? "")
    ? undefined
    : "what is kept of it after its retirement is damaged"
}

export interface CheckedStreams {
  readonly streams: number
  /** Scopes that have streams. */
  readonly scopes: ReadonlySet<number>
}

/** Yields after each piece how many streams were looked at. */
export function* checkStreams(db: DatabaseSync, indexedTo: number, damages: Damages): Generator<number, CheckedStreams> {
  const piece = db.prepare(streamsAfter)
  const scopes = new Set<number>()
  let streams = 0
  for (let after = 0; ; ) {
    const rows = damages.reading(
      "journal.db",
      `what follows the stream ${after}`,
      () => piece.all(after) as unknown as ReadonlyArray<StreamRow>
    )
    for (const row of rows ?? []) {
      const damage = damageOf(row, indexedTo)
      if (damage !== undefined) damages.add("journal.db", `the stream ${row.id} (${row.bucket}/${row.scope}/${row.local}): ${damage}`)
      // They are numbered without gaps, and never deleted.
      if (row.id !== after + 1) damages.add("journal.db", `the streams ${after + 1} to ${row.id - 1} are not stored`)
      scopes.add(row.scope_id)
      after = row.id
      streams++
    }
    if (rows === undefined || rows.length < rowsPerPiece) return { streams, scopes }
    yield streams
  }
}

interface NameRow {
  readonly number: number
  readonly stream_id: number
  readonly of_stream: number | null
}

/** Entries of the index of names that belong to no stream. */
export function* checkNames(db: DatabaseSync, damages: Damages): Generator<number, void> {
  const piece = db.prepare(
    `SELECT n.number, n.stream_id, s.number AS of_stream FROM stream_names n LEFT JOIN streams s ON s.id = n.stream_id
     WHERE (n.number, n.stream_id) > (?, ?) ORDER BY n.number, n.stream_id LIMIT ${rowsPerPiece}`
  )
  let after = { number: -1, stream_id: -1 }
  for (let seen = 0; ; ) {
    const { number, stream_id } = after
    const rows = damages.reading(
      "journal.db",
      "the index of names",
      () => piece.all(number, stream_id) as unknown as ReadonlyArray<NameRow>
    )
    for (const row of rows ?? [])
      if (row.number !== row.of_stream)
        damages.add("journal.db", `the index of names leads from ${row.number} to the stream ${row.stream_id}, which has another name`)
    if (rows === undefined || rows.length < rowsPerPiece) return
    after = rows.at(-1)!
    seen += rows.length
    yield seen
  }
}

interface ScopeRow {
  readonly id: number
  readonly space: string
  readonly key: string
  readonly bucket: string
}

/** Whether a stored scope is one that a release could have written. */
const isLegal = ({ space, key, bucket }: ScopeRow): boolean => {
  try {
    const scope = scopeOf(space, key)
    return scope.space === space && bucketOf(key as ScopeKey) === bucket
  } catch {
    return false
  }
}

export const checkScopes = (db: DatabaseSync, used: ReadonlySet<number>, newest: number, damages: Damages): void => {
  const scopes = damages.reading(
    "journal.db",
    "the scopes",
    () => db.prepare("SELECT id, space, key, bucket FROM scopes WHERE id <= ?").all(newest) as unknown as ReadonlyArray<ScopeRow>
  )
  // A space's own facts come before those of its tenants.
  const spaces = new Set(scopes?.map(({ space, key }) => (space === key ? key : "")))
  const knowsSpaces = spaces.size > 1
  for (const scope of scopes ?? []) {
    const { id, space, key } = scope
    if (!isLegal(scope)) damages.add("journal.db", `the scope ${id} (${key} of ${space}) is damaged`)
    else if (!used.has(id)) damages.add("journal.db", `the scope ${id} (${key} of ${space}) has no streams`)
    else if (knowsSpaces && space !== "platform" && !spaces.has(space))
      damages.add("journal.db", `the scope ${id} (${key}) belongs to the space ${space}, of which nothing is stored`)
  }
}

interface SnapshotRow {
  readonly stream_id: number
  readonly version: number
  readonly revision: number
  readonly key_version: number
  readonly sealed: Uint8Array
  readonly local: string | null
  readonly scope: string | null
  readonly bucket: string | null
  readonly newest: number | null
}

/** Snapshots only save work; a damaged one is left out when a stream is loaded. `keys`: undefined without the master key. */
export function* checkSnapshots(db: DatabaseSync, keys: KeyRing | undefined, damages: Damages): Generator<number, number> {
  const piece = db.prepare(
    `SELECT p.*, s.local, c.key AS scope, c.bucket, (SELECT max(revision) FROM appends WHERE stream_id = p.stream_id) AS newest
     FROM snapshots p LEFT JOIN streams s ON s.id = p.stream_id LEFT JOIN scopes c ON c.id = s.scope_id
     WHERE p.stream_id > ? ORDER BY p.stream_id LIMIT ${rowsPerPiece}`
  )
  let seen = 0
  for (let after = 0; ; ) {
    let rows = 0
    const whole = damages.reading("journal.db", `what follows the snapshot of the stream ${after}`, () => {
      for (const found of piece.iterate(after)) {
        const row = found as unknown as SnapshotRow
        const damage = snapshotDamage(row, keys)
        if (damage !== undefined) damages.add("journal.db", `the snapshot of the stream ${row.stream_id}: ${damage}`)
        after = row.stream_id
        rows++
      }
      return true
    })
    seen += rows
    if (whole === undefined || rows < rowsPerPiece) return seen
    yield seen
  }
}

const snapshotDamage = (row: SnapshotRow, keys: KeyRing | undefined): string | undefined => {
  const { local, scope, bucket, newest, revision, version, key_version, sealed } = row
  if (scope === null || local === null) return "there is no such stream"
  if (newest === null || revision > newest) return "it is ahead of its stream"
  if (keys === undefined) return undefined
  try {
    const key = keys.toOpen(scope, "log", key_version)
    const context = snapshotContext(`${bucket}/${scope}/${local}`, version, revision, key_version)
    return key === undefined || unseal(key.key, context, sealed) === null ? "it cannot be opened" : undefined
  } catch (cause) {
    return messageOf(cause)
  }
}
