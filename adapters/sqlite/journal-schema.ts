/** The embedded journal's file: its tables, its settings and the checks made when it is opened. */
import { randomUUID } from "node:crypto"
import { closeSync, openSync } from "node:fs"
import { DatabaseSync } from "node:sqlite"

export const journalSchemaVersion = 1

/** A start that is refused for a reason that a person has to settle; nothing was changed. */
export class StartRefused extends Error {
  readonly kind: string
  constructor(kind: string, message: string) {
    super(message)
    this.kind = kind
  }
}

/**
 * `appends` holds a row per append, not per event: position and revision are those of its last event, `events` the lines of all,
 * `sealed` its contents. Streams are found by a number from their name; see `StreamNames`. Open work is a column of its stream.
 */
export const tables = `
CREATE TABLE meta(name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE scopes(id INTEGER PRIMARY KEY, space TEXT NOT NULL, key TEXT NOT NULL UNIQUE, bucket TEXT NOT NULL) STRICT;
CREATE TABLE streams(
  id INTEGER PRIMARY KEY, scope_id INTEGER NOT NULL, local TEXT NOT NULL, number INTEGER NOT NULL,
  due_at INTEGER, retired_revision INTEGER, retired_hash TEXT
) STRICT;
CREATE TABLE stream_names(number INTEGER NOT NULL, stream_id INTEGER NOT NULL, PRIMARY KEY(number, stream_id)) STRICT, WITHOUT ROWID;
CREATE INDEX open_work ON streams(due_at) WHERE due_at IS NOT NULL;
CREATE TABLE event_types(type TEXT NOT NULL, version INTEGER NOT NULL, PRIMARY KEY(type, version)) STRICT, WITHOUT ROWID;
CREATE TABLE appends(
  position INTEGER PRIMARY KEY, stream_id INTEGER NOT NULL, revision INTEGER NOT NULL, count INTEGER NOT NULL,
  at INTEGER NOT NULL, checksum INTEGER NOT NULL, key_version INTEGER, hash TEXT NOT NULL,
  contents TEXT, origin TEXT NOT NULL, events TEXT NOT NULL, sealed BLOB,
  UNIQUE(stream_id, revision)
) STRICT;
CREATE TABLE snapshots(
  stream_id INTEGER PRIMARY KEY, version INTEGER NOT NULL, revision INTEGER NOT NULL, key_version INTEGER NOT NULL, sealed BLOB NOT NULL
) STRICT;
`

/** Three sealed bodies of 2 KB fit a page, where a page of 4,096 bytes holds one; larger ones cost the random inserts of new streams. */
const pageBytes = 8192

/** Opens a database file as its only writer, for its owner alone. FULL: a commit survives loss of power. */
export const openDurable = (file: string, cacheKilobytes: number): DatabaseSync => {
  closeSync(openSync(file, "a", 0o600)) // SQLite gives its log the rights of the file.
  const db = new DatabaseSync(file, { timeout: 5000 })
  db.exec(
    `PRAGMA page_size=${pageBytes}; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=1000; PRAGMA cache_size=-${cacheKilobytes}`
  )
  return db
}

export const readMeta = (db: DatabaseSync, name: string): string | undefined =>
  (db.prepare("SELECT value FROM meta WHERE name = ?").get(name) as { value: string } | undefined)?.value

export const writeMeta = (db: DatabaseSync, name: string, value: string): void => {
  db.prepare("INSERT INTO meta(name, value) VALUES(?, ?) ON CONFLICT(name) DO UPDATE SET value = excluded.value").run(name, value)
}

export const deleteMeta = (db: DatabaseSync, name: string): void => {
  db.prepare("DELETE FROM meta WHERE name = ?").run(name)
}

export const inTransaction = <A>(db: DatabaseSync, work: () => A): A => {
  db.exec("BEGIN IMMEDIATE")
  try {
    const result = work()
    db.exec("COMMIT")
    return result
  } catch (cause) {
    if (db.isTransaction) db.exec("ROLLBACK")
    throw cause
  }
}

/** Creates the tables of a new file, or checks that this release knows the file's schema. */
export const prepareSchema = (db: DatabaseSync, sql: string, version: number, what: string, first: () => void): void => {
  const found = (db.prepare("PRAGMA user_version").get() as { user_version: number }).user_version
  if (found > version)
    throw new StartRefused(
      "NewerSchema",
      `The ${what} was written by a newer release (schema ${found}, this release knows ${version}). Nothing was changed. Start the newer release.`
    )
  if (found === version) return
  inTransaction(db, () => {
    db.exec(sql)
    first()
    db.exec(`PRAGMA user_version=${version}`)
  })
}

/** Refuses a journal that holds an event type, or a version of one, that this release cannot read (R5). */
const checkEventTypes = (db: DatabaseSync, known: Readonly<Record<string, number>>): void => {
  const stored = db
    .prepare("SELECT type, max(version) AS version FROM event_types GROUP BY type ORDER BY type")
    .all() as unknown as ReadonlyArray<{
    type: string
    version: number
  }>
  const unknown = stored.filter(({ type, version }) => !(version <= (known[type] ?? 0)))
  if (unknown.length === 0) return
  const names = unknown.slice(0, 5).map(({ type, version }) => `${type}@${version}`)
  throw new StartRefused(
    "UnknownEventTypes",
    `The journal holds events that this release cannot read: ${names.join(", ")}${unknown.length > 5 ? ` and ${unknown.length - 5} more` : ""}. ` +
      "Nothing was changed. Start the release that wrote them, or a newer one."
  )
}

export interface OpenedJournal {
  readonly db: DatabaseSync
  readonly journalId: string
}

export const openJournal = (file: string, cacheKilobytes: number, eventTypes: Readonly<Record<string, number>>): OpenedJournal => {
  const db = openDurable(file, cacheKilobytes)
  prepareSchema(db, tables, journalSchemaVersion, "journal", () => {
    writeMeta(db, "journalId", randomUUID())
  })
  checkEventTypes(db, eventTypes)
  return { db, journalId: readMeta(db, "journalId")! }
}
