/** The vault on MongoDB: nothing moved opens, processes agree on keys, and a lost server is neither a lost secret nor a restart. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { inspect as show } from "node:util"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import { MongoClient } from "mongodb"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import * as readModels from "#adapters/mongodb/read-models.ts"
import * as vault from "#adapters/mongodb/vault.ts"
import { VaultDatabase, type VaultDatabaseOptions } from "#adapters/mongodb/vault-database.ts"
import { Vault } from "#services/ports/vault.ts"
import { type StandIn, startStandIn } from "../../stand-ins/mongodb/start.ts"
import { newDatabase, standIn } from "../../support/mongodb.ts"
import { acme, masterKeyLayer, other } from "../installation.ts"

const ref = { owner: "integration-erp", field: "a" }
const otherRef = { owner: "integration-erp", field: "b" }

const layerOf = (options: VaultDatabaseOptions, masterKey = new Uint8Array(32).fill(7)) =>
  vault.layer.pipe(Layer.provideMerge(VaultDatabase.layer(options)), Layer.provide(masterKeyLayer(masterKey)))
const runtimeOf = (url: Redacted.Redacted<string>) => ManagedRuntime.make(layerOf({ url }))
type Run = ReturnType<typeof runtimeOf>
const put = (run: Run, secret: string, scope = acme, at = ref) =>
  run.runPromise(Effect.flatMap(Vault, (vault) => vault.put(scope, at, Redacted.make(secret))))
/** The secret, or the failure's tag and why. */
const get = (run: Run, scope = acme, at = ref) =>
  run.runPromise(
    Effect.flatMap(Vault, (vault) => vault.get(scope, at, 1)).pipe(
      Effect.map(Redacted.value),
      Effect.catch((failure) => Effect.succeed("why" in failure ? failure.why : failure._tag))
    )
  )
const refusal = async <A, E>(layer: Layer.Layer<A, E>) => {
  const failure = await Effect.runPromise(Effect.flip(Effect.scoped(Layer.build(layer))))
  return failure as unknown as { readonly kind: string; readonly message: string }
}

