/** Every append of a journal's file, in pieces: its checksum, its place in its stream's chain of hashes, its contents' seal. */
import type { DatabaseSync } from "node:sqlite"
import { contentsContext } from "#adapters/sealing/append-contents.ts"
import { keyedHash, unseal } from "#adapters/sealing/sealing.ts"
import type { Damages } from "./damages.ts"
import { hashBeforeFirst, linesPerEvent, nextHash, recordText, rowChecksum } from "./event-record.ts"
import type { KeyRing } from "./key-ring.ts"
import { messageOf } from "./write-failure.ts"

/** Rows of one read, so that a running server's log of changes can begin anew between two. */
const appendsPerPiece = 500

interface AppendRow {
  /** Position and revision of its last event. */
  readonly position: number
  readonly stream_id: number
  readonly revision: number
  readonly count: number
  readonly at: number
  readonly checksum: number
  readonly key_version: number | null
  readonly hash: string
  readonly contents: string | null
  readonly origin: string
  readonly events: string
  readonly sealed: Uint8Array | null
  readonly local: string | null
  readonly scope: string | null
  readonly bucket: string | null
  /** Of the append before it in its stream. */
  readonly before_position: number | null
  readonly before: string | null
}

const appendsAfter = `
SELECT a.position, a.stream_id, a.revision, a.count, a.at, a.checksum, a.key_version, a.hash, a.contents, a.origin, a.events, a.sealed,
  s.local, c.key AS scope, c.bucket, p.position AS before_position, p.hash AS before
FROM appends a LEFT JOIN streams s ON s.id = a.stream_id LEFT JOIN scopes c ON c.id = s.scope_id
LEFT JOIN appends p ON p.stream_id = a.stream_id AND p.revision = a.revision - a.count
WHERE a.position > ? AND a.position <= ? ORDER BY a.position LIMIT ${appendsPerPiece}`

export interface CheckedAppends {
  readonly events: number
  /** Contents that were opened; 0 without the master key. */
  readonly contents: number
  /** Lines `type@version` that events have. */
  readonly types: ReadonlySet<string>
  /** False: SQLite could not read on. */
  readonly whole: boolean
}

/** Looks at each up to `head`; yields after each piece how many positions lie behind it. `keys`: undefined without the master key. */
export function* checkAppends(
  db: DatabaseSync,
  keys: KeyRing | undefined,
  head: number,
  damages: Damages
): Generator<number, CheckedAppends> {
  const piece = db.prepare(appendsAfter)
  const types = new Set<string>()
  let events = 0
  let contents = 0
  for (let after = 0; ; ) {
    let rows = 0
    const whole = damages.reading("journal.db", `what follows the event at position ${after}`, () => {
      for (const found of piece.iterate(after, head)) {
        const row = found as unknown as AppendRow
        const damage = damageOf(row, after) ?? contentsDamage(row, keys)
        if (damage !== undefined) damages.add("journal.db", `the event at position ${row.position}${streamOf(row)}: ${damage}`)
        if (isText(row)) addTypes(row.events, types)
        if (row.sealed !== null && keys !== undefined) contents++
        events += row.count
        after = row.position
        rows++
      }
      return true
    })
    if (whole === undefined || rows < appendsPerPiece) return { events, contents, types, whole: whole === true }
    yield after
  }
}

const nameOf = ({ bucket, scope, local }: AppendRow): string => `${bucket}/${scope}/${local}`
const streamOf = (row: AppendRow): string => (row.scope === null || row.local === null ? "" : ` (${nameOf(row)}, revision ${row.revision})`)

const addTypes = (events: string, types: Set<string>): void => {
  const lines = events.split("\n")
  for (let line = 1; line < lines.length; line += linesPerEvent) types.add(lines[line]!)
}

/** A damaged row may hold what its columns forbid. */
const isText = ({ hash, origin, events }: AppendRow): boolean => [hash, origin, events].every((text) => typeof text === "string")

/** Undefined when the row is as it was written, and follows from the one before it. */
const damageOf = (row: AppendRow, after: number): string | undefined => {
  const { position, stream_id, revision, count, at, checksum, hash, contents, origin, events } = row
  const record = recordText(at, origin, contents, events)
  if (!isText(row)) return "a part of it is missing"
  if (rowChecksum(position, stream_id, revision, count, hash, record) !== checksum) return "its checksum does not fit"
  if (row.local === null) return `its stream ${stream_id} is not stored`
  if (row.scope === null) return `the scope of its stream ${stream_id} is not stored`
  if (position - count < after) return "it has a position that another event has"
  const isFirst = revision === count - 1
  if (!isFirst && row.before === null) return "what was before it in its stream is missing"
  if (!isFirst && row.before_position! > position - count) return "it lies before what it follows"
  return nextHash(isFirst ? hashBeforeFirst(nameOf(row)) : row.before!, record) === hash
    ? undefined
    : "its stream's chain of hashes is broken"
}

const contentsDamage = (row: AppendRow, keys: KeyRing | undefined): string | undefined => {
  const { key_version, contents, sealed, revision, scope } = row
  if (key_version === null && contents === null && sealed === null) return undefined
  if (key_version === null || contents === null || sealed === null) return "a part of its contents is missing"
  if (keys === undefined) return undefined
  try {
    const key = keys.toOpen(scope!, "log", key_version)
    if (key === undefined) return `the key ${key_version} that its contents are sealed with is not in the vault`
    const border = contents.lastIndexOf(";")
    const plain = unseal(key.key, contentsContext(nameOf(row), revision, contents.slice(0, border), key_version), sealed)
    return plain !== null && keyedHash(key.hashKey, plain) === contents.slice(border + 1) ? undefined : "its contents cannot be opened"
  } catch (cause) {
    return messageOf(cause)
  }
}
