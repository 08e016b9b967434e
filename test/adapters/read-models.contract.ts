/** What every `ReadModels` has to do, whatever it is built on. */
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import { assert, describe, it } from "vitest"
import type { Position, SpaceKey, TenantKey } from "#domain/ids.ts"
import { type Scope, spaceScope, tenantScope } from "#domain/scope.ts"
import { type Condition, type ModelDefinition, type Query, ReadModels, type StoredView } from "#services/ports/read-models.ts"

const space = spaceScope("saaaabbbbccccddddeee" as SpaceKey)
const otherSpace = spaceScope("szzzzbbbbccccddddeee" as SpaceKey)
const acme = tenantScope(space.space, "tacmeacmeacmeacmeacm" as TenantKey)
const bolt = tenantScope(space.space, "tboltboltboltboltbol" as TenantKey)

const at = (position: number) => String(position).padStart(16, "0") as Position
const definition: ModelDefinition = {
  model: "orders@1",
  fields: { status: "text", total: "number", paid: "flag", placedAt: "time", note: "text" },
  sorts: [["placedAt"], ["status", "placedAt"]],
  acrossSpace: true
}
const stored = (scope: Scope, id: string, position: number, view: Record<string, unknown> | null): StoredView => ({
  key: scope.key,
  space: scope.space,
  id,
  at: at(position),
  view: view && { id, ...view }
})
const orders = (scope: Scope, count: number): ReadonlyArray<StoredView> =>
  Array.from({ length: count }, (_, index) =>
    stored(scope, `o${index}`, index + 1, {
      status: index % 2 === 0 ? "open" : "done",
      total: index * 10.5,
      paid: index % 3 === 0,
      placedAt: 1000 + Math.floor(index / 2)
    })
  )

type Store = ReadModels["Service"]

