/** Backup and restore of an embedded installation: taken under load, restored elsewhere after a kill, and refused where it cannot be right. */
import { type ChildProcess, spawn } from "node:child_process"
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { pathToFileURL } from "node:url"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { backUp, readManifest, restoreInto } from "#adapters/sqlite/backup.ts"
import {
  addTenant,
  deliver,
  deliverAll,
  eventually,
  externalIdOf,
  type Ledger,
  publishOrders,
  startLedger,
  statusesOf
} from "../../faults/orders-platform.ts"
import { end, launch, type PlatformProcess, startPlatform } from "../../faults/platform-process.ts"

const main = new URL("../../../infra/main.ts", import.meta.url).pathname
const folder = mkdtempSync(join(tmpdir(), "tributary-backup-"))
const at = (...parts: ReadonlyArray<string>) => join(folder, ...parts)
const masterKeyFile = at("master.key")
const backupFolder = at("backup")
const restored = at("restored")

const tributary = (args: ReadonlyArray<string>, env: Readonly<Record<string, string>> = {}) =>
  new Promise<{ readonly code: number | null; readonly out: string; readonly error: string }>((done) => {
    const child = spawn(process.execPath, [main, ...args, "--json"], {
      env: { ...process.env, TRIBUTARY_MASTER_KEY_FILE: masterKeyFile, NO_COLOR: "1", ...env }
    })
    const texts = { out: "", error: "" }
    child.stdout.on("data", (chunk) => {
      texts.out += chunk
    })
    child.stderr.on("data", (chunk) => {
      texts.error += chunk
    })
    child.on("close", (code) => done({ code, ...texts }))
  })
const refusal = async (work: Promise<unknown>): Promise<string> => {
  try {
    await work
  } catch (cause) {
    return (cause as Error).message
  }
  return assert.fail("it was done")
}

const query = <A>(file: string, look: (database: DatabaseSync) => A): A => {
  const url = pathToFileURL(file)
  url.searchParams.set("immutable", "1")
  const database = new DatabaseSync(url, { readOnly: true })
  try {
    return look(database)
  } finally {
    database.close()
  }
}
const keysOf = (backup: string): ReadonlySet<string> =>
  query(
    join(backup, "vault.db"),
    (vault) =>
      new Set(
        vault
          .prepare("SELECT scope || '/' || version AS key FROM wrapped_keys WHERE purpose = 'log'")
          .all()
          .map(({ key }) => String(key))
      )
  )
const keyedScopes = (backup: string): number => keysOf(backup).size
/** How many keys the journal's contents are sealed with, and those that the vault has not. */
const sealedWithoutKey = (backup: string): readonly [number, ReadonlyArray<string>] => {
  const sealed = query(join(backup, "journal.db"), (journal) =>
    journal
      .prepare(
        `SELECT DISTINCT c.key || '/' || a.key_version AS key FROM appends a JOIN streams s ON s.id = a.stream_id
         JOIN scopes c ON c.id = s.scope_id WHERE a.key_version IS NOT NULL`
      )
      .all()
      .map(({ key }) => String(key))
  )
  const there = keysOf(backup)
  return [sealed.length, sealed.filter((key) => !there.has(key))]
}

let ledger: Ledger
let platform: PlatformProcess
let successor: ChildProcess | undefined
/** Orders that were acknowledged before the backup began, and before it ended. */
let before: ReadonlyArray<number> = []
let during = 0
let newcomers = 0

beforeAll(async () => {
  ledger = await startLedger(folder, 150)
  platform = await startPlatform({ TRIBUTARY_MASTER_KEY_FILE: masterKeyFile }, folder)
  await publishOrders(platform)
  const hook = await addTenant(platform, "acme", ledger)
  const acknowledged: Array<number> = []
  let over = false
  const load = deliverAll(hook, 0, 20_000, { atOnce: 4, delivered: (index) => void acknowledged.push(index), isOver: () => over })
  assert.isTrue(await eventually(() => acknowledged.length >= 100, 30_000))
  before = [...acknowledged]
  const { code, error } = await tributary(["backup", "--data", at("data"), "--to", backupFolder])
  during = acknowledged.length - before.length
  assert.strictEqual(code, 0, error)
  await backUp(at("data"), at("live"), "test", async () => {
    await deliver(await addTenant(platform, `newcomer-${newcomers++}`, ledger), 100_000 + newcomers)
  })
  await platform.kill()
  over = true
  // Senders repeat what was not answered until nobody can answer any more.
  await Promise.race([load, eventually(() => false, 200)])
}, 120_000)
afterAll(async () => {
  if (successor !== undefined) await end(successor)
  await platform.kill()
  await ledger.end()
  rmSync(folder, { recursive: true, force: true })
})

