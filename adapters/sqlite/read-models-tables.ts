/** The tables of the read models' file: one per model, with a column for each declared field and the view as JSON text. */
import { randomBytes } from "node:crypto"
import { closeSync, openSync } from "node:fs"
import { DatabaseSync } from "node:sqlite"
import { type Columns, columnsOf } from "#adapters/read-models/columns.ts"
import type { FieldType } from "#projections/projection.ts"
import type { ModelDefinition } from "#services/ports/read-models.ts"

/** Another layout of this file is thrown away: all of it comes back from the journal. */
const layoutVersion = 2
/** Pages of write-ahead log between two checkpoints. A rebuild writes the same index pages again and again: fewer checkpoints, fewer copies. */
const walPages = 4000
const cacheKilobytes = 4096

const tables = `
CREATE TABLE meta(name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE scopes(number INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE models(
  number INTEGER PRIMARY KEY AUTOINCREMENT, model TEXT NOT NULL, definition TEXT NOT NULL,
  checkpoint TEXT, complete INTEGER NOT NULL DEFAULT 0, dropped INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX models_by_name ON models(model) WHERE dropped = 0;
`

const connect = (file: string): DatabaseSync => {
  if (file !== ":memory:") closeSync(openSync(file, "a", 0o600)) // SQLite gives its log the rights of the file.
  const db = new DatabaseSync(file, { timeout: 5000 })
  db.exec(`PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA wal_autocheckpoint=${walPages}; PRAGMA cache_size=-${cacheKilobytes}`)
  return db
}

export const readMeta = (db: DatabaseSync, name: string): string | undefined =>
  (db.prepare("SELECT value FROM meta WHERE name = ?").get(name) as { value: string } | undefined)?.value

const prepare = (db: DatabaseSync, journalId: string): boolean => {
  const layout = (db.prepare("PRAGMA user_version").get() as { user_version: number }).user_version
  if (layout === layoutVersion) return readMeta(db, "journalId") === journalId
  if (layout !== 0) return false
  db.exec(`BEGIN IMMEDIATE; ${tables} PRAGMA user_version=${layoutVersion}`)
  const set = db.prepare("INSERT INTO meta(name, value) VALUES(?, ?)")
  set.run("journalId", journalId)
  set.run("cursorKey", randomBytes(32).toString("base64url"))
  db.exec("COMMIT")
  return true
}

/** SQLite's codes for a file that is damaged, or none of its own. */
const damaged = new Set([11, 26])

/** Undefined: the file is of no use to us. */
const tryOpen = (file: string, journalId: string): DatabaseSync | undefined => {
  let db: DatabaseSync | undefined
  try {
    db = connect(file)
    if (prepare(db, journalId)) return db
  } catch (cause) {
    if (!damaged.has((cause as { readonly errcode?: number }).errcode ?? 0)) throw cause
  }
  db?.close()
  return undefined
}

/**
 * Opens the file. One that is damaged, has another layout or follows another journal is thrown away with `discard`: positions of
 * two journals cannot be compared, and everything comes back from the journal.
 */
export const openViews = (file: string, journalId: string, discard: (file: string) => void): DatabaseSync => {
  const opened = tryOpen(file, journalId)
  if (opened !== undefined) return opened
  discard(file)
  const fresh = connect(file)
  prepare(fresh, journalId)
  return fresh
}

export interface Table {
  readonly number: number
  readonly name: string
  readonly model: string
  readonly definition: ModelDefinition
  readonly columns: Columns
}

export const tableOf = (number: number, definition: ModelDefinition): Table => ({
  number,
  name: `views_${number}`,
  model: definition.model,
  definition,
  columns: columnsOf(definition)
})

const sqlTypes: Record<FieldType, string> = { text: "TEXT", number: "REAL", flag: "INTEGER", time: "INTEGER" }

/**
 * The table and its indexes. Every index begins with the scope or the space: one serves a scope's lists, the other, where the
 * model has them, those of the whole space. Scopes are numbers here, which keeps the indexes, and so the writing, small.
 */
export const createTable = (db: DatabaseSync, table: Table): void => {
  const columns = [...table.columns.values()].map(({ name, type }) => `, ${name} ${sqlTypes[type]}`).join("")
  db.exec(
    `CREATE TABLE ${table.name}(scope INTEGER NOT NULL, id TEXT NOT NULL, space INTEGER NOT NULL, at TEXT NOT NULL, doc TEXT${columns}) STRICT;
     CREATE UNIQUE INDEX ${table.name}_id ON ${table.name}(scope, id)`
  )
  const sorts = table.definition.sorts.length === 0 ? [[]] : table.definition.sorts
  sorts.forEach((sort, index) => {
    const fields = sort.map((field) => `${table.columns.get(field)!.name}, `).join("")
    if (sort.length > 0) db.exec(`CREATE INDEX ${table.name}_s${index} ON ${table.name}(scope, ${fields}id)`)
    if (table.definition.acrossSpace === true) db.exec(`CREATE INDEX ${table.name}_a${index} ON ${table.name}(space, ${fields}id, scope)`)
  })
}

/** Frees a part of a dropped table; true when it is gone. Its indexes go first, then its rows by the thousand. */
export const shrinkTable = (db: DatabaseSync, number: number, rowsPerStep: number): boolean => {
  const name = `views_${number}`
  const index = db.prepare("SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = ? LIMIT 1").get(name) as
    | { name: string }
    | undefined
  if (index !== undefined) {
    db.exec(`DROP INDEX ${index.name}`)
    return false
  }
  const exists = db.prepare("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?").get(name) !== undefined
  if (exists) {
    const { changes } = db.prepare(`DELETE FROM ${name} WHERE rowid IN (SELECT rowid FROM ${name} ORDER BY rowid LIMIT ?)`).run(rowsPerStep)
    if (Number(changes) === rowsPerStep) return false
    db.exec(`DROP TABLE ${name}`)
  }
  db.prepare("DELETE FROM models WHERE number = ?").run(number)
  return true
}
