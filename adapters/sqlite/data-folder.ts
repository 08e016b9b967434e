/** The data folder: one process at a time, by a lock that dies with its holder, however it dies. */
import { chmodSync, existsSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs"
import { join, resolve } from "node:path"
import { DatabaseSync } from "node:sqlite"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { makeDurableFolder } from "#adapters/node/durable-folder.ts"

const folderMode = 0o700
const fileMode = 0o600

/** The process that holds a data folder, as far as it has said who it is. */
export interface Holder {
  readonly pid: number | null
  /** Where it listens, once it does. */
  readonly url: string | null
}

export class DataFolderInUse extends Data.TaggedError("DataFolderInUse")<Holder & { readonly path: string }> {
  override get message() {
    const who = this.pid === null ? "another process" : `process ${this.pid}`
    const where = this.url === null ? "" : ` at ${this.url}`
    return `The data folder ${this.path} is in use by ${who}${where}. Nothing was changed. Use that one, stop it, or give another folder.`
  }
}
export class DataFolderUnusable extends Data.TaggedError("DataFolderUnusable")<{ readonly path: string; readonly reason: string }> {
  override get message() {
    return `The data folder ${this.path} cannot be used: ${this.reason}. Nothing was changed. Give a folder that this user may write to.`
  }
}

export class DataFolder extends Context.Service<
  DataFolder,
  {
    /** Absolute. */
    readonly path: string
    readonly journalFile: string
    readonly vaultFile: string
    readonly viewsFile: string
    /** The process that held it before has ended without letting go of it. */
    readonly predecessorDied: boolean
    /** Tells commands on this machine where the server listens, until the folder is let go. */
    readonly announce: (url: string) => Effect.Effect<void>
  }
>()("tributary/adapters/sqlite/DataFolder") {
  static readonly layer = (path: string) =>
    Layer.effect(
      DataFolder,
      Effect.suspend(() => hold(resolve(path)))
    )
}

const lockFile = (path: string) => join(path, "lock.db")
const holderFile = (path: string) => join(path, "lock.json")
/** `{ url, pid }` of the live server; the command line reads it. */
const serverFile = (path: string) => join(path, "server.json")

const hold = Effect.fnUntraced(function* (path: string) {
  const { predecessorDied } = yield* Effect.acquireRelease(acquire(path), ({ lock }) =>
    Effect.sync(() => {
      rmSync(serverFile(path), { force: true })
      rmSync(holderFile(path), { force: true })
      lock.close()
    })
  )
  return DataFolder.of({
    path,
    journalFile: join(path, "journal.db"),
    vaultFile: join(path, "vault.db"),
    viewsFile: join(path, "views.db"),
    predecessorDied,
    announce: (url) => Effect.sync(() => writeWhole(serverFile(path), { url, pid: process.pid }))
  })
})

interface Held {
  readonly lock: DatabaseSync
  readonly predecessorDied: boolean
}
const acquire = (path: string): Effect.Effect<Held, DataFolderInUse | DataFolderUnusable> =>
  Effect.suspend((): Effect.Effect<Held, DataFolderInUse | DataFolderUnusable> => {
    try {
      prepare(path)
      const lock = tryLock(path)
      if (lock === null) return Effect.fail(new DataFolderInUse({ path, ...readHolder(path) }))
      rmSync(serverFile(path), { force: true }) // Left behind by a process that was killed.
      const predecessorDied = existsSync(holderFile(path))
      writeWhole(holderFile(path), { pid: process.pid })
      return Effect.succeed({ lock, predecessorDied })
    } catch (cause) {
      return Effect.fail(new DataFolderUnusable({ path, reason: cause instanceof Error ? cause.message : String(cause) }))
    }
  })

const prepare = (path: string): void => {
  makeDurableFolder(path)
  if ((statSync(path).mode & 0o077) !== 0) chmodSync(path, folderMode)
}

const busyCodes = new Set([5, 6])

/** SQLite's exclusive lock: the system drops it when the process ends, also by `kill -9`. Null: somebody else holds it. */
const tryLock = (path: string): DatabaseSync | null => {
  const lock = new DatabaseSync(lockFile(path), { timeout: 0 })
  try {
    lock.exec("PRAGMA locking_mode=EXCLUSIVE; BEGIN EXCLUSIVE")
    chmodSync(lockFile(path), fileMode)
    return lock
  } catch (cause) {
    lock.close()
    if (busyCodes.has(((cause as { errcode?: number }).errcode ?? 0) & 0xff)) return null
    throw cause
  }
}

/** Who holds the folder, or null when nobody does. */
export const holderOf = (path: string): Effect.Effect<Holder | null> =>
  Effect.sync(() => {
    if (!existsSync(lockFile(path))) return null
    const lock = tryLock(path)
    if (lock === null) return readHolder(path)
    lock.close()
    return null
  })

const readHolder = (path: string): Holder => {
  const { pid } = readJson(holderFile(path))
  const server = readJson(serverFile(path))
  return {
    pid: typeof pid === "number" ? pid : null,
    url: typeof server["url"] === "string" && server["pid"] === pid ? server["url"] : null
  }
}

/** An empty object when there is none, or half of one. */
const readJson = (file: string): Record<string, unknown> => {
  try {
    return JSON.parse(readFileSync(file, "utf8")) as Record<string, unknown>
  } catch {
    return {}
  }
}

const writeWhole = (file: string, content: object): void => {
  writeFileSync(`${file}.new`, `${JSON.stringify(content)}\n`, { mode: fileMode })
  renameSync(`${file}.new`, file)
}
