/** What holds for each of the stores' files: SQLite finds its structure sound, and its tables are those that this release makes. */
import { DatabaseSync } from "node:sqlite"
import type { CheckedFile, Damages } from "./damages.ts"

/** Of SQLite's own findings, so many are read. */
const findingsMax = 20

/** Reads the whole file in one read transaction: SQLite offers no other way to look at its free pages and indexes. */
export const checkStructure = (db: DatabaseSync, file: CheckedFile, damages: Damages): void => {
  damages.reading(file, "its structure", () => {
    const found = db.prepare(`PRAGMA integrity_check(${findingsMax})`).all() as unknown as ReadonlyArray<{ integrity_check: string }>
    for (const { integrity_check } of found) if (integrity_check !== "ok") damages.add(file, integrity_check)
  })
}

const schemaOf = (db: DatabaseSync): Set<string> =>
  new Set(
    db
      .prepare("SELECT type, name, tbl_name, sql FROM sqlite_schema")
      .all()
      .map((row) => JSON.stringify(row))
  )

export const checkSchema = (db: DatabaseSync, file: CheckedFile, tables: string, version: number, damages: Damages): void => {
  const fresh = new DatabaseSync(":memory:")
  try {
    fresh.exec(tables)
    const wanted = schemaOf(fresh)
    damages.reading(file, "its schema", () => {
      const found = schemaOf(db)
      if (found.size !== wanted.size || [...found].some((entry) => !wanted.has(entry)))
        damages.add(file, "its tables are not those that a release made")
      const { user_version } = db.prepare("PRAGMA user_version").get() as { user_version: number }
      if (user_version !== version) damages.add(file, `its schema has the version ${user_version}, not ${version}`)
    })
  } finally {
    fresh.close()
  }
}

/** Entries of `meta` that nobody wrote: a damaged name hides the entry that it was. */
export const checkMetaNames = (db: DatabaseSync, file: CheckedFile, known: ReadonlySet<string>, damages: Damages): void => {
  damages.reading(file, "meta", () => {
    for (const { name } of db.prepare("SELECT name FROM meta").all() as unknown as ReadonlyArray<{ name: string }>)
      if (!known.has(name)) damages.add(file, `meta holds the entry ${JSON.stringify(name)}, which no release wrote`)
  })
}
