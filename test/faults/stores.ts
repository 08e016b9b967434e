/** The embedded stores on a folder: as the platform has them, behind their thread, and in this thread, as that thread has them. */
import { join } from "node:path"
import type { DatabaseSync } from "node:sqlite"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { masterKeyId } from "#adapters/node/master-key.ts"
import * as SqliteJournal from "#adapters/sqlite/journal.ts"
import { JournalQueries } from "#adapters/sqlite/journal-queries.ts"
import { openJournal } from "#adapters/sqlite/journal-schema.ts"
import { JournalWriter } from "#adapters/sqlite/journal-writer.ts"
import { openBatch, packOf, putAppend, type WrittenAppend, writtenAppend } from "#adapters/sqlite/outgoing-batch.ts"
import { VaultStore } from "#adapters/sqlite/vault-store.ts"
import type { Append } from "#services/ports/journal.ts"
import { MasterKey } from "#services/ports/master-key.ts"
import { eventTypes } from "./history.ts"

const key = () => new Uint8Array(32).fill(7)
const files = (folder: string) => ({ journalFile: join(folder, "journal.db"), vaultFile: join(folder, "vault.db") })

export const threaded = (folder: string) =>
  SqliteJournal.layer({ ...files(folder), eventTypes }).pipe(
    Layer.provide(Layer.succeed(MasterKey, MasterKey.of({ id: masterKeyId(key()), key: Redacted.make(key()), where: "test" })))
  )

export interface OpenStores {
  readonly db: DatabaseSync
  readonly writer: JournalWriter
  readonly queries: JournalQueries
  readonly vault: VaultStore
  /** The outcome of one append; see `journal-protocol.ts`. */
  readonly append: (append: Append) => number
  readonly close: () => void
}

/** In the order in which the journal's thread opens them. Throws what it would refuse to start with. */
export const openStores = (folder: string): OpenStores => {
  const { journalFile, vaultFile } = files(folder)
  const { db, journalId } = openJournal(journalFile, 8 * 1024, eventTypes)
  let vault: VaultStore | undefined
  try {
    vault = new VaultStore(vaultFile, journalId, key(), masterKeyId(key()))
    const writer = new JournalWriter(db, vault.keys)
    const queries = new JournalQueries(db, vault.keys, writer.names, writer.openWork)
    const append = (append: Append): number => {
      const batch = openBatch()
      putAppend(batch, { append, resume: () => {} }, writtenAppend(append) as WrittenAppend)
      return writer.write([{ cells: batch.cells, newTypes: batch.newTypes, pack: packOf(batch) }], []).outcomes[0]!
    }
    const opened = vault
    return {
      db,
      writer,
      queries,
      vault,
      append,
      close: () => {
        db.close()
        opened.close()
      }
    }
  } catch (cause) {
    vault?.close()
    db.close()
    throw cause
  }
}
