/** Read models on MongoDB: answers like the embedded store's, whatever comes apart, is lost, or is done by two at once. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { MongoClient } from "mongodb"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { type HolderDocument, Holders } from "#adapters/mongodb/holders.ts"
import * as mongodb from "#adapters/mongodb/read-models.ts"
import * as sqlite from "#adapters/sqlite/read-models.ts"
import type { Position, SpaceKey, TenantKey } from "#domain/ids.ts"
import { spaceScope, tenantScope } from "#domain/scope.ts"
import { type Condition, type ModelDefinition, type Query, ReadModels, type StoredView } from "#services/ports/read-models.ts"
import { type StandIn, startStandIn } from "../../stand-ins/mongodb/start.ts"
import { newDatabase, standIn } from "../../support/mongodb.ts"
import { property } from "../../support/property.ts"

const space = spaceScope("saaaabbbbccccddddeee" as SpaceKey)
const tenants = [
  tenantScope(space.space, "tacmeacmeacmeacmeacm" as TenantKey),
  tenantScope(space.space, "tboltboltboltboltbol" as TenantKey)
]
const acme = tenants[0]!
const at = (position: number) => String(position).padStart(16, "0") as Position
const definition: ModelDefinition = {
  model: "things@1",
  fields: { text: "text", note: "text", number: "number", flag: "flag", time: "time" },
  sorts: [["text"], ["note", "number"], ["flag", "time", "text"]],
  acrossSpace: true
}
const stored = (id: string, position: number, view: Record<string, unknown> | null, scope: StoredView["key"] = acme.key): StoredView => ({
  key: scope,
  space: space.key,
  id,
  at: at(position),
  view: view && { id, ...view }
})

type Store = ReadModels["Service"]
const runtimeOf = (url: Redacted.Redacted<string>, journalId = "journal") => ManagedRuntime.make(mongodb.layer({ url, journalId }))
const using =
  <E>(runtime: ManagedRuntime.ManagedRuntime<ReadModels, E>) =>
  <A, F>(use: (store: Store) => Effect.Effect<A, F>): Promise<A> =>
    runtime.runPromise(Effect.flatMap(ReadModels, use))

// Few values, so that they meet; with text whose order by code points is not that of UTF-16.
const Text = Schema.Literals(["", "a", "ab", "abc", "b", "B", "é", "\uffee", "𝒳", "𝒳a", "a\u0000", "$gt", "by.text"])
const Numeric = Schema.Literals([0, -0.5, 1, 1.5, 2, 1e15, -1e15, 2 ** 31, 2 ** 40, Number.MAX_SAFE_INTEGER])
const Anything = Schema.Union([Text, Numeric, Schema.Boolean, Schema.Null, Schema.Array(Numeric)])
const Document = Schema.Struct({
  tenant: Schema.Literals([0, 1]),
  view: Schema.NullOr(
    Schema.Struct({
      text: Schema.optionalKey(Anything),
      note: Schema.optionalKey(Text),
      number: Schema.optionalKey(Anything),
      flag: Schema.optionalKey(Anything),
      time: Schema.optionalKey(Numeric),
      nested: Schema.optionalKey(Schema.Record(Text, Anything))
    })
  )
})
const range = Schema.Literals(["gte", "lte", "gt", "lt"])
const Where = Schema.Union([
  Schema.Struct({ field: Schema.Literals(["text", "note"]), is: Schema.Literal("eq"), value: Text }),
  Schema.Struct({ field: Schema.Literals(["text", "note"]), is: range, value: Text }),
  Schema.Struct({ field: Schema.Literals(["text", "note"]), is: Schema.Literal("prefix"), value: Text }),
  Schema.Struct({ field: Schema.Literals(["text", "note"]), is: Schema.Literal("in"), values: Schema.Array(Text) }),
  Schema.Struct({ field: Schema.Literals(["number", "time"]), is: Schema.Literal("eq"), value: Numeric }),
  Schema.Struct({ field: Schema.Literals(["number", "time"]), is: range, value: Numeric }),
  Schema.Struct({ field: Schema.Literals(["number", "time"]), is: Schema.Literal("in"), values: Schema.Array(Numeric) }),
  Schema.Struct({ field: Schema.Literal("flag"), is: Schema.Literal("eq"), value: Schema.Boolean })
])
const Asked = Schema.Struct({
  across: Schema.Boolean,
  where: Schema.Array(Where),
  sort: Schema.NullOr(Schema.Literals(["text", "note,number", "flag,time,text", ""])),
  descending: Schema.Boolean,
  limit: Schema.Literals([1, 2, 3, 500])
})

describe("MongoDB and the embedded store", () => {
  const server = standIn({ replicaSet: "rs0" })
  const embedded = ManagedRuntime.make(sqlite.layer({ file: ":memory:", journalId: "journal" }))
  let ours: ReturnType<typeof runtimeOf>
  beforeAll(() => {
    ours = runtimeOf(newDatabase(server.url()))
  })
  afterAll(() => Promise.all([ours.dispose(), embedded.dispose()]))
  let generation = 0
  let compared = 0

  /** All pages, and where each ended. */
  const pages = (store: Store, model: string, query: Query) =>
    Effect.gen(function* () {
      const items: Array<unknown> = []
      let cursor: string | null = null
      do {
        const page: { items: ReadonlyArray<unknown>; next: string | null } = yield* store.find(model, {
          ...query,
          ...(cursor === null ? {} : { cursor })
        })
        items.push(page.items)
        cursor = page.next
      } while (cursor !== null)
      return items
    })

  property(
    "answer alike, whatever is stored and asked",
    Schema.Struct({ documents: Schema.Array(Document), queries: Schema.Array(Asked) }),
    async ({ documents, queries }) => {
      const model = `things@1+${++generation}`
      const views = documents.map(({ tenant, view }, index) => stored(`v${index}`, index + 1, view, tenants[tenant]!.key))
      const answers = (store: Store) =>
        Effect.gen(function* () {
          yield* store.define({ ...definition, model })
          yield* store.apply(model, null, at(views.length + 1), views)
          const loaded = yield* store.load(
            model,
            views.map(({ key, id }) => ({ key, id }))
          )
          const found = yield* Effect.forEach(queries, ({ across, where, sort, descending, limit }) => {
            const scope = across ? { scope: space, across: space } : { scope: acme }
            const order = sort === null ? {} : { sort: sort === "" ? [] : sort.split(",") }
            const query: Query = { ...scope, where: where as ReadonlyArray<Condition>, ...order, descending, limit }
            return pages(store, model, query)
          })
          yield* store.drop(model)
          return { loaded, found }
        })
      const [mine, theirs] = await Promise.all([using(ours)(answers), using(embedded)(answers)])
      assert.deepStrictEqual(mine, theirs)
      compared += queries.length
    },
    { runs: 60 }
  )
  it("were compared by many queries", () => assert.isAbove(compared, 50))
})

