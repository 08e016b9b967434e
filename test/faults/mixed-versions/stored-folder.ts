/** A data folder as an earlier commit wrote it, kept under `fixtures/`; run as a script it makes one: `node stored-folder.ts <commit> <name>`. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { gunzipSync, gzipSync } from "node:zlib"
import { addTenant, deliverAll, eventually, publishOrders, startLedger, statusesOf } from "../orders-platform.ts"
import { startPlatform } from "../platform-process.ts"
import { unpackRelease } from "./releases.ts"

export interface StoredFolder {
  readonly commit: string
  /** Of its first administrator: it opens nothing but this folder. */
  readonly key: string
  /** Path of the tenant's endpoint. */
  readonly hook: string
  readonly orders: number
}
const databases = ["journal.db", "vault.db"]
const fixtures = new URL("../fixtures/", import.meta.url).pathname

/** Lays a stored folder out at `<folder>/data`, with its master key beside it. */
export const layStored = (name: string, folder: string): StoredFolder => {
  mkdirSync(join(folder, "data"), { recursive: true, mode: 0o700 })
  for (const database of databases)
    writeFileSync(join(folder, "data", database), gunzipSync(readFileSync(join(fixtures, name, `${database}.gz`))), { mode: 0o600 })
  writeFileSync(join(folder, "master.key"), readFileSync(join(fixtures, name, "master.key")), { mode: 0o600 })
  return JSON.parse(readFileSync(join(fixtures, name, "folder.json"), "utf8")) as StoredFolder
}

const make = async (commit: string, name: string): Promise<void> => {
  const scratch = mkdtempSync(join(tmpdir(), "tributary-release-"))
  const orders = 12
  const platform = await startPlatform({}, join(scratch, "platform"), unpackRelease(commit, join(scratch, "code")))
  const ledger = await startLedger(scratch)
  await publishOrders(platform)
  const hook = await addTenant(platform, "acme-corp", ledger)
  await deliverAll(hook, 0, orders)
  await eventually(async () => (await statusesOf(platform, "acme-corp"))["succeeded"] === orders, 30_000)
  await platform.stop()
  await ledger.end()
  const target = join(fixtures, name)
  mkdirSync(target, { recursive: true })
  for (const database of databases)
    writeFileSync(join(target, `${database}.gz`), gzipSync(readFileSync(join(platform.folder, "data", database)), { level: 9 }))
  writeFileSync(join(target, "master.key"), readFileSync(join(platform.folder, "master.key")))
  const stored: StoredFolder = { commit, key: platform.key, hook: new URL(hook).pathname, orders }
  writeFileSync(join(target, "folder.json"), `${JSON.stringify(stored, null, 2)}\n`)
  rmSync(scratch, { recursive: true })
}

if (import.meta.main) await make(process.argv[2]!, process.argv[3]!)
