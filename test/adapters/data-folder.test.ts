/** The data folder: one process at a time, and a lock that dies with it. */
import { spawn } from "node:child_process"
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { afterAll, assert, describe, it } from "vitest"
import { DataFolder, DataFolderInUse, holderOf } from "#adapters/sqlite/data-folder.ts"

const root = mkdtempSync(join(tmpdir(), "tributary-folder-"))
afterAll(() => rmSync(root, { recursive: true, force: true }))
let counter = 0
const place = () => join(root, String(++counter), "data")
const held = <A, E>(path: string, effect: Effect.Effect<A, E, DataFolder>) => Effect.provide(effect, DataFolder.layer(path))
const refusal = (path: string) => Effect.map(Effect.result(held(path, Effect.void)), (result) => Result.getFailure(result).valueOrUndefined)

/** Another process that takes the folder, says so, and goes on until it is killed. */
const holdElsewhere = async (path: string, url: string) => {
  const script = `
    import { Effect } from "effect"
    import { DataFolder } from "#adapters/sqlite/data-folder.ts"
    const held = Effect.gen(function* () {
      yield* (yield* DataFolder).announce(${JSON.stringify(url)})
      process.stdout.write("held")
      yield* Effect.never
    })
    Effect.runFork(Effect.provide(held, DataFolder.layer(${JSON.stringify(path)})))
    setInterval(() => {}, 1000)`
  const child = spawn(process.execPath, ["--input-type=module-typescript", "-e", script], {
    cwd: new URL("../../", import.meta.url),
    stdio: ["ignore", "pipe", "inherit"]
  })
  await new Promise((resolve, reject) => {
    child.stdout.once("data", resolve)
    child.once("exit", () => reject(new Error("The other process ended.")))
  })
  const kill = () =>
    new Promise((resolve) => {
      child.once("exit", resolve)
      child.kill("SIGKILL")
    })
  return { pid: child.pid!, kill }
}

describe("the data folder", () => {
  it("is made for its owner alone, and closed to others when it was open", () =>
    Effect.runPromise(
      Effect.gen(function* () {
        const path = place()
        yield* held(path, Effect.void)
        assert.strictEqual(statSync(path).mode & 0o777, 0o700)
        chmodSync(path, 0o755)
        yield* held(path, Effect.void)
        assert.strictEqual(statSync(path).mode & 0o777, 0o700)
      })
    ))

  it("is refused to a second holder, and free again afterwards", () =>
    Effect.runPromise(
      Effect.gen(function* () {
        const path = place()
        yield* held(
          path,
          Effect.gen(function* () {
            const before = yield* refusal(path)
            assert.instanceOf(before, DataFolderInUse)
            assert.include(before!.message, `process ${process.pid}.`)
            yield* (yield* DataFolder).announce("http://127.0.0.1:8080")
            assert.include((yield* refusal(path))!.message, `process ${process.pid} at http://127.0.0.1:8080`)
            assert.deepStrictEqual(yield* holderOf(path), { pid: process.pid, url: "http://127.0.0.1:8080" })
            const server = join(path, "server.json")
            assert.deepStrictEqual(JSON.parse(readFileSync(server, "utf8")), { url: "http://127.0.0.1:8080", pid: process.pid })
            assert.strictEqual(statSync(server).mode & 0o777, 0o600)
          })
        )
        assert.isFalse(existsSync(join(path, "server.json")))
        assert.isNull(yield* holderOf(path))
        yield* held(path, Effect.void)
      })
    ))

  it("is refused while another process holds it, and free the moment that one is killed", async () => {
    const path = place()
    const holder = await holdElsewhere(path, "http://127.0.0.1:9999")
    try {
      const refused = await Effect.runPromise(refusal(path))
      assert.deepInclude(refused, { _tag: "DataFolderInUse", pid: holder.pid, url: "http://127.0.0.1:9999" })
      assert.deepStrictEqual(await Effect.runPromise(holderOf(path)), { pid: holder.pid, url: "http://127.0.0.1:9999" })
    } finally {
      await holder.kill()
    }
    assert.isNull(await Effect.runPromise(holderOf(path)))
    const died = Effect.map(DataFolder, ({ predecessorDied }) => predecessorDied)
    await Effect.runPromise(
      held(
        path,
        Effect.gen(function* () {
          assert.isFalse(existsSync(join(path, "server.json")), "the dead server is not announced any more")
          assert.isTrue(yield* died)
        })
      )
    )
    assert.isFalse(await Effect.runPromise(held(path, died)), "this one let go of it")
    assert.isFalse(await Effect.runPromise(held(place(), died)))
  })

  it("says what is wrong when it is no folder", () =>
    Effect.runPromise(
      Effect.gen(function* () {
        const path = place()
        mkdirSync(join(path, ".."))
        writeFileSync(path, "a file")
        const refused = yield* refusal(path)
        assert.strictEqual(refused?._tag, "DataFolderUnusable")
        assert.include(refused!.message, path)
      })
    ))

  it("has no holder when it does not exist", () => Effect.runPromise(Effect.map(holderOf(place()), (holder) => assert.isNull(holder))))
})