for (const replicaSet of ["rs0", null]) {
  const form = replicaSet === null ? "a single MongoDB" : "MongoDB's replica set"
  describe(`views on ${form}`, () => {
    const server = standIn(replicaSet === null ? {} : { replicaSet })
    let raw: MongoClient
    beforeAll(async () => {
      raw = await new MongoClient(server.url()).connect()
    })
    afterAll(() => raw.close())
    const database = (url: Redacted.Redacted<string>) => raw.db(new URL(Redacted.value(url)).pathname.slice(1))
    const failPoint = (failCommands: ReadonlyArray<string>, times: number, data: object) =>
      raw.db("admin").command({ configureFailPoint: "failCommand", mode: { times }, data: { failCommands, ...data } })
    const filled = async (body: (use: ReturnType<typeof using>, url: Redacted.Redacted<string>) => Promise<void>) => {
      const url = newDatabase(server.url())
      const runtime = runtimeOf(url)
      const use = using(runtime)
      await use((store) =>
        Effect.andThen(
          store.define(definition),
          store.apply("things@1", null, at(10), [stored("a", 1, { text: "one" }), stored("b", 2, null)])
        )
      )
      await body(use as ReturnType<typeof using>, url)
      await runtime.dispose()
    }
    const textOf = (store: Store, id = "a") => Effect.map(store.get("things@1", acme, id), (view) => view?.["text"])

    it("says whether views and checkpoint are one", () =>
      filled(async (use) => assert.strictEqual(await use(({ facts }) => Effect.succeed(facts.atomicWithCheckpoint)), replicaSet !== null)))

    it("lets one of many runners through, each from a process of its own", () =>
      filled(async (_, url) => {
        const runtimes = Array.from({ length: 5 }, () => runtimeOf(url))
        const results = await Promise.all(
          runtimes.map((runtime, index) =>
            using(runtime)((store) => store.apply("things@1", at(10), at(11), [stored("a", 11, { text: `runner ${index}` })]))
          )
        )
        assert.deepStrictEqual([...results].sort(), ["applied", "stale", "stale", "stale", "stale"])
        if (replicaSet !== null)
          assert.strictEqual(await using(runtimes[0]!)((store) => textOf(store)), `runner ${results.indexOf("applied")}`)
        await Promise.all(runtimes.map((runtime) => runtime.dispose()))
      }))

    it("never replaces a view by an older one, nor a tombstone, among others that are written", () =>
      filled(async (use) => {
        await use((store) => store.apply("things@1", at(10), at(20), [stored("a", 15, { text: "new" }), stored("b", 16, null)]))
        const late = [stored("a", 14, { text: "old" }), stored("b", 15, { text: "old" }), stored("c", 3, { text: "first" })]
        assert.strictEqual(await use((store) => store.apply("things@1", at(20), at(21), late)), "applied")
        assert.deepStrictEqual(await use((store) => Effect.all([textOf(store), textOf(store, "b"), textOf(store, "c")])), [
          "new",
          undefined,
          "first"
        ])
      }))

    it("has whole batches or harmless pieces when it breaks between views and checkpoint, and the replay makes up for it", () =>
      filled(async (use) => {
        const batch = [stored("a", 12, { text: "two" }), stored("c", 13, { text: "three" })]
        const apply = (store: Store) => store.apply("things@1", at(10), at(14), batch)
        // On a single server the views are written and the answer is lost; in a transaction it breaks after the checkpoint.
        const breaks = replicaSet === null ? { command: "update", afterwards: true } : { command: "insert", afterwards: false }
        await failPoint([breaks.command], 20, { closeConnection: true, afterwards: breaks.afterwards })
        const failure = await use((store) => Effect.flip(apply(store)))
        assert.strictEqual(failure._tag, "ReadModelsUnavailable")
        await raw.db("admin").command({ configureFailPoint: "failCommand", mode: "off" })
        const checkpoint = await use((store) => store.checkpoint("things@1"))
        assert.strictEqual(checkpoint, at(10))
        assert.strictEqual(await use((store) => textOf(store)), replicaSet === null ? "two" : "one")
        assert.strictEqual(await use(apply), "applied")
        assert.deepStrictEqual(await use((store) => Effect.all([textOf(store), textOf(store, "c"), store.checkpoint("things@1")])), [
          "two",
          "three",
          at(14)
        ])
      }))

    if (replicaSet !== null)
      it("commits once when the commit's answer is lost, or the commit itself", () =>
        filled(async (use) => {
          let position = 10
          for (const afterwards of [true, false]) {
            await failPoint(["commitTransaction"], 3, { closeConnection: true, afterwards })
            const apply = (store: Store) =>
              store.apply("things@1", at(position), at(position + 1), [stored("a", position + 1, { text: `${position}` })])
            assert.strictEqual(await use(apply), "applied")
            assert.strictEqual(await use((store) => textOf(store)), `${position}`)
            position++
          }
        }))

    if (replicaSet !== null)
      it("ends the session of a runner that stopped within its transaction, after a while", () =>
        filled(async (use, url) => {
          const patient = runtimeOf(url)
          const resolute = ManagedRuntime.make(mongodb.layer({ url, journalId: "journal", heldMillis: 0 }))
          const apply = (text: string) => (store: Store) => store.apply("things@1", at(10), at(11), [stored("a", 11, { text })])
          const documents = database(url).collection<HolderDocument>("meta")
          assert.lengthOf(await documents.find({ model: "things@1" }).toArray(), 1)
          await raw.withSession(async (session) => {
            await new Holders(documents, () => Promise.resolve()).announce("things@1", session)
            session.startTransaction()
            const moved = await database(url)
              .collection<{ _id: string }>("models")
              .updateOne({ _id: "things@1" }, { $set: { checkpoint: at(11) } }, { session })
            assert.strictEqual(moved.modifiedCount, 1)
            assert.strictEqual(await using(patient)(apply("patient")), "stale")
            assert.strictEqual(await using(patient)(apply("patient")), "stale")
            assert.strictEqual(await using(resolute)(apply("first")), "stale")
            assert.strictEqual(await using(resolute)(apply("resolute")), "applied")
            const late = await session.commitTransaction().then(
              () => "committed",
              (cause: Error) => cause.constructor.name
            )
            assert.strictEqual(late, "MongoServerError")
          })
          assert.strictEqual(await use((store) => textOf(store)), "resolute")
          assert.strictEqual(await use(apply("again")), "stale")
          await Promise.all([patient.dispose(), resolute.dispose()])
        }))

    it("starts its models anew when the database was emptied under it, and forgets what another process dropped", () =>
      filled(async (use, url) => {
        await database(url).dropDatabase()
        assert.strictEqual(await use((store) => store.apply("things@1", at(10), at(11), [])), "stale")
        assert.isNull(await use((store) => store.checkpoint("things@1")))
        assert.strictEqual(await use((store) => store.apply("things@1", null, at(11), [stored("a", 1, { text: "again" })])), "applied")
        assert.strictEqual(await use((store) => textOf(store)), "again")
        const other = runtimeOf(url)
        await using(other)((store) => store.drop("things@1"))
        await other.dispose()
        assert.strictEqual(
          await use((store) => Effect.map(Effect.flip(store.checkpoint("things@1")), ({ _tag }) => _tag)),
          "ReadModelsUnavailable"
        )
      }))

    it("throws the views of another journal away, and frees what no model has", () =>
      filled(async (_, url) => {
        await database(url).collection("views_left").insertOne({ left: true })
        const other = runtimeOf(url, "another")
        assert.deepStrictEqual(await using(other)((store) => store.models), [])
        await using(other)((store) => Effect.andThen(store.define(definition), store.drop("things@1")))
        await other.dispose()
        const names = (await database(url).listCollections().toArray()).map(({ name }) => name)
        assert.deepStrictEqual(names.sort(), ["meta", "models"])
      }))

    it("begins every index with the scope or the space", () =>
      filled(async (_, url) => {
        const names = (await database(url).listCollections().toArray()).map(({ name }) => name)
        const indexes = await database(url)
          .collection(names.find((name) => name.startsWith("views_"))!)
          .listIndexes()
          .toArray()
        const firsts = indexes.map(({ key }) => Object.keys(key)[0]).sort()
        assert.deepStrictEqual(firsts, ["_id", "scope", "scope", "scope", "scope", "space", "space", "space"])
      }))
  })
}

