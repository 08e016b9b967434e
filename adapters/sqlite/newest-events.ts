/** The newest events of a journal's file, as they lie there: do they fit their checksums and their streams' chains of hashes (R33)? */
import type { DatabaseSync } from "node:sqlite"
import { hashBeforeFirst, nextHash, recordText, rowChecksum } from "./event-record.ts"

interface AppendRow {
  /** Position and revision of its last event. */
  readonly position: number
  readonly stream_id: number
  readonly revision: number
  readonly count: number
  readonly at: number
  readonly hash: string
  readonly checksum: number
  readonly contents: string | null
  readonly origin: string
  readonly events: string
  readonly bucket: string
  readonly scope: string
  readonly local: string
  /** Hash of the append before it in its stream; null for the first. */
  readonly before: string | null
}

const newestAppends = `
SELECT a.position, a.stream_id, a.revision, a.count, a.at, a.hash, a.checksum, a.contents, a.origin, a.events,
  c.bucket, c.key AS scope, s.local,
  (SELECT hash FROM appends p WHERE p.stream_id = a.stream_id AND p.revision = a.revision - a.count) AS before
FROM appends a JOIN streams s ON s.id = a.stream_id JOIN scopes c ON c.id = s.scope_id
ORDER BY a.position DESC LIMIT ?`

/** Undefined when the row is as it was written, and follows from the one before it. */
const damageOf = (row: AppendRow): string | undefined => {
  const record = recordText(row.at, row.origin, row.contents, row.events)
  const stream = `${row.bucket}/${row.scope}/${row.local}`
  if (rowChecksum(row.position, row.stream_id, row.revision, row.count, row.hash, record) !== row.checksum)
    return "its checksum does not fit"
  const before = row.revision === row.count - 1 ? hashBeforeFirst(stream) : row.before
  if (before === null) return "what was before it in its stream is missing"
  return nextHash(before, record) === row.hash ? undefined : "its stream's chain of hashes is broken"
}

export interface NewestEvents {
  readonly seen: number
  /** The first damaged one, and what is wrong with it. */
  readonly damaged: { readonly position: number; readonly damage: string } | null
}

/** Looks at `count` of them at least, as far as there are so many, or at all down to the first damaged one. */
export const checkNewestEvents = (journal: DatabaseSync, count: number): NewestEvents => {
  let seen = 0
  for (const row of journal.prepare(newestAppends).iterate(count)) {
    const append = row as unknown as AppendRow
    const damage = damageOf(append)
    if (damage !== undefined) return { seen, damaged: { position: append.position, damage } }
    seen += append.count
    if (seen >= count) break
  }
  return { seen, damaged: null }
}