describe("the vault on MongoDB", () => {
  const server = standIn({ replicaSet: "rs0" })
  let raw: MongoClient
  beforeAll(async () => {
    raw = await new MongoClient(server.url(), { promoteBuffers: true }).connect()
  })
  afterAll(() => raw.close())
  const database = (url: Redacted.Redacted<string>) => raw.db(new URL(Redacted.value(url)).pathname.slice(1))

  it("opens no secret in another place, under another version, or with another tenant's key", async () => {
    const url = newDatabase(server.url())
    const fill = runtimeOf(url)
    for (const scope of [acme, other]) for (const at of [ref, otherRef]) await put(fill, "same", scope, at)
    await fill.dispose()
    const secrets = database(url).collection("secrets")
    const find = async (scope: string, field: string) => (await secrets.findOne({ scope, field }))!
    const sealOf = async (scope: string, field: string) => {
      const { keyVersion, salt, sealed } = await find(scope, field)
      return { keyVersion, salt, sealed }
    }
    const opened = async () => {
      const run = runtimeOf(url)
      const found = [await get(run), await get(run, acme, otherRef), await get(run, other), await get(run, other, otherRef)]
      await run.dispose()
      return found
    }
    assert.deepStrictEqual(await opened(), ["same", "same", "same", "same"])
    await secrets.updateOne({ scope: acme.key, field: "b" }, { $set: await sealOf(acme.key, "a") })
    await secrets.updateOne({ scope: other.key, field: "a" }, { $set: await sealOf(acme.key, "a") })
    await secrets.updateOne({ scope: other.key, field: "b" }, { $set: { version: 2 } })
    assert.deepStrictEqual(await opened(), ["same", "damaged", "damaged", "damaged"])
    assert.notInclude(JSON.stringify(await secrets.find({}).toArray()), Buffer.from("same").toString("base64"))
  })

  it("gives one key per version to all processes that make it at once", async () => {
    const url = newDatabase(server.url())
    const runs = Array.from({ length: 6 }, () => runtimeOf(url))
    const keys = await Promise.all(
      runs.map((run) =>
        run.runPromise(
          Effect.flatMap(VaultDatabase, ({ keys, journalId }) =>
            Effect.promise(async () => {
              const made = await Promise.all([keys.toSeal("t1", "log"), keys.toSeal("t1", "log"), keys.toSeal("t2", "name")])
              return [journalId, ...made.map(({ key, version }) => `${version}:${key.export().toString("hex")}`)]
            })
          )
        )
      )
    )
    for (const each of keys) assert.deepStrictEqual(each, keys[0])
    const stored = await database(url).collection("keys").find({}).toArray()
    assert.lengthOf(stored, 2)
    const raws = keys[0]!.slice(1).map((text) => Buffer.from(text.split(":")[1]!, "hex"))
    for (const { wrapped } of stored) for (const raw of raws) assert.isFalse(Buffer.from(wrapped).includes(raw))
    await Promise.all(runs.map((run) => run.dispose()))
  })

  it("counts a secret's versions on when many put it at once", async () => {
    const url = newDatabase(server.url())
    const runs = [runtimeOf(url), runtimeOf(url)]
    const versions = await Promise.all(Array.from({ length: 6 }, (_, index) => put(runs[index % 2]!, `secret ${index}`)))
    assert.deepStrictEqual(versions.map(({ version }) => version).sort(), [1, 2, 3, 4, 5, 6])
    const last = versions.findIndex(({ version }) => version === 6)
    for (const run of runs) assert.strictEqual(await get(run), `secret ${last}`)
    await Promise.all(runs.map((run) => run.dispose()))
  })

  it("gives a log key a new version after a month, and opens with the old one", async () => {
    const url = newDatabase(server.url())
    const seal = (run: Run, text: string) => run.runPromise(Effect.flatMap(Vault, (vault) => vault.sealField(acme, "f", text)))
    const first = runtimeOf(url)
    const early = await seal(first, "early")
    await first.dispose()
    await database(url)
      .collection("keys")
      .updateOne({ purpose: "log" }, { $set: { madeAt: Date.now() - 31 * 24 * 3600_000 } })
    const second = runtimeOf(url)
    const late = await seal(second, "late")
    assert.deepStrictEqual([early[0], late[0]], ["1", "2"])
    for (const [sealed, text] of [
      [early, "early"],
      [late, "late"]
    ] as const)
      assert.strictEqual(await second.runPromise(Effect.flatMap(Vault, (vault) => vault.openField(acme, "f", sealed))), text)
    await second.dispose()
  })

  it("opens nothing of a scope whose keys were destroyed", async () => {
    const url = newDatabase(server.url())
    const first = runtimeOf(url)
    await put(first, "gone")
    await put(first, "stays", other)
    await first.dispose()
    await database(url).collection("keys").deleteMany({ scope: acme.key })
    const second = runtimeOf(url)
    assert.deepStrictEqual([await get(second), await get(second, other)], ["absent", "stays"])
    await second.dispose()
  })

  it("keeps large contents until they are removed", async () => {
    const run = runtimeOf(newDatabase(server.url()))
    await run.runPromise(
      Effect.flatMap(VaultDatabase, ({ largeContents }) =>
        Effect.promise(async () => {
          const content = Buffer.alloc(1_500_000, 7)
          for (const id of ["a", "b", "c"]) await largeContents.put(id, content)
          await largeContents.put("b", Buffer.from("again"))
          assert.isTrue(content.equals((await largeContents.get("a"))!))
          assert.strictEqual(Buffer.from((await largeContents.get("b"))!).toString(), "again")
          assert.deepStrictEqual(await largeContents.putBefore(0, null, 10), [])
          await largeContents.remove(["a", "c", "missing"])
          assert.isUndefined(await largeContents.get("a"))
          assert.strictEqual(Buffer.from((await largeContents.get("b"))!).toString(), "again")
        })
      )
    )
    await run.dispose()
  })

  it("gives large contents that may be orphans in order, page by page, until they are referred to or removed", async () => {
    const url = newDatabase(server.url())
    const run = runtimeOf(url)
    await run.runPromise(
      Effect.flatMap(VaultDatabase, ({ largeContents }) =>
        Effect.promise(async () => {
          for (const id of ["a", "b", "c", "d"]) await largeContents.put(id, Buffer.from(id))
          // Two of one moment, and none in the order of their names.
          for (const [id, putAt] of [
            ["a", 30],
            ["b", 10],
            ["c", 20],
            ["d", 20]
          ] as const)
            await database(url).collection<{ _id: string }>("contents").updateOne({ _id: id }, { $set: { putAt } })
          const ids = async (time: number) => {
            const found: Array<string> = []
            for (let after: { id: string; putAt: number } | null = null; ; ) {
              const page: ReadonlyArray<{ id: string; putAt: number }> = await largeContents.putBefore(time, after, 1)
              if (page.length === 0) return found
              after = page[0]!
              found.push(after.id)
            }
          }
          assert.deepStrictEqual([await ids(31), await ids(30), await ids(10)], [["b", "c", "d", "a"], ["b", "c", "d"], []])
          await largeContents.markReferenced({ id: "c", putAt: 20 })
          await largeContents.markReferenced({ id: "d", putAt: 19 })
          assert.deepStrictEqual(await ids(31), ["b", "d", "a"])
          assert.isFalse(await largeContents.removePut({ id: "a", putAt: 31 }))
          assert.isTrue(await largeContents.removePut({ id: "b", putAt: 10 }))
          assert.deepStrictEqual(await ids(31), ["d", "a"])
          await largeContents.put("c", Buffer.from("again"))
          assert.deepStrictEqual(await ids(31), ["d", "a"])
          assert.deepStrictEqual(await ids(Date.now() + 1), ["d", "a", "c"])
        })
      )
    )
    await run.dispose()
  })

  it("refuses another master key, another journal's vault, a database of something else, and a single server", async () => {
    const url = newDatabase(server.url())
    const made = ManagedRuntime.make(layerOf({ url, journalId: "journal-1" }))
    assert.strictEqual(await made.runPromise(Effect.map(VaultDatabase, ({ journalId }) => journalId)), "journal-1")
    await made.dispose()
    const wrong = await refusal(layerOf({ url }, new Uint8Array(32).fill(8)))
    assert.strictEqual(wrong.kind, "WrongMasterKey")
    assert.strictEqual((await refusal(layerOf({ url, journalId: "journal-2" }))).kind, "WrongJournal")
    assert.strictEqual((await refusal(readModels.layer({ url, journalId: "journal-1" }))).kind, "WrongDatabase")
    const views = newDatabase(server.url())
    await Effect.runPromise(Effect.scoped(Layer.build(readModels.layer({ url: views, journalId: "journal-1" }))))
    assert.strictEqual((await refusal(layerOf({ url: views }))).kind, "WrongDatabase")
  })

  it("takes a write whose answer was lost for what it is", async () => {
    const url = newDatabase(server.url())
    const run = runtimeOf(url)
    await put(run, "one")
    const fail = (failCommands: ReadonlyArray<string>, times: number) =>
      raw.db("admin").command({
        configureFailPoint: "failCommand",
        mode: { times },
        data: { failCommands, closeConnection: true, afterwards: true }
      })
    for (let version = 2; version < 5; version++) {
      await fail(["update"], 1)
      assert.strictEqual((await put(run, `secret ${version}`)).version, version)
      assert.strictEqual(await get(run), `secret ${version}`)
    }
    await fail(["insert"], 2) // Beyond what the driver repeats by itself.
    const failure = await run.runPromise(Effect.result(Effect.flatMap(Vault, (vault) => vault.put(acme, otherRef, Redacted.make("two")))))
    assert.deepInclude(Result.getFailure(failure).valueOrUndefined, { _tag: "VaultUnavailable", written: "unknown" })
    assert.include(Result.getFailure(failure).valueOrUndefined!.message, "Whether it was changed is not known yet.")
    await put(run, "three", acme, otherRef)
    assert.strictEqual(await get(run, acme, otherRef), "three")
    await run.dispose()
  })
})

