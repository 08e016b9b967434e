/** Wiping what the log can make again, and refusing what it cannot: on a folder, on a real nats-server and on the stand-in for MongoDB. */
import { spawn } from "node:child_process"
import { existsSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import { MongoClient } from "mongodb"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import * as mongoReadModels from "#adapters/mongodb/read-models.ts"
import { VaultDatabase } from "#adapters/mongodb/vault-database.ts"
import { Nats } from "#adapters/nats/connection.ts"
import { prefixOf, workStreamName } from "#adapters/nats/work-stream.ts"
import type { Position } from "#domain/ids.ts"
import type { Scope } from "#domain/scope.ts"
import { Bus } from "#services/ports/bus.ts"
import { ReadModels } from "#services/ports/read-models.ts"
import { acme, masterKeyLayer } from "../../adapters/installation.ts"
import { type PlatformProcess, startPlatform } from "../../faults/platform-process.ts"
import { standIn } from "../../support/mongodb.ts"
import { connectionTo, natsBus } from "../../support/nats-layers.ts"
import { installedVersion, type NatsServer, startNatsServer } from "../../support/nats-server.ts"

const main = new URL("../../../infra/main.ts", import.meta.url).pathname
const folder = mkdtempSync(join(tmpdir(), "tributary-wipe-"))
const data = join(folder, "data")
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const tributary = (args: ReadonlyArray<string>, env: Readonly<Record<string, string>> = {}) =>
  new Promise<{ readonly code: number | null; readonly text: string }>((done) => {
    const child = spawn(process.execPath, [main, ...args], { env: { ...process.env, NO_COLOR: "1", ...env } })
    let text = ""
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding("utf8").on("data", (chunk: string) => {
        text += chunk
      })
    child.on("close", (code) => done({ code, text }))
  })
const refused = async (args: ReadonlyArray<string>, env?: Readonly<Record<string, string>>): Promise<string> => {
  const { code, text } = await tributary(args, env)
  assert.strictEqual(code, 1, text)
  return text
}
const done = async (args: ReadonlyArray<string>, env?: Readonly<Record<string, string>>): Promise<string> => {
  const { code, text } = await tributary(args, env)
  assert.strictEqual(code, 0, text)
  return text
}

describe("wipe, of an embedded installation", () => {
  let platform: PlatformProcess
  beforeAll(async () => {
    platform = await startPlatform({}, folder)
  })
  afterAll(() => platform.kill())
  const key = { TRIBUTARY_MASTER_KEY_FILE: join(folder, "master.key") }

  it("never wipes the vault or the journal, and says why", async () => {
    assert.include(await refused(["wipe", "vault", "--data", data]), "keys of everything that is sealed")
    assert.include(await refused(["wipe", "journal", "--data", data]), "the only truth")
  })
  it("has no work queue to wipe", async () => assert.include(await refused(["wipe", "bus", "--data", data]), "in memory"))
  it("does not take the views from a running server", async () => {
    assert.include(await refused(["wipe", "views", "--data", data], key), "in use by process")
    assert.isTrue(existsSync(join(data, "views.db")))
  })
  it("deletes the views of a stopped one, which makes them again", async () => {
    await platform.api("POST", "/tenants", { id: "acme", plan: "growth" })
    await platform.kill()
    assert.include(await done(["wipe", "views", "--data", data], key), "is deleted")
    assert.isFalse(existsSync(join(data, "views.db")))
    await platform.start()
    const { items } = await platform.api<{ items: ReadonlyArray<{ id: string }> }>("GET", "/tenants")
    assert.deepStrictEqual(
      items.map(({ id }) => id),
      ["acme"]
    )
  })
  it("touches no folder that holds no installation", async () => {
    assert.include(await refused(["wipe", "views", "--data", join(folder, "nothing")]), "holds no installation")
    assert.isFalse(existsSync(join(folder, "nothing")))
  })
})

const masterKey = new Uint8Array(32).fill(7)
const journalId = "7d7f5a9e-0000-4000-8000-000000000001"
const environment = (mongodb: string, nats: string, views = "wipe_views"): Readonly<Record<string, string>> => ({
  TRIBUTARY_JOURNAL: "esdb://127.0.0.1:1?tls=false",
  TRIBUTARY_BUS: nats,
  TRIBUTARY_READ_MODELS: `${mongodb}/${views}`,
  TRIBUTARY_VAULT: `${mongodb}/wipe_vault`,
  TRIBUTARY_MASTER_KEY: Buffer.from(masterKey).toString("base64")
})

describe("wipe, of a distributed installation's MongoDB", () => {
  const mongodb = standIn()
  const nowhere = "nats://127.0.0.1:1"
  let nats: NatsServer
  const vaultDatabase = Effect.suspend(() =>
    Effect.provide(
      Effect.map(VaultDatabase, ({ journalId: id }) => id),
      VaultDatabase.layer({ url: Redacted.make(`${mongodb.url()}/wipe_vault`), journalId, replicaSet: "optional" }).pipe(
        Layer.provide(masterKeyLayer(masterKey))
      )
    )
  )
  const collections = async (database: string): Promise<ReadonlyArray<string>> => {
    const client = new MongoClient(mongodb.url())
    const found = await client.db(database).listCollections({}, { nameOnly: true }).toArray()
    await client.close()
    return found.map(({ name }) => name).sort()
  }
  beforeAll(async () => {
    await Effect.runPromise(vaultDatabase)
    if (installedVersion !== undefined) nats = await startNatsServer()
  })
  afterAll(() => nats?.remove())

  const scope: Scope = acme
  const at = (position: number) => String(position).padStart(16, "0") as Position
  const definition = { model: "things@1", fields: { name: "text" }, sorts: [["name"]] } as const
  const views = Layer.unwrap(Effect.sync(() => mongoReadModels.layer({ url: Redacted.make(`${mongodb.url()}/wipe_views`), journalId })))

  it("deletes all views under a process that works on them, which begins anew", () =>
    Effect.runPromise(
      Effect.gen(function* () {
        const models = yield* ReadModels
        const view = { key: scope.key, space: scope.space, id: "one", at: at(1), view: { name: "One" } }
        yield* models.define(definition as never)
        assert.strictEqual(yield* models.apply(definition.model, null, at(1), [view]), "applied")
        const text = yield* Effect.promise(() => done(["wipe", "views"], environment(mongodb.url(), nowhere)))
        assert.include(text, "1 models and 1 collections")
        assert.strictEqual(yield* models.apply(definition.model, at(1), at(2), []), "stale")
        assert.isNull(yield* models.checkpoint(definition.model))
        assert.strictEqual(yield* models.apply(definition.model, null, at(1), [view]), "applied")
        assert.deepStrictEqual(yield* models.get(definition.model, scope, "one"), { name: "One" })
      }).pipe(Effect.provide(views), Effect.scoped)
    ))
  it("never wipes a vault that is named as views", async () => {
    const before = await collections("wipe_vault")
    const text = await refused(["wipe", "views"], environment(mongodb.url(), nowhere, "wipe_vault"))
    assert.include(text, `it holds the vault of the journal ${journalId}`)
    assert.deepStrictEqual(await collections("wipe_vault"), before)
    assert.strictEqual(await Effect.runPromise(vaultDatabase), journalId)
  })
  it("never wipes a vault that has lost its identity, nor anything else that is not views", async () => {
    const client = new MongoClient(mongodb.url())
    await client.db("wipe_orphan").collection("keys").insertOne({ wrapped: 1 })
    await client.close()
    assert.include(await refused(["wipe", "views"], environment(mongodb.url(), nowhere, "wipe_orphan")), "something else than views (keys)")
    assert.deepStrictEqual(await collections("wipe_orphan"), ["keys"])
  })
  it("refuses the vault and the journal there, too", async () => {
    assert.include(await refused(["wipe", "vault"], environment(mongodb.url(), nowhere)), "no log makes it anew")
    assert.include(await refused(["wipe", "journal"], environment(mongodb.url(), nowhere)), "the only truth")
  })
  it("says which server cannot be reached", async () =>
    assert.include(await refused(["wipe", "views"], environment("mongodb://127.0.0.1:1", nowhere)), "127.0.0.1:1/wipe_views"))

  describe.skipIf(installedVersion === undefined)("and of its NATS", () => {
    const prefix = prefixOf(journalId)
    const streams = Effect.suspend(() =>
      Effect.flatMap(Nats, ({ streams }) => Effect.promise(() => streams.streams.names().next())).pipe(
        Effect.provide(connectionTo(nats.url)),
        Effect.scoped
      )
    )
    it("deletes its work queue and no other one; a bus that is at work makes it again", () =>
      Effect.runPromise(
        Effect.gen(function* () {
          const other = yield* Layer.build(natsBus(nats.url, { prefix: "tributary-another" }))
          assert.isDefined(other)
          const bus = yield* Bus
          // As a sweeper does, which looks for open work again and again.
          const announcing = Effect.forever(Effect.andThen(bus.announce(scope), Effect.sleep(100)))
          const ticket = Effect.flatMap(Stream.runHead(bus.work), (taken) => Option.getOrThrow(taken).done)
          yield* Effect.raceFirst(ticket, announcing)
          const text = yield* Effect.promise(() => done(["wipe", "bus"], environment(mongodb.url(), nats.url)))
          assert.include(text, `The work queue ${workStreamName(prefix)}`)
          yield* Effect.raceFirst(ticket, announcing)
          yield* Effect.raceFirst(ticket, announcing)
          assert.deepStrictEqual([...(yield* streams)].sort(), ["tributary-another-work", workStreamName(prefix)].sort())
        }).pipe(Effect.provide(natsBus(nats.url, { prefix })), Effect.scoped)
      ))
    it("says so when there is none", async () => {
      await done(["wipe", "bus"], environment(mongodb.url(), nats.url))
      assert.include(await done(["wipe", "bus"], environment(mongodb.url(), nats.url)), "There was no work queue")
    })
    it("says which server cannot be reached", async () =>
      assert.include(await refused(["wipe", "bus"], environment(mongodb.url(), nowhere)), "NATS at 127.0.0.1:1"))
  })
})
