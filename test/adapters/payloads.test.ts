/** Content on SQLite: the contract, and that nothing which was moved or changed in the file opens. */
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { afterEach, assert, describe, it } from "vitest"
import { contentRef } from "#domain/content.ts"
import { localNameOf } from "#domain/scope.ts"
import { Journal } from "#services/ports/journal.ts"
import { Payloads } from "#services/ports/payloads.ts"
import { eventStoreRows } from "./eventstoredb/rows.ts"
import { acme, appendOf, fresh, happened, other, type SqliteInstallation, session, sqliteInstallation } from "./installation.ts"
import { payloadsContract } from "./payloads.contract.ts"

payloadsContract("sqlite", sqliteInstallation)
await eventStoreRows(({ name, shared }) => payloadsContract(name, shared))

describe("content on SQLite", () => {
  const made: Array<SqliteInstallation> = []
  afterEach(() => made.splice(0).forEach(({ remove }) => remove()))

  /** Two streams of one tenant and one of another, all with the same slots and content; `fault` is done to the closed file. */
  const afterFault = async (fault: string) => {
    const installation = sqliteInstallation()
    made.push(installation)
    const contents = [
      { slot: "in", bytes: "same" },
      { slot: "out", bytes: "same" }
    ]
    const appends = [
      appendOf(acme, fresh("run"), { contents }),
      appendOf(acme, fresh("run"), { contents }),
      appendOf(other, fresh("run"), { contents })
    ]
    await session(
      installation.open(),
      Effect.flatMap(Journal, (journal) => Effect.forEach(appends, (given) => journal.append(given)))
    )
    const db = new DatabaseSync(join(installation.folder, "journal.db"))
    db.exec(fault)
    db.close()
    return session(
      installation.open(),
      Effect.flatMap(Payloads, (payloads) =>
        Effect.forEach(
          appends.flatMap(({ scope, stream }) => ["in", "out"].map((slot) => ({ scope, ref: contentRef(localNameOf(stream), slot) }))),
          ({ scope, ref }) => Effect.result(payloads.open(scope as typeof acme, [ref]))
        )
      )
    ).then((results) =>
      results.map((result) => (Result.isFailure(result) && result.failure._tag === "ContentGone" ? result.failure.why : "opened"))
    )
  }
  const swap = (one: number, two: number) =>
    `CREATE TEMP TABLE before AS SELECT position, sealed FROM appends;
     UPDATE appends SET sealed = (SELECT sealed FROM before WHERE before.position = ${one} + ${two} - appends.position)
     WHERE position IN (${one}, ${two})`

  it("opens everything when nothing was done to it", async () => {
    assert.deepStrictEqual(await afterFault("SELECT 1"), Array(6).fill("opened"))
  })
  it("binds contents to their stream", async () => {
    assert.deepStrictEqual(await afterFault(swap(1, 2)), ["damaged", "damaged", "damaged", "damaged", "opened", "opened"])
  })
  it("binds contents to their scope", async () => {
    assert.deepStrictEqual(await afterFault(swap(2, 3)), ["opened", "opened", "damaged", "damaged", "damaged", "damaged"])
  })
  for (const [what, contents] of [
    ["slots", "replace(contents, 'in=4', 'on=4')"],
    ["lengths", "replace(contents, 'in=4,out=4', 'in=3,out=5')"],
    ["order", "replace(contents, 'in=4,out=4', 'out=4,in=4')"]
  ] as const)
    it(`binds contents to their ${what}`, async () => {
      assert.strictEqual((await afterFault(`UPDATE appends SET contents = ${contents} WHERE position = 1`))[1], "damaged")
    })
  it("binds contents to their keyed hash in the append's row", async () => {
    const fault = `UPDATE appends SET contents = substr(contents, 1, length(contents) - 1) || 'x' WHERE position = 1`
    assert.strictEqual((await afterFault(fault))[0], "damaged")
  })
  it("finds a single changed bit", async () => {
    const other = "CASE WHEN substr(sealed, 14, 1) = X'00' THEN X'01' ELSE X'00' END"
    const fault = `UPDATE appends SET sealed = CAST(substr(sealed, 1, 13) || ${other} || substr(sealed, 15) AS BLOB) WHERE position = 1`
    assert.strictEqual((await afterFault(fault))[0], "damaged")
  })
  it("finds lost content", async () => {
    assert.strictEqual((await afterFault("UPDATE appends SET sealed = NULL WHERE position = 1"))[0], "damaged")
  })

  it("keeps no sealed bytes of a retired stream", async () => {
    const installation = sqliteInstallation()
    made.push(installation)
    const [kept, gone] = [1, 2].map(() =>
      appendOf(acme, fresh("run"), {
        contents: [
          { slot: "a", bytes: "1" },
          { slot: "b", bytes: "2" }
        ]
      })
    )
    await session(
      installation.open(),
      Effect.gen(function* () {
        const journal = yield* Journal
        yield* journal.append(gone!)
        yield* journal.append(kept!)
        yield* journal.append({ ...gone!, expected: 0, events: [happened()] })
        yield* journal.retire(acme, gone!.stream, 1)
      })
    )
    const db = new DatabaseSync(join(installation.folder, "journal.db"))
    const { count } = db.prepare("SELECT count(*) AS count FROM appends WHERE sealed IS NOT NULL OR contents IS NOT NULL").get() as {
      count: number
    }
    db.close()
    assert.strictEqual(count, 1)
  })
})
