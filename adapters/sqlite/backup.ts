/** Copies of journal and vault that belong together: taken from a live or a stopped data folder, checked, and put back into an empty one. */
import { createHash } from "node:crypto"
import { closeSync, createReadStream, existsSync, fsyncSync, openSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs"
import { open } from "node:fs/promises"
import { join } from "node:path"
import { backup, DatabaseSync } from "node:sqlite"
import { pathToFileURL } from "node:url"
import * as Data from "effect/Data"
import { flushFolder, makeDurableFolder } from "#adapters/node/durable-folder.ts"
import { readMeta } from "./journal-schema.ts"
import { checkNewestEvents } from "./newest-events.ts"

/** The journal first: whatever it holds sealed, the later copy of the vault has the key of. Restored the other way round, for the same reason. */
const names = ["journal.db", "vault.db"] as const
type Name = (typeof names)[number]

const manifestName = "manifest.json"
const format = 1
const fileMode = 0o600
/** Pages of 8 KiB that are copied between two looks at whether to go on. */
const pagesPerStep = 4_096
const chunkBytes = 1024 * 1024
/** Of the newest events, so many are checked one by one. */
const eventsChecked = 10_000

export interface BackupManifest {
  readonly format: number
  /** The release that made it. */
  readonly version: string
  /** ISO 8601. */
  readonly takenAt: string
  readonly journalId: string
  /** Id of the master key that wraps the vault's keys; the key itself is not in the backup. */
  readonly masterKeyId: string
  /** Position of the newest event: the count of all that were ever recorded. */
  readonly head: number
  readonly files: ReadonlyArray<{ readonly name: Name; readonly bytes: number; readonly sha256: string }>
}

/** It was not done. Nothing that was there before was changed. */
export class BackupRefused extends Data.TaggedError("BackupRefused")<{ readonly reason: string; readonly cause?: unknown }> {
  override get message() {
    return this.reason
  }
}
const refuse = (reason: string, cause?: unknown) => new BackupRefused({ reason, cause })

/** What a folder may hold and still count as empty: the lock that is held on it, and what a new file system has. */
const ignored = new Set(["lock.db", "lock.db-journal", "lock.json", "lost+found"])
export const isEmptyFolder = (path: string): boolean => !existsSync(path) || readdirSync(path).every((name) => ignored.has(name))

/** Copies the stores of `dataFolder`, of which a server may be in the middle of its work. `to` is an absolute path; `copied` is told of each file. */
export const backUp = async (
  dataFolder: string,
  to: string,
  version: string,
  copied: (name: Name) => void | Promise<void> = () => {}
): Promise<BackupManifest> => {
  for (const name of names)
    if (!existsSync(join(dataFolder, name)))
      throw refuse(`${dataFolder} holds no installation: ${name} is missing. Nothing was done. Correct --data.`)
  if (!isEmptyFolder(to))
    throw refuse(`${to} is not empty, and a backup overwrites nothing. Nothing was done. Give a new folder for each backup.`)
  makeDurableFolder(to)
  try {
    for (const name of names) {
      await copyDatabase(join(dataFolder, name), join(to, name))
      await copied(name)
    }
    const facts = checkCopies(to)
    const files = []
    for (const name of names) files.push({ name, ...(await measure(join(to, name))) })
    const manifest: BackupManifest = { format, version, takenAt: new Date().toISOString(), ...facts, files }
    await writeManifest(to, manifest)
    return manifest
  } catch (cause) {
    for (const name of [...names, manifestName]) for (const file of [name, `${name}.new`]) rmSync(join(to, file), { force: true })
    if (cause instanceof BackupRefused) throw cause
    throw refuse(`The backup was not made: ${(cause as Error).message}. The installation was not changed; ${to} holds no backup.`, cause)
  }
}

const copyDatabase = async (source: string, target: string): Promise<void> => {
  closeSync(openSync(target, "wx", fileMode))
  const database = new DatabaseSync(source, { readOnly: true, timeout: 5000 })
  try {
    // One snapshot for the whole copy: else each commit of a running server would begin it anew.
    database.exec("BEGIN")
    readMeta(database, "journalId")
    await backup(database, target, { rate: pagesPerStep })
  } finally {
    database.close()
  }
  flushFile(target)
}

/** Of a file that nobody writes: nothing is made beside it. */
const readCopy = <A>(file: string, look: (database: DatabaseSync) => A): A => {
  const url = pathToFileURL(file)
  url.searchParams.set("immutable", "1")
  const database = new DatabaseSync(url, { readOnly: true })
  try {
    return look(database)
  } finally {
    database.close()
  }
}

/** Reads the whole of both, so that a backup is not found to be none on the day when it is needed. */
const checkCopies = (folder: string): Pick<BackupManifest, "journalId" | "masterKeyId" | "head"> => {
  const journal = readCopy(join(folder, "journal.db"), (database) => {
    checkStructure(database, "journal.db")
    const { damaged } = checkNewestEvents(database, eventsChecked)
    if (damaged !== null)
      throw refuse(
        `The journal is damaged: the event at position ${damaged.position}, ${damaged.damage}. No backup was made. Run: tributary doctor`
      )
    const { newest } = database.prepare("SELECT coalesce(max(position), 0) AS newest FROM appends").get() as { newest: number }
    return { journalId: readMeta(database, "journalId"), head: Math.max(newest, Number(readMeta(database, "lastPosition") ?? 0)) }
  })
  const vault = readCopy(join(folder, "vault.db"), (database) => {
    checkStructure(database, "vault.db")
    return { journalId: readMeta(database, "journalId"), masterKeyId: readMeta(database, "masterKeyId") }
  })
  if (journal.journalId === undefined || journal.journalId !== vault.journalId || vault.masterKeyId === undefined)
    throw refuse("Journal and vault belong to different installations. No backup was made. Run: tributary doctor")
  return { journalId: journal.journalId, masterKeyId: vault.masterKeyId, head: journal.head }
}

const checkStructure = (database: DatabaseSync, name: Name): void => {
  const [first] = database.prepare("PRAGMA integrity_check(1)").all() as unknown as ReadonlyArray<{ readonly integrity_check: string }>
  if (first?.integrity_check !== "ok")
    throw refuse(
      `${name} is damaged (${first?.integrity_check}). No backup was made. Keep the folder as it is, and restore an older backup.`
    )
}

const flushFile = (file: string): void => {
  const descriptor = openSync(file, "r+")
  try {
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
}

/** Hands each chunk on. */
const measure = async (
  file: string,
  take?: (chunk: Buffer) => Promise<unknown>
): Promise<{ readonly bytes: number; readonly sha256: string }> => {
  const hash = createHash("sha256")
  let bytes = 0
  for await (const chunk of createReadStream(file, { highWaterMark: chunkBytes }) as AsyncIterable<Buffer>) {
    hash.update(chunk)
    bytes += chunk.length
    await take?.(chunk)
  }
  return { bytes, sha256: hash.digest("hex") }
}

/** The last of a backup: without it there is none. */
const writeManifest = async (folder: string, manifest: BackupManifest): Promise<void> => {
  const file = join(folder, manifestName)
  const written = await open(`${file}.new`, "wx", fileMode)
  try {
    await written.writeFile(`${JSON.stringify(manifest, null, 2)}\n`)
    await written.sync()
  } finally {
    await written.close()
  }
  renameSync(`${file}.new`, file)
  flushFolder(folder)
}

const isManifest = (found: unknown): found is BackupManifest => {
  const { takenAt, journalId, masterKeyId, head, files, version } = (found ?? {}) as Partial<BackupManifest>
  return (
    [version, takenAt, journalId, masterKeyId].every((text) => typeof text === "string") &&
    Number.isSafeInteger(head) &&
    Array.isArray(files) &&
    names.every((name) =>
      files.some((file) => file.name === name && Number.isSafeInteger(file.bytes) && /^[0-9a-f]{64}$/u.test(file.sha256))
    )
  )
}

/** Throws when the folder holds no whole backup. */
export const readManifest = (folder: string): BackupManifest => {
  const file = join(folder, manifestName)
  if (!existsSync(file))
    throw refuse(
      `${folder} holds no whole backup: ${manifestName}, which is written last, is missing. Nothing was restored. Take another backup.`
    )
  let found: unknown
  try {
    found = JSON.parse(readFileSync(file, "utf8"))
  } catch {
    found = undefined
  }
  const { format: written, version } = (found ?? {}) as Partial<BackupManifest>
  if (typeof written === "number" && written > format)
    throw refuse(`The backup was made by the newer release ${version}. Nothing was restored. Restore it with that release.`)
  if (!isManifest(found)) throw refuse(`${file} cannot be understood. Nothing was restored. Take another backup.`)
  return found
}

/** What the vault of a backup keeps to recognise its master key. */
export const readKeyCheck = (folder: string): { readonly masterKeyId: string; readonly masterKeyCheck: string } => {
  try {
    return readCopy(join(folder, "vault.db"), (database) => ({
      masterKeyId: readMeta(database, "masterKeyId") ?? "",
      masterKeyCheck: readMeta(database, "masterKeyCheck") ?? ""
    }))
  } catch (cause) {
    throw refuse(
      `${join(folder, "vault.db")} cannot be read: ${(cause as Error).message}. Nothing was restored. Take another backup.`,
      cause
    )
  }
}

/** Puts the files of a backup into an empty folder that is held: all of them, or none. */
export const restoreInto = async (from: string, { files }: BackupManifest, dataFolder: string): Promise<void> => {
  if (!isEmptyFolder(dataFolder))
    throw refuse(
      `${dataFolder} is not empty, and a restore overwrites nothing. Nothing was restored. Give another folder, or move what is in it away.`
    )
  const restored = (name: Name) => join(dataFolder, name)
  const partial = (name: Name) => `${restored(name)}.restoring`
  try {
    for (const name of names) await copyChecked(join(from, name), partial(name), files.find((file) => file.name === name)!)
    // A crash in between leaves a vault without its journal, which no start takes for an installation.
    for (const name of names.toReversed()) {
      renameSync(partial(name), restored(name))
      flushFolder(dataFolder)
    }
  } catch (cause) {
    for (const name of names) for (const file of [restored(name), partial(name)]) rmSync(file, { force: true })
    if (cause instanceof BackupRefused) throw cause
    throw refuse(`The restore was not done: ${(cause as Error).message}. The backup was not changed; ${dataFolder} is empty again.`, cause)
  }
}

const copyChecked = async (source: string, target: string, expected: BackupManifest["files"][number]): Promise<void> => {
  if (!existsSync(source)) throw refuse(`${source} is missing. Nothing was restored. Take another backup.`)
  const written = await open(target, "wx", fileMode)
  try {
    const { bytes, sha256 } = await measure(source, (chunk) => written.writeFile(chunk))
    if (bytes !== expected.bytes || sha256 !== expected.sha256)
      throw refuse(
        `${source} is not the file that was backed up: its hash differs from the manifest's. Nothing was restored. Take another backup.`
      )
    await written.sync()
  } finally {
    await written.close()
  }
}
