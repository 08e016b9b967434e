/** The journal on SQLite: the contract, and what only its own files and thread can show. */
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import { afterEach, assert, describe, it } from "vitest"
import { JournalThread } from "#adapters/sqlite/journal-thread-client.ts"
import { contentRef } from "#domain/content.ts"
import { localNameOf } from "#domain/scope.ts"
import { type Append, Journal } from "#services/ports/journal.ts"
import { OpenWork } from "#services/ports/open-work.ts"
import { Payloads } from "#services/ports/payloads.ts"
import { Vault } from "#services/ports/vault.ts"
import { eventStoreRows } from "./eventstoredb/rows.ts"
import {
  acme,
  appendOf,
  eventId,
  fresh,
  happened,
  knownTypes,
  type SqliteInstallation,
  session,
  sqliteInstallation
} from "./installation.ts"
import { journalContract } from "./journal.contract.ts"

journalContract("sqlite", sqliteInstallation)
await eventStoreRows(({ name, shared }) => journalContract(name, shared))

describe("the journal on SQLite", () => {
  const made: Array<SqliteInstallation> = []
  const install = () => {
    const installation = sqliteInstallation()
    made.push(installation)
    return installation
  }
  afterEach(() => made.splice(0).forEach(({ remove }) => remove()))

  const append = (given: Append) => Effect.flatMap(Journal, (journal) => journal.append(given))
  /** Changes the closed journal's file as a fault of the disk would. */
  const damage = (installation: SqliteInstallation, sql: string) => {
    const db = new DatabaseSync(join(installation.folder, "journal.db"))
    const { changes } = db.prepare(sql).run()
    db.close()
    assert.strictEqual(Number(changes), 1, "the fault was not made")
  }
  /** The failure of an opening that is refused. */
  const refusal = (layer: ReturnType<SqliteInstallation["openWith"]>) =>
    session(layer, Effect.void).then(
      () => assert.fail("It was opened."),
      (cause: { readonly _tag: string; readonly kind: string; readonly message: string }) => cause
    )

  for (const [what, sql] of [
    ["data", "UPDATE appends SET events = replace(events, ':5', ':7')"],
    ["time", "UPDATE appends SET at = at + 1"],
    ["origin", "UPDATE appends SET origin = replace(origin, 'system', 'webhook')"],
    ["revision", "UPDATE appends SET revision = 3"],
    ["id", "UPDATE appends SET events = 'x' || events"],
    ["number of events", "UPDATE appends SET count = 2"],
    ["hash", "UPDATE appends SET hash = replace(hash, substr(hash, 1, 1), 'x')"],
    ["contents' slot", "UPDATE appends SET contents = replace(contents, 'body', 'eody')"],
    ["position", "UPDATE appends SET position = position + 1"]
  ] as const)
    it(`names the event whose ${what} changed on disk`, async () => {
      const installation = install()
      const given = appendOf(acme, fresh("run"), { events: [happened({ amount: 5 })], contents: [{ slot: "body", bytes: "b" }] })
      await session(installation.open(), append(given))
      damage(installation, sql)
      const failed = await session(
        installation.open(),
        Effect.gen(function* () {
          return Result.getFailure(yield* Effect.result((yield* Journal).readStream(acme, given.stream)))
        })
      )
      assert.strictEqual(failed.valueOrUndefined?._tag, "JournalUnavailable")
      assert.include(failed.valueOrUndefined?.message, `(${given.stream}, revision`)
      assert.include(failed.valueOrUndefined?.message, "is damaged")
    })

  it("refuses a journal with an event type, or a version of one, that this release cannot read", async () => {
    const installation = install()
    const newer = { ...happened(), type: "Renamed", version: 2 }
    await session(installation.open(), append(appendOf(acme, fresh("run"), { events: [newer, happened()] })))
    const refused = await refusal(installation.openWith({ eventTypes: { Happened: 1, Renamed: 1 } }))
    assert.strictEqual(refused.kind, "UnknownEventTypes")
    assert.include(refused.message, "Renamed@2")
    assert.notInclude(refused.message, "Happened")
    assert.include((await refusal(installation.openWith({ eventTypes: { Renamed: 2 } }))).message, "Happened@1")
    await session(installation.openWith({ eventTypes: { ...knownTypes, Renamed: 3 } }), Effect.void)
  })

  it("refuses a master key that is not the one of the data folder", async () => {
    const installation = install()
    await session(installation.open(), Effect.void)
    const refused = await refusal(installation.openWith({ masterKey: new Uint8Array(32).fill(8) }))
    assert.strictEqual(refused.kind, "WrongMasterKey")
    await session(installation.open(), Effect.void)
  })

  it("refuses a journal of a newer release, and one that belongs to another vault", async () => {
    const [one, two] = [install(), install()]
    for (const installation of [one, two]) await session(installation.open(), append(appendOf(acme, fresh("run"))))
    const db = new DatabaseSync(join(one.folder, "journal.db"))
    db.exec("UPDATE meta SET value = 'another' WHERE name = 'journalId'")
    db.close()
    assert.strictEqual((await refusal(one.open())).kind, "WrongVault")
    const newer = new DatabaseSync(join(two.folder, "journal.db"))
    newer.exec("PRAGMA user_version = 99")
    newer.close()
    assert.strictEqual((await refusal(two.open())).kind, "NewerSchema")
  })

  it("refuses work while the disk is full, loses nothing of it, and goes on when there is room, without a restart", () =>
    session(
      install().open(),
      Effect.gen(function* () {
        const { connection } = yield* JournalThread
        const journal = yield* Journal
        const work = yield* OpenWork
        const kept = appendOf(acme, fresh("run"), { workDue: 5 })
        yield* append(kept)
        yield* connection.ask({ op: "limitPages", pagesMax: 1 })
        const large = () => appendOf(acme, fresh("run"), { workDue: 1, contents: [{ slot: "body", bytes: new Uint8Array(50_000) }] })
        const lost = [large(), large()]
        for (const given of lost) {
          const refused = Result.getFailure(yield* Effect.result(append(given))).valueOrUndefined
          assert.deepInclude(refused, { _tag: "JournalUnavailable", written: "no", reason: "the disk is full" })
        }
        assert.lengthOf(yield* journal.readStream(acme, kept.stream), 1)
        assert.deepStrictEqual(yield* work.summary, { open: 1, earliestDueAt: 5 })
        assert.lengthOf(yield* work.due({ before: 10, limit: 10, key: acme.key }), 1)
        yield* connection.ask({ op: "limitPages", pagesMax: 1_000_000 })
        for (const given of lost) assert.isFalse((yield* append(given)).repeated)
        const last = yield* append({ ...kept, expected: 0, events: [happened()] } as unknown as Append)
        assert.strictEqual(Number(last.position), 4, "positions have no gap")
      })
    ))

  it("fails what is under way with an unknown outcome when its thread dies; the repeat after a restart finds out", async () => {
    const installation = install()
    const tried = appendOf(acme, fresh("run"))
    await session(
      installation.open(),
      Effect.gen(function* () {
        const { died, kill } = yield* JournalThread
        const journal = yield* Journal
        const pending = yield* Effect.forkChild(Effect.result(append(tried)), { startImmediately: true })
        yield* Effect.callback<void>((resume) => void setImmediate(() => resume(Effect.void))) // By then it was posted.
        yield* kill
        assert.include(yield* died, "its thread")
        const outcome = yield* Fiber.join(pending)
        // It may have been answered before the thread died; else nobody knows.
        if (Result.isFailure(outcome)) assert.deepInclude(outcome.failure, { _tag: "JournalUnavailable", written: "unknown" })
        const later = Result.getFailure(yield* Effect.result(append(appendOf(acme, fresh("run"))))).valueOrUndefined
        assert.deepInclude(later, { _tag: "JournalUnavailable", written: "no" })
        const reading = Result.getFailure(yield* Effect.result(journal.load(acme, tried.stream, 1))).valueOrUndefined
        assert.strictEqual(reading?._tag, "JournalUnavailable")
      })
    )
    await session(
      installation.open(),
      Effect.gen(function* () {
        yield* append(tried)
        assert.lengthOf(yield* (yield* Journal).readStream(acme, tried.stream), 1)
      })
    )
  })

  it("tells everybody who waits when its thread is gone: unknown for what was posted, no for what was not", () =>
    session(
      install().open(),
      Effect.gen(function* () {
        const { connection } = yield* JournalThread
        const tries = Effect.all([append(appendOf(acme, fresh("run"))), connection.ask({ op: "workSummary" })].map(Effect.result), {
          concurrency: 2
        })
        const unposted = yield* Effect.forkChild(tries, { startImmediately: true })
        connection.die("a rehearsal")
        const [appended, asked] = yield* Fiber.join(unposted)
        assert.deepInclude(Result.getFailure(appended!).valueOrUndefined, { written: "no", reason: "a rehearsal" })
        assert.deepInclude(Result.getFailure(asked!).valueOrUndefined, { _tag: "JournalUnavailable" })
      })
    ))

  it("makes an append that no table takes fail alone, as a defect", () =>
    session(
      install().open(),
      Effect.gen(function* () {
        const impossible = { ...appendOf(acme, fresh("run")), at: 0.5 }
        const good = [appendOf(acme, fresh("run")), appendOf(acme, fresh("run"), { contents: [{ slot: "body", bytes: "b" }] })]
        const exits = yield* Effect.forEach([good[0]!, impossible, good[1]!], (given) => Effect.exit(append(given)), { concurrency: 3 })
        assert.deepStrictEqual(exits.map(Exit.isSuccess), [true, false, true])
        assert.isTrue(Exit.hasDies(exits[1]!))
        for (const given of good) assert.lengthOf(yield* (yield* Journal).readStream(acme, given.stream), 1)
      })
    ))

  it("shows nothing of a secret or a content in any of its files", async () => {
    const installation = install()
    const canary = "canary-7f3a9c-secret-value"
    const files = () => readdirSync(installation.folder).map((file) => readFileSync(join(installation.folder, file)))
    await session(
      installation.open(),
      Effect.gen(function* () {
        const vault = yield* Vault
        const given = appendOf(acme, fresh("run"), {
          events: [{ ...happened({ sealed: yield* vault.sealField(acme, "externalId", canary) }), id: eventId() }],
          contents: [
            { slot: "text", bytes: canary },
            { slot: "bytes", bytes: Buffer.from(canary.repeat(100)) }
          ]
        })
        yield* append(given)
        yield* (yield* Journal).saveSnapshot(acme, given.stream, 1, { revision: 0, state: JSON.stringify({ canary }) })
        yield* vault.put(acme, { owner: "integration-erp", field: "apiKey" }, Redacted.make(canary))
        yield* vault.nameDigest(acme, "tenant", canary)
        const [text] = yield* (yield* Payloads).open(acme, [contentRef(localNameOf(given.stream), "text")])
        assert.strictEqual(Buffer.from(text!).toString(), canary)
        const open = files() // While it runs, with its write-ahead log.
        assert.isTrue(open.length >= 4)
        expectNothing(open, canary)
      })
    )
    expectNothing(files(), canary)
  })
})

const expectNothing = (files: ReadonlyArray<Buffer>, canary: string) => {
  const bytes = Buffer.from(canary)
  // Base64 at each of the three alignments, without the characters that depend on the neighbours.
  const base64 = [0, 1, 2].map((shift) =>
    Buffer.concat([Buffer.alloc(shift), bytes])
      .toString("base64")
      .slice(4, -4)
  )
  for (const form of [canary, ...base64, bytes.toString("hex"), bytes.toString("hex").toUpperCase()])
    for (const file of files) assert.isFalse(file.includes(form), `found as ${form}`)
}
