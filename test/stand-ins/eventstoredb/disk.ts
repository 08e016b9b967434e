/** The stand-in's file: what is acknowledged is there after a kill and a restart. */
import { mkdirSync } from "node:fs"
import { join } from "node:path"
import { DatabaseSync, type StatementSync } from "node:sqlite"
import type { LoggedEvent } from "./engine.ts"

interface Row {
  readonly position: number
  readonly stream: string
  readonly revision: number
  readonly id: string
  readonly type: string
  readonly content_type: string
  readonly data: Uint8Array
  readonly metadata: Uint8Array
  readonly created: number
}

export class Disk {
  private readonly db: DatabaseSync
  private readonly insert: StatementSync

  constructor(folder: string) {
    mkdirSync(folder, { recursive: true })
    this.db = new DatabaseSync(join(folder, "log.db"))
    // Survives the death of the process; a loss of power is not the stand-in's business.
    this.db.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL")
    this.db.exec(
      `CREATE TABLE IF NOT EXISTS log(
         position INTEGER PRIMARY KEY, stream TEXT NOT NULL, revision INTEGER NOT NULL, id TEXT NOT NULL, type TEXT NOT NULL,
         content_type TEXT NOT NULL, data BLOB NOT NULL, metadata BLOB NOT NULL, created INTEGER NOT NULL
       ) STRICT`
    )
    this.insert = this.db.prepare("INSERT INTO log VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)")
  }

  *load(): Iterable<LoggedEvent> {
    const rows = this.db.prepare("SELECT * FROM log ORDER BY position").iterate() as unknown as Iterable<Row>
    for (const { content_type, created, ...row } of rows) yield { ...row, contentType: content_type, createdMillis: created }
  }

  /** All or nothing. */
  save(events: ReadonlyArray<LoggedEvent>): void {
    this.db.exec("BEGIN")
    for (const { position, stream, revision, id, type, contentType, data, metadata, createdMillis } of events)
      this.insert.run(position, stream, revision, id, type, contentType, data, metadata, createdMillis)
    this.db.exec("COMMIT")
  }

  wipe(): void {
    this.db.exec("DELETE FROM log")
  }

  close(): void {
    this.db.close()
  }
}
