/** Which server a command asks, and with which key. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { afterEach, assert, beforeEach, describe, it } from "vitest"
import { findServer, type Reach, runningServer, serverFile } from "#infra/cli/installation.ts"

let folder = ""
const kept = { ...process.env }
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tributary-reach-"))
  for (const name of ["TRIBUTARY_URL", "TRIBUTARY_API_KEY", "TRIBUTARY_DATA"]) delete process.env[name]
})
afterEach(() => {
  rmSync(folder, { recursive: true, force: true })
  process.env = { ...kept }
})

const flags = (given: { url?: string; key?: string; data?: string }): Reach => ({
  url: Option.fromNullishOr(given.url),
  key: Option.map(Option.fromNullishOr(given.key), (key) => Redacted.make(key)),
  data: Option.fromNullishOr(given.data),
  json: false
})
const announce = (document: unknown) => writeFileSync(serverFile(folder), JSON.stringify(document))
const found = async (given: Parameters<typeof flags>[0]) => {
  const exit = await Effect.runPromiseExit(findServer(flags(given)))
  if (Exit.isSuccess(exit)) return `${exit.value.url} ${Redacted.value(exit.value.key)}`
  return Option.getOrThrow(Exit.findErrorOption(exit)).problem.title
}

describe("a command", () => {
  it("asks the server that is named before all others", async () => {
    announce({ url: "http://127.0.0.1:2", pid: process.pid })
    process.env["TRIBUTARY_URL"] = "http://env"
    assert.strictEqual(await found({ url: "http://flag/", key: "k", data: folder }), "http://flag k")
  })
  it("asks the server of the folder that is named, before the one of the environment", async () => {
    announce({ url: "http://127.0.0.1:2", pid: process.pid })
    process.env["TRIBUTARY_URL"] = "http://env"
    assert.strictEqual(await found({ key: "k", data: folder }), "http://127.0.0.1:2 k")
    assert.strictEqual(await found({ key: "k" }), "http://env k")
  })
  it("takes the key from the flag, else from the environment", async () => {
    process.env["TRIBUTARY_API_KEY"] = "e"
    assert.strictEqual(await found({ url: "http://x", key: "f" }), "http://x f")
    assert.strictEqual(await found({ url: "http://x" }), "http://x e")
    delete process.env["TRIBUTARY_API_KEY"]
    assert.strictEqual(await found({ url: "http://x" }), "No API key")
  })
  it("does not guess a server", async () => {
    assert.strictEqual(await found({ data: folder, key: "k" }), "No server found")
    assert.strictEqual(await found({ url: "ftp://x", key: "k" }), "The URL cannot be used")
  })
})

describe("the file of a running server", () => {
  it("tells whether its process still lives", () => {
    announce({ url: "http://x", pid: process.pid })
    assert.isTrue(runningServer(folder)?.alive)
    announce({ url: "http://x", pid: 2 ** 22 + 1 })
    assert.isFalse(runningServer(folder)?.alive)
  })
  it("counts as none when it cannot be understood", () => {
    writeFileSync(serverFile(folder), '{"url":')
    assert.isUndefined(runningServer(folder))
  })
})