describe("a backup under load", () => {
  it("is taken while deliveries go on being acknowledged", () => assert.isAbove(during, 0))
  it("holds journal, vault and manifest, for their owner alone, and neither views nor the master key", () => {
    assert.deepStrictEqual(readdirSync(backupFolder).sort(), ["journal.db", "manifest.json", "vault.db"])
    for (const name of readdirSync(backupFolder)) assert.strictEqual(statSync(join(backupFolder, name)).mode & 0o077, 0, name)
  })
  it("has the key of everything that is sealed, also of tenants that came between the copies", () => {
    const [sealed, missing] = sealedWithoutKey(at("live"))
    assert.isAbove(sealed, 0)
    assert.deepStrictEqual(missing, [])
    assert.isAbove(keyedScopes(at("live")), keyedScopes(backupFolder))
  })
  it("is restored elsewhere with everything that was acknowledged before it, and its runs go on", async () => {
    const { code, out, error } = await tributary(["restore", "--from", backupFolder, "--data", restored])
    assert.strictEqual(code, 0, error)
    assert.strictEqual(JSON.parse(out).head, readManifest(backupFolder).head)
    const started = await launch(main, ["start", "--port", "0", "--data", restored], /Tributary runs at (\S+) /u, {
      TRIBUTARY_MASTER_KEY_FILE: masterKeyFile,
      TRIBUTARY_EGRESS_ALLOW: "127.0.0.1",
      TRIBUTARY_LOG_LEVEL: "Warn"
    })
    successor = started.child
    const url = started.match[1]!
    const api: PlatformProcess["api"] = async (method, path) => {
      const response = await fetch(`${url}/api/v1${path}`, { method, headers: { "x-api-key": platform.key } })
      return (await response.json()) as never
    }
    const runs = { ...platform, url, api }
    const settled = await eventually(async () => {
      const statuses = await statusesOf(runs, "acme").catch(() => ({}) as Readonly<Record<string, number>>)
      return (statuses["succeeded"] ?? 0) >= before.length && (statuses["running"] ?? 0) === 0
    }, 60_000)
    assert.isTrue(settled, started.output())
    const entered = ledger.orders()
    assert.deepStrictEqual(
      before.map(externalIdOf).filter((order) => !entered.has(order)),
      []
    )
    assert.deepStrictEqual(ledger.doubled(), [])
  })
})

describe("a backup", () => {
  it("is taken of an installation that was killed, with what was not yet in its main file", async () => {
    const { head } = await backUp(at("data"), at("second"), "test")
    assert.isAtLeast(head, readManifest(backupFolder).head)
  })
  it("overwrites nothing", async () => {
    mkdirSync(at("full"))
    writeFileSync(at("full", "mine"), "mine")
    assert.include(await refusal(backUp(at("data"), at("full"), "test")), "overwrites nothing")
    assert.deepStrictEqual(readdirSync(at("full")), ["mine"])
  })
  it("is refused of a folder that holds no installation", async () => {
    assert.include(await refusal(backUp(at("full"), at("none"), "test")), "holds no installation")
    assert.isFalse(existsSync(at("none")))
  })
  it("is refused of a damaged journal, and leaves nothing that looks like one", async () => {
    cpSync(at("data"), at("damaged"), { recursive: true })
    const journal = new DatabaseSync(at("damaged", "journal.db"))
    journal.exec("UPDATE appends SET events = events || ' ' WHERE position = (SELECT max(position) FROM appends)")
    journal.close()
    assert.include(await refusal(backUp(at("damaged"), at("third"), "test")), "The journal is damaged")
    assert.deepStrictEqual(readdirSync(at("third")), [])
  })
})

describe("a restore", () => {
  const restore = (name: string, from = backupFolder) => restoreInto(from, readManifest(from), at(name))
  const copy = (name: string) => cpSync(backupFolder, at(name), { recursive: true })
  it("overwrites nothing", async () => {
    assert.include(await refusal(restore("full")), "overwrites nothing")
    assert.deepStrictEqual(readdirSync(at("full")), ["mine"])
  })
  it("is refused of a backup that was not finished", () => {
    copy("unfinished")
    rmSync(at("unfinished", "manifest.json"))
    assert.throws(() => readManifest(at("unfinished")), /no whole backup/u)
  })
  it("is refused of a backup that was changed, and leaves the folder empty", async () => {
    copy("changed")
    const file = openSync(at("changed", "vault.db"), "r+")
    writeSync(file, Buffer.from([0xff]), 0, 1, 5_000)
    mkdirSync(at("target"))
    assert.include(await refusal(restore("target", at("changed"))), "its hash differs")
    assert.deepStrictEqual(readdirSync(at("target")), [])
  })
  it("is refused of a newer release's backup", () => {
    copy("newer")
    const manifest = JSON.parse(readFileSync(at("newer", "manifest.json"), "utf8"))
    writeFileSync(at("newer", "manifest.json"), JSON.stringify({ ...manifest, format: 2, version: "9.0.0" }))
    assert.throws(() => readManifest(at("newer")), /newer release 9\.0\.0/u)
  })
  it("is refused without the master key, and makes none", async () => {
    const lost = at("lost.key")
    const { code, error } = await tributary(["restore", "--from", backupFolder, "--data", at("elsewhere")], {
      TRIBUTARY_MASTER_KEY_FILE: lost
    })
    assert.strictEqual(code, 1)
    assert.include(JSON.parse(error).detail, `is not at ${lost}`)
    assert.isFalse(existsSync(lost))
    assert.isFalse(existsSync(at("elsewhere")))
  })
  it("is refused with another master key", async () => {
    const key = Buffer.alloc(32, 1).toString("base64")
    const { code, error } = await tributary(["restore", "--from", backupFolder, "--data", at("elsewhere")], { TRIBUTARY_MASTER_KEY: key })
    assert.strictEqual(code, 1)
    assert.include(JSON.parse(error).detail, "wrapped by the master key")
    assert.isFalse(existsSync(at("elsewhere")))
  })
  it("is refused where the environment names servers", async () => {
    const servers = Object.fromEntries(["JOURNAL", "BUS", "READ_MODELS", "VAULT"].map((name) => [`TRIBUTARY_${name}`, "x://y"]))
    const { code, error } = await tributary(["restore", "--from", backupFolder, "--data", at("elsewhere")], servers)
    assert.strictEqual(code, 1)
    assert.include(JSON.parse(error).detail, "docs/operations.md")
  })
})
