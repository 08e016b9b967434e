/** Content on SQLite: the contract, and that nothing which was moved or changed in the file opens. */
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { Effect, Result } from "effect"
import { afterEach, assert, describe, it } from "vitest"
import { contentRef } from "#domain/content.ts"
import { localNameOf } from "#domain/scope.ts"
import { Journal } from "#services/ports/journal.ts"
import { Payloads } from "#services/ports/payloads.ts"
import { acme, appendOf, fresh, happened, other, type SqliteInstallation, session, sqliteInstallation } from "./installation.ts"
import { payloadsContract } from "./payloads.contract.ts"

payloadsContract("sqlite", sqliteInstallation)

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
    `CREATE TEMP TABLE before AS SELECT id, sealed FROM payloads;
     UPDATE payloads SET sealed = (SELECT sealed FROM before WHERE before.id = ${one} + ${two} - payloads.id) WHERE id IN (${one}, ${two})`
  const id = (position: number, index: number) => position * 1024 + index

  it("opens everything when nothing was done to it", async () => {
    assert.deepStrictEqual(await afterFault("SELECT 1"), Array(6).fill("opened"))
  })
  it("binds content to its slot", async () => {
    assert.deepStrictEqual(await afterFault(swap(id(1, 0), id(1, 1))), ["damaged", "damaged", "opened", "opened", "opened", "opened"])
  })
  it("binds content to its stream", async () => {
    assert.deepStrictEqual(await afterFault(swap(id(1, 0), id(2, 0))), ["damaged", "opened", "damaged", "opened", "opened", "opened"])
  })
  it("binds content to its scope", async () => {
    assert.deepStrictEqual(await afterFault(swap(id(2, 1), id(3, 1))), ["opened", "opened", "opened", "damaged", "opened", "damaged"])
  })
  it("binds content to the keyed hash in its event's row", async () => {
    const fault = `UPDATE events SET contents = replace(contents, substr(contents, 5, 1), 'x') WHERE position = 1`
    assert.strictEqual((await afterFault(fault))[0], "damaged")
  })
  it("finds a single changed bit", async () => {
    const fault = `UPDATE payloads SET sealed = CAST(substr(sealed, 1, 13) || X'00' || substr(sealed, 15) AS BLOB) WHERE id = ${id(1, 0)}`
    assert.strictEqual((await afterFault(fault))[0], "damaged")
  })
  it("finds lost content", async () => {
    assert.strictEqual((await afterFault(`DELETE FROM payloads WHERE id = ${id(1, 0)}`))[0], "damaged")
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
        yield* journal.retire(acme, gone!.stream)
      })
    )
    const db = new DatabaseSync(join(installation.folder, "journal.db"))
    const { count } = db.prepare("SELECT count(*) AS count FROM payloads").get() as { count: number }
    db.close()
    assert.strictEqual(count, 2)
  })
})
