/** What a failed statement means for those who wait for it. */
import { KeyDamaged } from "#adapters/sealing/wrapped-keys.ts"
import type { Failure } from "./journal-protocol.ts"

export const messageOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause))

const sqliteConstraint = 19
const sqliteMismatch = 20
const sqliteFull = 13
const sqliteBusy = 5

/** Only a failure while committing leaves the outcome open, and not even then when there was no room or no lock. */
export const failureOf = (cause: unknown, committing: boolean): Failure => {
  const code = ((cause as { errcode?: number }).errcode ?? -1) & 0xff
  if (code === sqliteFull) return { written: "no", reason: "the disk is full", defect: false }
  if (cause instanceof KeyDamaged) return { written: "no", reason: cause.message, defect: false }
  const sqlite = (cause as { code?: string }).code === "ERR_SQLITE_ERROR"
  const defect = !sqlite || code === sqliteConstraint || code === sqliteMismatch
  return { written: committing && code !== sqliteBusy ? "unknown" : "no", reason: messageOf(cause), defect }
}
