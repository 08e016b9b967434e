/** All that the stores' files say, cell by cell: what a changed bit has changed, if anything. */
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"

type Cell = string | number | bigint | null
interface Table {
  readonly columns: ReadonlyArray<string>
  readonly rows: ReadonlyArray<ReadonlyArray<Cell>>
}
export type Facts = ReadonlyMap<string, Table>

/**
 * Kept beside what is checked, and not checkable: nothing is decided by any of them. The hash of a stream whose events are gone;
 * a newest position that a later event has overtaken; from where on streams are indexed again at a start; when a key was made.
 */
export const nothingDependsOn: ReadonlySet<string> = new Set([
  "streams.retired_hash",
  "meta.lastPosition",
  "meta.namesIndexedTo",
  "wrapped_keys.made_at"
])

const tablesOf = {
  "journal.db": ["meta", "scopes", "streams", "stream_names", "event_types", "appends", "snapshots"],
  "vault.db": ["meta", "wrapped_keys", "secrets"]
} as const

const comparable = (value: unknown): Cell => (value instanceof Uint8Array ? Buffer.from(value).toString("base64") : (value as Cell))

/** What cannot be read is a fact, too. */
const read = (db: DatabaseSync, sql: string): Table => {
  try {
    const statement = db.prepare(sql)
    statement.setReadBigInts(true)
    const rows = statement.all() as unknown as ReadonlyArray<Record<string, unknown>>
    return { columns: Object.keys(rows[0] ?? {}), rows: rows.map((row) => Object.values(row).map(comparable)) }
  } catch (cause) {
    return { columns: ["failure"], rows: [[String(cause)]] }
  }
}

export const factsOf = (folder: string): Facts => {
  const facts = new Map<string, Table>()
  for (const [file, tables] of Object.entries(tablesOf)) {
    const db = new DatabaseSync(join(folder, file), { readOnly: true })
    try {
      facts.set(`${file} sqlite_schema`, read(db, "SELECT type, name, tbl_name, sql FROM sqlite_schema"))
      facts.set(`${file} user_version`, read(db, "PRAGMA user_version"))
      for (const table of tables) facts.set(`${file} ${table}`, read(db, `SELECT * FROM ${table} NOT INDEXED`))
    } finally {
      db.close()
    }
  }
  return facts
}

/** `table.column`, or `table` where rows came or went; an entry of `meta` by its name. */
export const differences = (before: Facts, after: Facts): ReadonlyArray<string> => {
  const changed = new Set<string>()
  for (const [name, { columns, rows }] of before) {
    const table = name.slice(name.indexOf(" ") + 1)
    const there = after.get(name)!
    if (there.rows.length !== rows.length || String(there.columns) !== String(columns)) changed.add(table)
    else
      rows.forEach((row, index) =>
        row.forEach((cell, column) => {
          if (cell !== there.rows[index]![column])
            changed.add(`${table}.${table === "meta" && column === 1 ? String(row[0]) : columns[column]}`)
        })
      )
  }
  return [...changed]
}
