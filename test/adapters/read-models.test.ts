import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import * as mongodb from "#adapters/mongodb/read-models.ts"
import * as sqlite from "#adapters/sqlite/read-models.ts"
import type { Position, SpaceKey } from "#domain/ids.ts"
import { spaceScope } from "#domain/scope.ts"
import { ReadModels, type StoredView } from "#services/ports/read-models.ts"
import { dropDatabases, newDatabase, realServers, standIn } from "../support/mongodb.ts"
import { readModelsContract } from "./read-models.contract.ts"

readModelsContract(
  "SQLite in memory",
  Effect.sync(() => Layer.fresh(sqlite.layer({ file: ":memory:", journalId: "journal" })))
)

const mongoRow = (name: string, url: () => string) => {
  const made: Array<ReturnType<typeof newDatabase>> = []
  afterAll(() => dropDatabases(made))
  readModelsContract(
    name,
    Effect.sync(() => {
      const database = newDatabase(url())
      made.push(database)
      return Layer.fresh(mongodb.layer({ url: database, journalId: "journal" }))
    })
  )
}
describe("MongoDB's stand-in", () => {
  describe("of a replica set", () => mongoRow("MongoDB's stand-in, replica set", standIn({ replicaSet: "rs0" }).url))
  describe("of a single server", () => mongoRow("MongoDB's stand-in, single server", standIn().url))
})
await realServers((url) => mongoRow("MongoDB", url))

describe("SQLite on disk", () => {
  let folder = ""
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "tributary-views-"))
  })
  afterAll(() => rmSync(folder, { recursive: true }))

  const scope = spaceScope("saaaabbbbccccddddeee" as SpaceKey)
  const at = (position: number) => String(position).padStart(16, "0") as Position
  const views = (count: number): ReadonlyArray<StoredView> =>
    Array.from({ length: count }, (_, index) => ({
      key: scope.key,
      space: scope.space,
      id: `v${index}`,
      at: at(index + 1),
      view: { size: index }
    }))
  const definition = { model: "things@1", fields: { size: "number" }, sorts: [["size"]] } as const
  const open = <A>(file: string, journalId: string, body: (store: ReadModels["Service"]) => Effect.Effect<A, unknown>) =>
    Effect.runPromise(
      Effect.flatMap(ReadModels, body).pipe(Effect.provide(sqlite.layer({ file: join(folder, file), journalId }))) as Effect.Effect<A>
    )
  const fill = (store: ReadModels["Service"], count: number) =>
    store.define(definition).pipe(Effect.andThen(store.apply("things@1", null, at(count), views(count))))

  it("has everything again after it was closed, cursors included", async () => {
    const query = { scope, sort: ["size"], limit: 2 }
    const cursor = await open("again.db", "journal", (store) => fill(store, 4).pipe(Effect.andThen(store.find("things@1", query))))
    const found = await open("again.db", "journal", (store) => store.find("things@1", { ...query, cursor: cursor.next! }))
    assert.deepStrictEqual(found, { items: [{ size: 2 }, { size: 3 }], next: null })
  })
  it("is for its owner alone, and so is its log", () =>
    open("rights.db", "journal", (store) =>
      Effect.map(fill(store, 4), () => {
        for (const suffix of ["", "-wal"]) assert.strictEqual(statSync(join(folder, `rights.db${suffix}`)).mode & 0o777, 0o600)
      })
    ))
  it("throws the views of another journal away", async () => {
    await open("foreign.db", "journal", (store) => fill(store, 4))
    assert.deepStrictEqual(await open("foreign.db", "another", (store) => store.models), [])
  })
  it("throws away a file of another layout", async () => {
    const db = new DatabaseSync(join(folder, "layout.db"))
    db.exec("CREATE TABLE models(x); PRAGMA user_version=999")
    db.close()
    assert.deepStrictEqual(
      await open("layout.db", "journal", (store) => fill(store, 1).pipe(Effect.andThen(Effect.map(store.models, (all) => all.length)))),
      1
    )
  })
  it("throws away a file that is damaged", async () => {
    writeFileSync(join(folder, "damaged.db"), "this is no database, but longer than a header ".repeat(100))
    assert.deepStrictEqual(await open("damaged.db", "journal", (store) => store.models), [])
  })
  it("frees a dropped model's tables, also when the drop was cut short", async () => {
    await open("drop.db", "journal", (store) => fill(store, 5000))
    const db = new DatabaseSync(join(folder, "drop.db"))
    db.exec("UPDATE models SET dropped = 1; DROP INDEX views_1_s0")
    const tables = () =>
      (db.prepare("SELECT name FROM sqlite_schema WHERE name LIKE 'views%'").all() as Array<{ name: string }>).map(({ name }) => name)
    assert.isNotEmpty(tables())
    await open("drop.db", "journal", (store) => Effect.andThen(store.define({ ...definition, model: "other@1" }), store.drop("other@1")))
    assert.deepStrictEqual(tables(), [])
    db.close()
  })
  it("refuses to open where it cannot write, and says so", async () => {
    const failure = await Effect.runPromise(
      Effect.flip(Effect.scoped(Layer.build(sqlite.layer({ file: join(folder, "missing", "views.db"), journalId: "journal" }))))
    )
    assert.strictEqual(failure._tag, "ReadModelsUnavailable")
    assert.deepStrictEqual(
      readdirSync(folder).filter((file) => file === "missing"),
      []
    )
  })
})
