/** The command line as people use it: a real server on a folder of its own, and commands in processes of their own. */
import { type ChildProcess, spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { afterAll, assert, beforeAll, describe, it } from "vitest"

const folder = mkdtempSync(join(tmpdir(), "tributary-cli-"))
const data = join(folder, "data")
const main = new URL("../../../infra/main.ts", import.meta.url).pathname
const environment: Record<string, string | undefined> = {
  ...process.env,
  TRIBUTARY_MASTER_KEY_FILE: join(folder, "master.key"),
  NO_COLOR: "1"
}
for (const name of ["TRIBUTARY_URL", "TRIBUTARY_API_KEY", "TRIBUTARY_DATA"]) delete environment[name]

interface Ended {
  readonly code: number | null
  readonly out: string
  readonly error: string
}

const launch = (args: ReadonlyArray<string>, more: Record<string, string> = {}): ChildProcess =>
  spawn(process.execPath, [main, ...args], { env: { ...environment, ...more } })
const gather = (child: ChildProcess): Promise<Ended> =>
  new Promise((done) => {
    let out = ""
    let error = ""
    child.stdout?.on("data", (chunk) => {
      out += chunk
    })
    child.stderr?.on("data", (chunk) => {
      error += chunk
    })
    child.on("close", (code) => done({ code, out, error }))
  })

let server: ChildProcess
let key = ""
const startServer = (): Promise<string> =>
  new Promise((done, fail) => {
    server = launch(["start", "--port", "0", "--data", data])
    let text = ""
    server.stdout?.on("data", (chunk) => {
      text += chunk
      if (text.includes("Master key")) done(text)
    })
    server.once("exit", (code) => fail(new Error(`the server ended with ${code}`)))
  })
const stopServer = () =>
  new Promise<void>((done) => {
    server.removeAllListeners("exit").once("exit", () => done())
    server.kill("SIGTERM")
  })

/** On the server that runs on the folder, with its first key. */
const tributary = (...args: ReadonlyArray<string>) => gather(launch([...args, "--data", data], { TRIBUTARY_API_KEY: key }))
const json = async (...args: ReadonlyArray<string>) => {
  const { code, out, error } = await tributary(...args, "--json")
  assert.strictEqual(code, 0, error)
  return JSON.parse(out)
}
const checksOf = async () => {
  const { out } = await tributary("doctor", "--json")
  const { checks } = JSON.parse(out) as { checks: ReadonlyArray<{ check: string; status: string; detail: string }> }
  return Object.fromEntries(checks.map(({ check, status, detail }) => [check, `${status}: ${detail}`]))
}

beforeAll(async () => {
  key = /(trib_\S+)/u.exec(await startServer())?.[1] ?? ""
})
afterAll(async () => {
  if (server.exitCode === null && server.signalCode === null) await stopServer()
  rmSync(folder, { recursive: true, force: true })
})

describe("tributary", () => {
  it("finds the server that runs on the folder, and lists what it created there", async () => {
    assert.strictEqual((await json("tenants", "create", "ana@example.com", "--name", "Ana")).id, "ana@example.com")
    assert.deepStrictEqual(
      (await json("tenants", "list")).items.map(({ id }: { id: string }) => id),
      ["ana@example.com"]
    )
    assert.include((await tributary("tenants", "list")).out, "ana@example.com  active")
  })
  it("sets a setting, and explains who says so", async () => {
    await json("settings", "set", "runs.attemptsMax", "9", "--tenant", "ana@example.com")
    const { value, winner } = await json("settings", "explain", "runs.attemptsMax", "--tenant", "ana@example.com")
    assert.deepStrictEqual([value, winner.level], [9, "tenant"])
  })
  it("says what the server refused, as text or as JSON, and ends with 1", async () => {
    const text = await tributary("runs", "list", "--tenant", "nobody")
    assert.deepStrictEqual([text.code, text.out], [1, ""])
    assert.include(text.error, "No such tenant (404)")
    const document = await tributary("runs", "list", "--tenant", "nobody", "--json")
    assert.strictEqual(document.code, 1)
    assert.strictEqual(JSON.parse(document.error).status, 404)
  })
  it("says where a key comes from when there is none", async () => {
    const { code, error } = await gather(launch(["tenants", "list", "--data", data]))
    assert.strictEqual(code, 1)
    assert.include(error, "tributary keys reset")
  })
  it("ends quietly when nobody reads on", async () => {
    const child = launch(["tenants", "list", "--data", data], { TRIBUTARY_API_KEY: key })
    child.stdout?.destroy()
    const { code, error } = await gather(child)
    assert.deepStrictEqual([code, error], [0, ""])
  })
  it("finds a running installation in order", async () => {
    const checks = await checksOf()
    for (const check of ["node", "rights", "journal", "events", "vault", "master key", "server"])
      assert.match(checks[check] ?? "not looked at", /^ok/u, check)
    assert.match(checks["backups"] ?? "", /^unknown/u)
  })
  it("makes no new key beside a running server", async () => {
    const { code, error } = await tributary("keys", "reset")
    assert.strictEqual(code, 1)
    assert.include(error, "Stop it first")
  })
  it("makes a new admin key on a stopped installation; the old one still works", async () => {
    await stopServer()
    const reset = await json("keys", "reset")
    assert.match(reset.key, /^trib_/u)
    await startServer()
    const first = key
    key = reset.key
    const made = await json("keys", "create", "with the new key")
    assert.match(made.key, /^trib_/u)
    key = first
    assert.strictEqual((await tributary("tenants", "list")).code, 0)
  })
  it("names an event that was changed behind its back", async () => {
    await stopServer()
    assert.match((await checksOf())["events"] ?? "", /^ok/u)
    const journal = new DatabaseSync(join(data, "journal.db"))
    journal.exec("UPDATE appends SET events = events || ' ' WHERE position = (SELECT min(position) FROM appends WHERE position > 2)")
    journal.close()
    const checks = await checksOf()
    assert.match(checks["events"] ?? "", /^failed: The event at position \d: its checksum does not fit/u)
    assert.match(checks["server"] ?? "", /^unknown/u)
    assert.strictEqual((await tributary("doctor")).code, 1)
  })
})