describe("the vault when its server goes", () => {
  const folder = mkdtempSync(join(tmpdir(), "tributary-vault-"))
  let server: StandIn
  afterAll(async () => {
    await server.stop()
    rmSync(folder, { recursive: true })
  })

  it("says so within its time, frozen or killed, keeps what it acknowledged, and goes on by itself", async () => {
    const secret = "c4nary-s3cret"
    server = await startStandIn({ replicaSet: "rs0", data: folder })
    const run = runtimeOf(newDatabase(server.url))
    await put(run, secret)
    const failing = async () => {
      const attempt = <A, E>(use: (vault: Vault["Service"]) => Effect.Effect<A, E>) =>
        run.runPromise(Effect.flip(Effect.flatMap(Vault, use)))
      const failures = await Promise.all([
        attempt((vault) => vault.put(acme, ref, Redacted.make(`${secret} of a put that was given up`))),
        attempt((vault) => vault.get(acme, ref, 1)),
        attempt((vault) => vault.remove(acme, otherRef))
      ])
      for (const failure of failures) {
        // None of them was sent: each looks first.
        assert.deepInclude(failure, { _tag: "VaultUnavailable", written: "no" })
        assert.notInclude(`${failure.message} ${show(failure, { depth: 20 })}`, secret)
      }
    }
    server.process.kill("SIGSTOP")
    await failing()
    server.process.kill("SIGCONT")
    assert.strictEqual(await get(run), secret)
    const { version } = await put(run, `${secret} again`)
    assert.strictEqual(version, 2, "what was told as not changed was not changed later on")
    await server.kill()
    await failing()
    server = await startStandIn({ replicaSet: "rs0", data: folder, port: server.port })
    assert.strictEqual(await get(run), `${secret} again`)
    assert.strictEqual((await put(run, secret)).version, version + 1)
    await run.dispose()
  })
})
