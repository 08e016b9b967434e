/** The process: what it prints, what it leaves, and how it stops. */
import { type ChildProcess, spawn } from "node:child_process"
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, assert, describe, it } from "vitest"

const folder = mkdtempSync(join(tmpdir(), "tributary-start-"))
const data = join(folder, "data")
const keyFile = join(folder, "master.key")
afterAll(() => rmSync(folder, { recursive: true, force: true }))

interface Started {
  readonly process: ChildProcess
  readonly url: string
  readonly output: () => string
  readonly errors: () => string
  readonly ended: Promise<number | null>
}
const run = (flags: ReadonlyArray<string>, environment: Readonly<Record<string, string>> = {}) => {
  const entry = new URL("../../infra/tributary.mjs", import.meta.url).pathname
  const child = spawn(process.execPath, [entry, "start", ...flags], {
    env: { ...process.env, TRIBUTARY_MASTER_KEY_FILE: keyFile, ...environment },
    stdio: ["ignore", "pipe", "pipe"]
  })
  let output = ""
  let errors = ""
  child.stdout.on("data", (chunk) => {
    output += chunk
  })
  child.stderr.on("data", (chunk) => {
    errors += chunk
  })
  const ended = new Promise<number | null>((resolve) => child.on("close", resolve))
  return { process: child, output: () => output, errors: () => errors, ended }
}
/** Started once the banner is there and the API answers. */
const start = async (flags: ReadonlyArray<string> = []): Promise<Started> => {
  const started = run(["--port", "0", "--data", data, ...flags])
  const url = await new Promise<string>((resolve, reject) => {
    started.process.stdout!.on("data", () => {
      const found = /runs at (http:\S+)/.exec(started.output())
      if (found !== null) resolve(found[1]!)
    })
    void started.ended.then((code) => reject(new Error(`It ended with ${code}: ${started.errors()}`)))
  })
  assert.strictEqual((await fetch(`${url}/openapi.json`)).status, 200)
  return { ...started, url }
}

const keyIn = (text: string): string | undefined => /trib_\w+/.exec(text)?.[0]

describe("tributary start", () => {
  let key = ""

  it("shows the first admin key on the first start alone", async () => {
    const first = await start()
    key = keyIn(first.output())!
    assert.strictEqual((await fetch(`${first.url}/api/v1/system`, { headers: { "x-api-key": key } })).status, 200)
    assert.include(first.output(), data)
    assert.include(first.output(), keyFile)
    first.process.kill("SIGTERM")
    assert.strictEqual(await first.ended, 0)

    const second = await start()
    assert.isUndefined(keyIn(second.output()))
    assert.strictEqual((await fetch(`${second.url}/api/v1/system`, { headers: { "x-api-key": key } })).status, 200)
    second.process.kill("SIGINT")
    assert.strictEqual(await second.ended, 0)
  }, 30_000)

  it("lets nobody else look into the data folder, and keeps the key out of it", async () => {
    assert.strictEqual(statSync(data).mode & 0o077, 0)
    const journal = readFileSync(join(data, "journal.db"))
    assert.isFalse(journal.includes(key.split("_")[3]!))
  })

  it("tells commands where it runs, as long as it does", async () => {
    const started = await start()
    const file = join(data, "server.json")
    assert.strictEqual(JSON.parse(readFileSync(file, "utf8")).url, started.url)
    started.process.kill("SIGTERM")
    await started.ended
    assert.isFalse(existsSync(file))
  }, 30_000)

  it("stops with live streams open, and ends them", async () => {
    const started = await start()
    const headers = { "x-api-key": key, "content-type": "application/json" }
    await fetch(`${started.url}/api/v1/tenants`, { method: "POST", headers, body: '{"id":"acme"}' })
    const stream = await fetch(`${started.url}/api/v1/tenants/acme/executions/stream`, { headers })
    assert.strictEqual(stream.status, 200)
    const read = stream.text()
    started.process.kill("SIGTERM")
    assert.strictEqual(await started.ended, 0)
    assert.isString(await read)
  }, 30_000)

  it("says why it cannot start, and ends with 1", async () => {
    const started = await start()
    const port = new URL(started.url).port
    const other = run(["--port", port, "--data", join(folder, "other")])
    assert.strictEqual(await other.ended, 1)
    assert.include(other.errors(), `Cannot listen on 127.0.0.1:${port} (EADDRINUSE)`)
    const engine = run(["--data", data], { TRIBUTARY_BUS: "nats://x" })
    assert.strictEqual(await engine.ended, 1)
    assert.include(engine.errors(), "TRIBUTARY_BUS")
    started.process.kill("SIGTERM")
    await started.ended
  }, 30_000)

  it("does not share its data folder with another process", async () => {
    const started = await start()
    const other = run(["--port", "0", "--data", data])
    assert.strictEqual(await other.ended, 1)
    started.process.kill("SIGTERM")
    assert.strictEqual(await started.ended, 0)
  }, 30_000)
})