export const readModelsContract = (name: string, layer: Effect.Effect<Layer.Layer<ReadModels, unknown>>) => {
  const withStore = (body: (store: Store) => Effect.Effect<unknown, unknown>) =>
    Effect.runPromise(
      Effect.flatMap(layer, (layer) => Effect.flatMap(ReadModels, body).pipe(Effect.provide(layer))) as Effect.Effect<unknown>
    ).then(() => {})
  const filled = (body: (store: Store) => Effect.Effect<unknown, unknown>, views: ReadonlyArray<StoredView> = orders(acme, 7)) =>
    withStore((store) =>
      store.define(definition).pipe(
        Effect.andThen(store.apply("orders@1", null, at(100), views)),
        Effect.andThen(() => body(store))
      )
    )
  const ids = (store: Store, query: Partial<Query>) =>
    Effect.map(store.find("orders@1", { scope: acme, limit: 100, ...query }), ({ items }) => items.map(({ id }) => id))
  const refused = (store: Store, query: Partial<Query>) =>
    Effect.map(Effect.flip(store.find("orders@1", { scope: acme, limit: 10, ...query })), (failure) => {
      assert.strictEqual(failure._tag, "QueryRefused")
      return failure.message
    })

  describe(`${name}: views and checkpoint`, () => {
    it("keeps what was applied, and the checkpoint with it", () =>
      filled((store) =>
        Effect.gen(function* () {
          assert.deepStrictEqual(yield* store.get("orders@1", acme, "o1"), {
            id: "o1",
            status: "done",
            total: 10.5,
            paid: false,
            placedAt: 1000
          })
          assert.strictEqual(yield* store.checkpoint("orders@1"), at(100))
        })
      ))
    it("starts without a checkpoint", () =>
      withStore((store) =>
        Effect.gen(function* () {
          yield* store.define(definition)
          assert.isNull(yield* store.checkpoint("orders@1"))
        })
      ))
    it("lets exactly one of two runners go on from a checkpoint", () =>
      filled((store) =>
        Effect.gen(function* () {
          const view = (status: string) => [stored(acme, "o1", 101, { status })]
          assert.strictEqual(yield* store.apply("orders@1", at(100), at(101), view("first")), "applied")
          assert.strictEqual(yield* store.apply("orders@1", at(100), at(102), view("second")), "stale")
          assert.strictEqual(yield* store.apply("orders@1", null, at(102), view("third")), "stale")
          assert.strictEqual((yield* store.get("orders@1", acme, "o1"))?.["status"], "first")
          assert.strictEqual(yield* store.checkpoint("orders@1"), at(101))
        })
      ))
    it("leaves out a view that is older than the stored one", () =>
      filled((store) =>
        Effect.gen(function* () {
          yield* store.apply("orders@1", at(100), at(110), [stored(acme, "o1", 105, { status: "new" })])
          yield* store.apply("orders@1", at(110), at(111), [stored(acme, "o1", 104, { status: "old" })])
          assert.strictEqual((yield* store.get("orders@1", acme, "o1"))?.["status"], "new")
        })
      ))
    it("loads views in the order asked, with their positions, and nothing where there is none", () =>
      filled((store) =>
        Effect.gen(function* () {
          const [second, missing, first] = yield* store.load("orders@1", [
            { key: acme.key, id: "o2" },
            { key: acme.key, id: "nowhere" },
            { key: acme.key, id: "o1" }
          ])
          assert.isUndefined(missing)
          assert.deepInclude(first, { id: "o1", at: at(2), key: acme.key, space: space.key })
          assert.deepInclude(second, { id: "o2", at: at(3) })
        })
      ))
    it("hides a removed view, keeps its tombstone for folding, and lets a later event bring it back", () =>
      filled((store) =>
        Effect.gen(function* () {
          yield* store.apply("orders@1", at(100), at(101), [stored(acme, "o1", 101, null)])
          assert.isNull(yield* store.get("orders@1", acme, "o1"))
          assert.notInclude(yield* ids(store, {}), "o1")
          assert.deepInclude((yield* store.load("orders@1", [{ key: acme.key, id: "o1" }]))[0], { view: null, at: at(101) })
          yield* store.apply("orders@1", at(101), at(102), [stored(acme, "o1", 102, { status: "open", placedAt: 9 })])
          assert.include(yield* ids(store, {}), "o1")
        })
      ))
    it("keeps the views of two scopes apart under the same id", () =>
      filled(
        (store) =>
          Effect.gen(function* () {
            assert.strictEqual((yield* store.get("orders@1", acme, "same"))?.["note"], "mine")
            assert.strictEqual((yield* store.get("orders@1", bolt, "same"))?.["note"], "theirs")
            assert.isNull(yield* store.get("orders@1", space, "same"))
            assert.deepStrictEqual(yield* ids(store, { scope: bolt }), ["same"])
          }),
        [stored(acme, "same", 1, { note: "mine" }), stored(bolt, "same", 2, { note: "theirs" })]
      ))
  })

  describe(`${name}: models`, () => {
    it("lists models with checkpoint, rows and whether they are complete", () =>
      filled((store) =>
        Effect.gen(function* () {
          assert.deepStrictEqual(yield* store.models, [{ model: "orders@1", definition, checkpoint: at(100), complete: false, rows: 7 }])
          yield* store.promote("orders@1")
          assert.isTrue((yield* store.models)[0]!.complete)
        })
      ))
    it("changes nothing when a model is defined again as it is", () =>
      filled((store) =>
        Effect.gen(function* () {
          yield* store.define(definition)
          assert.strictEqual((yield* store.models)[0]!.rows, 7)
        })
      ))
    it("starts a model anew that is defined with other fields", () =>
      filled((store) =>
        Effect.gen(function* () {
          yield* store.define({ ...definition, fields: { ...definition.fields, extra: "text" } })
          assert.deepInclude((yield* store.models)[0], { rows: 0, checkpoint: null, complete: false })
        })
      ))
    it("forgets a dropped model and can define it again", () =>
      filled((store) =>
        Effect.gen(function* () {
          yield* store.drop("orders@1")
          assert.deepStrictEqual(yield* store.models, [])
          assert.strictEqual((yield* Effect.flip(store.checkpoint("orders@1")))._tag, "ReadModelsUnavailable")
          yield* store.define(definition)
          assert.isNull(yield* store.get("orders@1", acme, "o1"))
        })
      ))
    it("keeps two generations apart", () =>
      filled((store) =>
        Effect.gen(function* () {
          yield* store.define({ ...definition, model: "orders@1+2" })
          assert.isNull(yield* store.get("orders@1+2", acme, "o1"))
          yield* store.drop("orders@1+2")
          assert.isNotNull(yield* store.get("orders@1", acme, "o1"))
        })
      ))
  })

  describe(`${name}: queries`, () => {
    const finds = (title: string, where: ReadonlyArray<Condition>, expected: ReadonlyArray<string>) =>
      it(`finds ${title}`, () =>
        filled((store) => Effect.map(ids(store, { where }), (found) => assert.deepStrictEqual([...found].sort(), [...expected]))))
    finds("equal text", [{ field: "status", is: "eq", value: "done" }], ["o1", "o3", "o5"])
    finds("one of several", [{ field: "total", is: "in", values: [10.5, 21, 7] }], ["o1", "o2"])
    finds("none of no values", [{ field: "total", is: "in", values: [] }], [])
    finds("a flag", [{ field: "paid", is: "eq", value: true }], ["o0", "o3", "o6"])
    finds(
      "a range",
      [
        { field: "placedAt", is: "gte", value: 1001 },
        { field: "placedAt", is: "lt", value: 1003 }
      ],
      ["o2", "o3", "o4", "o5"]
    )
    finds("more and less", [{ field: "total", is: "gt", value: 52.5 }], ["o6"])
    finds("at most", [{ field: "total", is: "lte", value: 0 }], ["o0"])
    finds("a prefix", [{ field: "status", is: "prefix", value: "do" }], ["o1", "o3", "o5"])
    finds("nothing by a field that is missing in all", [{ field: "note", is: "lte", value: "zzz" }], [])
    finds(
      "all conditions together",
      [
        { field: "status", is: "eq", value: "done" },
        { field: "paid", is: "eq", value: true }
      ],
      ["o3"]
    )
    it("does not take wildcards, quotes or SQL in a value for more than text", () =>
      filled((store) =>
        Effect.gen(function* () {
          for (const value of ["%", "_", "' OR 1=1 --", 'x" OR "1"="1', "do%"])
            for (const is of ["eq", "prefix"] as const)
              assert.deepStrictEqual(yield* ids(store, { where: [{ field: "status", is, value }] }), [], value)
        })
      ))
    it("finds no missing value by a range, though missing ones sort first", () =>
      filled(
        (store) =>
          Effect.gen(function* () {
            assert.deepStrictEqual(yield* ids(store, { sort: ["placedAt"] }), ["none", "some"])
            assert.deepStrictEqual(yield* ids(store, { where: [{ field: "placedAt", is: "lte", value: 10 }] }), ["some"])
          }),
        [stored(acme, "some", 1, { placedAt: 5 }), stored(acme, "none", 2, {})]
      ))
    it("sorts by a declared sort, ties by id, in both directions", () =>
      filled((store) =>
        Effect.gen(function* () {
          assert.deepStrictEqual(yield* ids(store, { sort: ["placedAt"] }), ["o0", "o1", "o2", "o3", "o4", "o5", "o6"])
          assert.deepStrictEqual(yield* ids(store, { sort: ["placedAt"], descending: true }), ["o6", "o5", "o4", "o3", "o2", "o1", "o0"])
          assert.deepStrictEqual(yield* ids(store, { sort: ["status", "placedAt"] }), ["o1", "o3", "o5", "o0", "o2", "o4", "o6"])
        })
      ))
    it("sorts by the rest of a sort whose first fields are pinned", () =>
      filled((store) =>
        Effect.gen(function* () {
          const where: ReadonlyArray<Condition> = [{ field: "status", is: "eq", value: "open" }]
          assert.deepStrictEqual(yield* ids(store, { where, sort: ["placedAt"], descending: true }), ["o6", "o4", "o2", "o0"])
        })
      ))
    it("pages through everything once, also while views are added", () =>
      filled((store) =>
        Effect.gen(function* () {
          for (const descending of [false, true]) {
            const seen: Array<unknown> = []
            let cursor: string | null = null
            let position = (yield* store.checkpoint("orders@1"))!
            do {
              const query: Query = { scope: acme, sort: ["placedAt"], descending, limit: 2, ...(cursor === null ? {} : { cursor }) }
              const page: { items: ReadonlyArray<Record<string, unknown>>; next: string | null } = yield* store.find("orders@1", query)
              seen.push(...page.items.map(({ id }) => id))
              cursor = page.next
              const next = at(Number(position) + 1)
              const early = stored(acme, `early${next}`, Number(next), { placedAt: descending ? 5000 : 1 })
              assert.strictEqual(yield* store.apply("orders@1", position, next, [early]), "applied")
              position = next
            } while (cursor !== null)
            const mine = seen.filter((id) => /^o\d$/u.test(String(id)))
            assert.deepStrictEqual([...mine].sort(), ["o0", "o1", "o2", "o3", "o4", "o5", "o6"])
            assert.strictEqual(new Set(seen).size, seen.length)
          }
        })
      ))
    it("says at the last page that there is no further one", () =>
      filled((store) =>
        Effect.gen(function* () {
          assert.isNull((yield* store.find("orders@1", { scope: acme, limit: 7 })).next)
          assert.isNotNull((yield* store.find("orders@1", { scope: acme, limit: 6 })).next)
        })
      ))
    it("lists a whole space across its tenants, and no other space", () =>
      filled(
        (store) =>
          Effect.gen(function* () {
            const across = { scope: space, across: space, limit: 2, sort: ["placedAt"] }
            const first = yield* store.find("orders@1", across)
            const second = yield* store.find("orders@1", { ...across, cursor: first.next! })
            assert.deepStrictEqual(
              [...first.items, ...second.items].map(({ note }) => note),
              ["acme", "bolt", "space"]
            )
            assert.isNull(second.next)
          }),
        [
          stored(acme, "same", 1, { placedAt: 5, note: "acme" }),
          stored(bolt, "same", 2, { placedAt: 5, note: "bolt" }),
          stored(space, "z", 3, { placedAt: 5, note: "space" }),
          stored(otherSpace, "same", 4, { placedAt: 5, note: "other" })
        ]
      ))
    it("has nothing for a scope that it has never seen", () =>
      filled((store) => Effect.map(ids(store, { scope: otherSpace }), (found) => assert.deepStrictEqual(found, []))))
  })

  describe(`${name}: refusals`, () => {
    it("refuses fields and sorts that were not declared, and names those that were", () =>
      filled((store) =>
        Effect.gen(function* () {
          assert.match(yield* refused(store, { where: [{ field: "secret", is: "eq", value: 1 }] }), /status, total/u)
          assert.match(yield* refused(store, { sort: ["total"] }), /placedAt; status, placedAt/u)
          yield* refused(store, { sort: ["placedAt", "status"] })
          yield* refused(store, { where: [{ field: "status; DROP TABLE models", is: "eq", value: 1 }] })
        })
      ))
    it("refuses values of another type than the field's", () =>
      filled((store) =>
        Effect.gen(function* () {
          yield* refused(store, { where: [{ field: "total", is: "eq", value: "10" }] })
          yield* refused(store, { where: [{ field: "paid", is: "eq", value: 1 }] })
          yield* refused(store, { where: [{ field: "total", is: "prefix", value: "1" }] })
        })
      ))
    it("refuses pages without bound and lists of values without bound", () =>
      filled((store) =>
        Effect.gen(function* () {
          for (const limit of [0, -1, 1.5, 501, Number.NaN]) yield* refused(store, { limit })
          yield* refused(store, { where: [{ field: "total", is: "in", values: Array.from({ length: 101 }, (_, index) => index) }] })
        })
      ))
    it("refuses a query across a space from within a tenant", () => filled((store) => refused(store, { scope: acme, across: space })))
    it("refuses a query across a space of a model that is listed within scopes alone", () =>
      withStore((store) =>
        Effect.gen(function* () {
          const { acrossSpace: _, ...within } = definition
          yield* store.define(within)
          assert.match(yield* refused(store, { scope: space, across: space }), /within one scope/u)
          assert.deepStrictEqual(yield* ids(store, { scope: space, sort: ["placedAt"] }), [])
        })
      ))
    it("refuses a cursor that was changed, or belongs to another scope, order, filter or model", () =>
      filled((store) =>
        Effect.gen(function* () {
          const cursor = (yield* store.find("orders@1", { scope: acme, sort: ["placedAt"], limit: 2 })).next!
          const changed = (index: number) => cursor.slice(0, index) + (cursor[index] === "A" ? "B" : "A") + cursor.slice(index + 1)
          for (let index = 0; index < cursor.length; index++) yield* refused(store, { sort: ["placedAt"], cursor: changed(index) })
          for (const other of ["", "x", `${cursor}A`, `${cursor}=`, `${cursor} `])
            yield* refused(store, { sort: ["placedAt"], cursor: other })
          yield* refused(store, { sort: ["placedAt"], cursor, scope: bolt })
          yield* refused(store, { sort: ["placedAt"], cursor, descending: true })
          yield* refused(store, { sort: ["status", "placedAt"], cursor })
          yield* refused(store, { sort: ["placedAt"], cursor, where: [{ field: "paid", is: "eq", value: true }] })
          yield* store.define({ ...definition, model: "others@1" })
          const failure = yield* Effect.flip(store.find("others@1", { scope: acme, sort: ["placedAt"], limit: 2, cursor }))
          assert.strictEqual(failure._tag, "QueryRefused")
        })
      ))
    it("takes a cursor of the same query with another page size, and after a rebuild", () =>
      filled((store) =>
        Effect.gen(function* () {
          const cursor = (yield* store.find("orders@1", { scope: acme, sort: ["placedAt"], limit: 2 })).next!
          yield* store.define({ ...definition, model: "orders@1+2" })
          yield* store.apply("orders@1+2", null, at(100), orders(acme, 7))
          const { items } = yield* store.find("orders@1+2", { scope: acme, sort: ["placedAt"], limit: 1, cursor })
          assert.deepStrictEqual(
            items.map(({ id }) => id),
            ["o2"]
          )
        })
      ))
  })
}
