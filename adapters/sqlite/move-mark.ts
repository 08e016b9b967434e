/** The mark of a journal that is being carried, or was carried, to other stores: nobody starts on it any more. */
import type { DatabaseSync } from "node:sqlite"
import { readMeta, StartRefused } from "./journal-schema.ts"

export interface MoveMark {
  /** Identity of the log that takes over. */
  readonly journalId: string
  /** Hosts and databases, without credentials. */
  readonly where: string
  /** Whether everything was carried and compared: from then on the other side is the installation. */
  readonly finished: boolean
}

/** Name of the mark in the journal's `meta`. */
export const moveMarkName = "move"

export const readMoveMark = (db: DatabaseSync): MoveMark | null => {
  const text = readMeta(db, moveMarkName)
  return text === undefined ? null : (JSON.parse(text) as MoveMark)
}

export const refuseMoved = (db: DatabaseSync): void => {
  const mark = readMoveMark(db)
  if (mark === null) return
  throw new StartRefused(
    mark.finished ? "Moved" : "MoveUnfinished",
    mark.finished
      ? `This installation was moved to ${mark.where}. Nothing was changed. Start it there, with the TRIBUTARY_JOURNAL, _BUS, _READ_MODELS and _VAULT of the move; ` +
          "or take this folder back with: tributary move --back (what happened there since is not in it)."
      : `This installation is on its way to ${mark.where}. Nothing was changed. Finish it with: tributary move; or stay here with: tributary move --back`
  )
}
