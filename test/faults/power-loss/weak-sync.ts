/** Loaded before a process (`--import`): its databases no longer flush each commit, for contrast. */
import { DatabaseSync } from "node:sqlite"

const { exec } = DatabaseSync.prototype
DatabaseSync.prototype.exec = function (sql: string) {
  return exec.call(this, sql.replace("synchronous=FULL", "synchronous=NORMAL"))
}