describe("views when their server goes", () => {
  const folder = mkdtempSync(join(tmpdir(), "tributary-views-"))
  let server: StandIn
  afterAll(async () => {
    await server.stop()
    rmSync(folder, { recursive: true })
  })

  it("say so within their time, frozen or killed, and go on by themselves", async () => {
    server = await startStandIn({ replicaSet: "rs0", data: folder })
    const runtime = runtimeOf(newDatabase(server.url))
    const use = using(runtime)
    await use((store) => Effect.andThen(store.define(definition), store.apply("things@1", null, at(1), [stored("a", 1, { text: "one" })])))
    const failing = async () => {
      const tags = await Promise.all([
        use((store) => Effect.map(Effect.flip(store.get("things@1", acme, "a")), ({ _tag }) => _tag)),
        use((store) => Effect.map(Effect.flip(store.find("things@1", { scope: acme, limit: 1 })), ({ _tag }) => _tag)),
        use((store) => Effect.map(Effect.flip(store.apply("things@1", at(1), at(2), [])), ({ _tag }) => _tag))
      ])
      assert.deepStrictEqual(tags, ["ReadModelsUnavailable", "ReadModelsUnavailable", "ReadModelsUnavailable"])
    }
    server.process.kill("SIGSTOP")
    await failing()
    server.process.kill("SIGCONT")
    assert.strictEqual((await use((store) => store.get("things@1", acme, "a")))?.["text"], "one")
    await server.kill()
    await failing()
    server = await startStandIn({ replicaSet: "rs0", data: folder, port: server.port })
    assert.strictEqual((await use((store) => store.get("things@1", acme, "a")))?.["text"], "one")
    const checkpoint = await use((store) => store.checkpoint("things@1"))
    assert.strictEqual(await use((store) => store.apply("things@1", checkpoint, at(3), [stored("a", 3, { text: "three" })])), "applied")
    await runtime.dispose()
  })
})
