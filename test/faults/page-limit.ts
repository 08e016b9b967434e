/**
 * Loaded before the platform and into each of its threads (`--import`): its durable databases grow no further than the file named by
 * $PAGE_LIMIT_FILE says, by SQLite's own `max_page_count`. 0: no limit.
 */
import { readFileSync } from "node:fs"
import { DatabaseSync } from "node:sqlite"

const noLimit = 4_294_967_294
const lookMillis = 20
const durable = new Set<DatabaseSync>()
let limit = 0

const look = () => {
  const wanted = Number(readFileSync(process.env["PAGE_LIMIT_FILE"]!, "utf8"))
  if (wanted === limit) return
  limit = wanted
  for (const db of durable) if (db.isOpen) db.exec(`PRAGMA max_page_count=${limit === 0 ? noLimit : limit}`)
}

const { exec } = DatabaseSync.prototype
DatabaseSync.prototype.exec = function (sql: string) {
  const result = exec.call(this, sql)
  if (sql.includes("synchronous=FULL")) {
    if (durable.size === 0) setInterval(look, lookMillis).unref()
    durable.add(this)
  }
  return result
}
