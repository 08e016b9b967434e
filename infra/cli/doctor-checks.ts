/** What can be seen of an installation from its files alone, without the server: everything is opened for reading only. */
import { existsSync, statfsSync, statSync } from "node:fs"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import * as Effect from "effect/Effect"
import { holderOf } from "#adapters/sqlite/data-folder.ts"
import { checkMasterKey } from "#adapters/sqlite/key-ring.ts"
import { checkNewestEvents } from "#adapters/sqlite/newest-events.ts"
import { runningServer } from "./installation.ts"
import { bytes } from "./output.ts"

export interface Finding {
  /** `unknown`: it could not be looked at, and the detail says why. */
  readonly status: "ok" | "warning" | "failed" | "unknown"
  readonly detail: string
}
export interface Check extends Finding {
  readonly check: string
}

const ok = (detail: string): Finding => ({ status: "ok", detail })
const warning = (detail: string): Finding => ({ status: "warning", detail })
const wrong = (detail: string): Finding => ({ status: "failed", detail })
const unknown = (detail: string): Finding => ({ status: "unknown", detail })

/** Said, so that silence about it is not taken for health. */
export const notCheckable: ReadonlyArray<Check> = [
  {
    check: "vendors",
    ...unknown("Whether connections still work is not tried: it would call out. See: tributary runs list --status parked --tenant <tenant>")
  },
  { check: "backups", ...unknown("Whether copies of the data folder and the master key exist elsewhere cannot be seen from here.") }
]

const nodeMajorMin = 24
export const checkNode = (): Check => {
  const major = Number(process.versions.node.split(".")[0])
  return {
    check: "node",
    ...(major >= nodeMajorMin
      ? ok(`${process.version}, SQLite ${process.versions["sqlite"] ?? "?"}`)
      : wrong(`${process.version} is older than ${nodeMajorMin}. Run: npm ci, which installs the right one.`))
  }
}

const freeShareMin = 0.2
const checkDisk = (folder: string): Finding => {
  const { bavail, blocks, bsize } = statfsSync(folder)
  const said = `${bytes(bavail * bsize)} of ${bytes(blocks * bsize)} are free.`
  return bavail / blocks < freeShareMin
    ? warning(`${said} Less than ${freeShareMin * 100} %: make room, or shorten runs.retentionDays.`)
    : ok(said)
}

const checkRights = (folder: string): Finding => {
  const mode = statSync(folder).mode & 0o777
  return (mode & 0o077) === 0
    ? ok("Only its owner can look into it.")
    : warning(`Others can look into the folder (mode ${mode.toString(8)}). Run: chmod 700 ${folder}`)
}

const checkLock = (folder: string): Finding => {
  const holder = Effect.runSync(holderOf(folder))
  if (holder !== null) return ok(`Held by the process ${holder.pid ?? "?"}${holder.url === null ? "" : `, which serves ${holder.url}`}.`)
  const killed = runningServer(folder)
  return ok(killed === undefined ? "Free." : `Free: the process ${killed.pid} did not end in order; the next start takes over.`)
}

const checkEvents = (journal: DatabaseSync, count: number): Finding => {
  const { seen, damaged } = checkNewestEvents(journal, count)
  return damaged === null
    ? ok(`The newest ${seen} events fit their checksums and their streams' chains of hashes.`)
    : wrong(
        `The event at position ${damaged.position}: ${damaged.damage}. Stop the server, keep the folder as it is, and restore a backup.`
      )
}

const checkStructure = (database: DatabaseSync, name: string): Finding => {
  const [first] = database.prepare("PRAGMA quick_check(1)").all() as unknown as ReadonlyArray<{ readonly quick_check: string }>
  return first?.quick_check === "ok"
    ? ok(`${name} opens, and its structure is sound.`)
    : wrong(`${name} is damaged: ${first?.quick_check}. Restore a backup.`)
}

const metaOf = (database: DatabaseSync, name: string): string | undefined =>
  (database.prepare("SELECT value FROM meta WHERE name = ?").get(name) as { value: string } | undefined)?.value

/** The master key as a start would find it, or why it would not. */
export type FoundKey = { readonly id: string; readonly key: Uint8Array; readonly where: string } | { readonly refused: string }

const checkKey = (vault: DatabaseSync, found: FoundKey, folder: string): Finding => {
  if ("refused" in found)
    return Effect.runSync(holderOf(folder)) === null
      ? wrong(found.refused)
      : unknown(`The running server has it, this command has not. ${found.refused}`)
  checkMasterKey(found.key, found.id, metaOf(vault, "masterKeyId") ?? "", metaOf(vault, "masterKeyCheck") ?? "")
  return ok(`It fits (${found.where}).`)
}

/** Of a stopped installation: how much of the log the next start reads again for its views. */
const checkViews = (views: DatabaseSync, head: number): Finding => {
  const rows = views.prepare("SELECT checkpoint FROM models WHERE dropped = 0").all() as unknown as ReadonlyArray<{
    readonly checkpoint: string | null
  }>
  const behind = Math.max(0, ...rows.map(({ checkpoint }) => head - Number(checkpoint ?? 0)))
  return ok(`${rows.length} are stored. For the one that is furthest back, the next start reads ${behind} events.`)
}

/** Runs a check; what it throws is its finding. */
const looked = (check: string, look: () => Finding): Check => {
  try {
    return { check, ...look() }
  } catch (cause) {
    return { check, ...wrong(cause instanceof Error ? cause.message : String(cause)) }
  }
}

const withDatabase = (folder: string, name: string, look: (database: DatabaseSync) => ReadonlyArray<Check>): ReadonlyArray<Check> => {
  const file = join(folder, name)
  if (!existsSync(file)) return [{ check: name, ...wrong(`${file} is missing. Restore a backup, or correct --data.`) }]
  let database: DatabaseSync
  try {
    database = new DatabaseSync(file, { readOnly: true, timeout: 5000 })
  } catch (cause) {
    return [{ check: name, ...wrong(`${file} cannot be opened: ${(cause as Error).message}. Check who owns it.`) }]
  }
  try {
    return look(database)
  } finally {
    database.close()
  }
}

/** A running server says itself how far its views are. */
const viewsOnDisk = (folder: string, head: number): ReadonlyArray<Check> => {
  if (runningServer(folder)?.alive === true) return []
  if (!existsSync(join(folder, "views.db"))) return [{ check: "views", ...ok("There are none; the next start makes them from the log.") }]
  return withDatabase(folder, "views.db", (views) => [looked("views", () => checkViews(views, head))])
}

const headOf = (journal: DatabaseSync): number =>
  (journal.prepare("SELECT coalesce(max(position), 0) AS head FROM appends").get() as { head: number }).head

export const isInstallation = (folder: string): boolean => existsSync(join(folder, "journal.db")) && existsSync(join(folder, "vault.db"))

export const checkFolder = (folder: string, eventsMax: number, key: FoundKey | undefined): ReadonlyArray<Check> => {
  if (!existsSync(join(folder, "journal.db")))
    return [
      {
        check: "data folder",
        ...wrong(`${folder} holds no installation. Correct --data, or start one with: tributary start --data ${folder}`)
      }
    ]
  let head = 0
  return [
    looked("disk", () => checkDisk(folder)),
    looked("rights", () => checkRights(folder)),
    looked("lock", () => checkLock(folder)),
    ...withDatabase(folder, "journal.db", (journal) => {
      head = headOf(journal)
      return [looked("journal", () => checkStructure(journal, "journal.db")), looked("events", () => checkEvents(journal, eventsMax))]
    }),
    ...withDatabase(folder, "vault.db", (vault) => [
      looked("vault", () => checkStructure(vault, "vault.db")),
      looked("master key", () => (key === undefined ? unknown("The vault is missing.") : checkKey(vault, key, folder)))
    ]),
    ...viewsOnDisk(folder, head)
  ]
}
