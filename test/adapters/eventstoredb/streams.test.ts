/** Streams on EventStoreDB: how they lie there, what is found damaged, and what lies beside them. */
import { randomUUID } from "node:crypto"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { type Outcome, Store } from "#adapters/eventstoredb/driver.ts"
import type { RawEvent } from "#adapters/eventstoredb/read-calls.ts"
import type { StoreRefused } from "#adapters/eventstoredb/refusal.ts"
import { contentRef } from "#domain/content.ts"
import type { EventId } from "#domain/ids.ts"
import { localNameOf } from "#domain/scope.ts"
import { type Append, Journal } from "#services/ports/journal.ts"
import { Payloads } from "#services/ports/payloads.ts"
import { EventStoreStandIn } from "../../support/event-store.ts"
import { acme, appendOf, fresh, happened, knownTypes, session } from "../installation.ts"
import { eventStoreInstallation } from "./installation.ts"

const append = (given: Append) => Effect.flatMap(Journal, (journal) => journal.append(given))
const read = (given: Append) => Effect.flatMap(Journal, (journal) => journal.readStream(given.scope, given.stream))
const raws = (stream: string) =>
  Effect.flatMap(Store, (driver) => Effect.promise(async () => (await driver.reads.stream({ stream, limit: 100 })) ?? []))
const open = (given: Append, slot: string) =>
  Effect.flatMap(Payloads, (payloads) => payloads.open(acme, [contentRef(localNameOf(given.stream), slot)]))
const next = (given: Append, expected: number, more: Partial<Append> = {}) =>
  ({ ...given, contents: [], ...more, expected, events: [happened()] }) as unknown as Append
const jsonOf = (bytes: Uint8Array) => JSON.parse(Buffer.from(bytes).toString()) as Record<string, unknown>

describe("streams on EventStoreDB", () => {
  let standIn: EventStoreStandIn
  beforeAll(async () => {
    standIn = await EventStoreStandIn.start()
  })
  afterAll(() => standIn.stop())
  const install = () => eventStoreInstallation(() => standIn.url)
  const inStores = <A, E>(effect: Effect.Effect<A, E, Journal | Payloads | Store>) => session(install().open(), effect)

  it("lie there as JSON events with their envelope as metadata, contents before them", () =>
    inStores(
      Effect.gen(function* () {
        const given = appendOf(acme, fresh("run"), {
          events: [happened({ n: 1 }), happened({ n: 2 })],
          contents: [{ slot: "body", bytes: "canary-7f3a" }],
          workDue: 7
        })
        yield* append(given)
        const [content, first, last] = yield* raws(given.stream)
        assert.deepStrictEqual([content!.type, first!.type, last!.type], ["content", "Happened", "Happened"])
        assert.isFalse(Buffer.from(content!.data).includes("canary-7f3a"))
        assert.deepInclude(jsonOf(content!.metadata), { slot: "body", keyVersion: 1, revision: 1 })
        assert.deepStrictEqual(jsonOf(first!.data), { n: 1 })
        assert.strictEqual(first!.id, given.events[0].id)
        const metadata = jsonOf(last!.metadata)
        assert.deepInclude(metadata, { version: 1, revision: 1, at: given.at, space: acme.space, workDue: 7 })
        assert.deepStrictEqual(metadata["origin"], given.origin)
        assert.notProperty(jsonOf(first!.metadata), "workDue")
      })
    ))

  /** An event of ours, read from the store and written again with a fault in another stream of the same name's shape. */
  const forge = Effect.fnUntraced(function* (change: (raw: RawEvent) => Partial<RawEvent>) {
    const driver = yield* Store
    const given = appendOf(acme, fresh("run"), { events: [happened({ amount: 5 })] })
    yield* append(given)
    const forged = appendOf(acme, fresh("run"))
    for (const [index, raw] of (yield* raws(given.stream)).entries()) {
      const event = { ...raw, ...change(raw), id: raw.id, json: true }
      assert.strictEqual((yield* Effect.promise((): Promise<Outcome> => driver.append(forged.stream, index - 1, [event]))).is, "written")
    }
    return Result.getFailure(yield* Effect.result(read(forged))).valueOrUndefined
  })
  const replaced = (bytes: Uint8Array, from: string, to: string) => {
    const text = Buffer.from(bytes).toString()
    assert.include(text, from)
    return new Uint8Array(Buffer.from(text.replace(from, to)))
  }

  for (const [what, change] of [
    ["stream", () => ({})],
    ["data", (raw: RawEvent) => ({ data: replaced(raw.data, "5", "7") })],
    ["time", (raw: RawEvent) => ({ metadata: replaced(raw.metadata, '"at":1', '"at":2') })],
    ["origin", (raw: RawEvent) => ({ metadata: replaced(raw.metadata, "system", "webhook") })],
    ["type", () => ({ type: "Renamed" })],
    ["metadata", () => ({ metadata: new Uint8Array([1, 2]) })]
  ] as const)
    it(`names the event whose ${what} is not what was written`, () =>
      inStores(
        Effect.gen(function* () {
          const failed = yield* forge(change)
          assert.deepInclude(failed, { _tag: "JournalUnavailable", written: "no" })
          assert.include(failed?.message, "is damaged")
        })
      ))

  it("finds an event that is missing from a stream, by the chain of hashes", () =>
    inStores(
      Effect.gen(function* () {
        const driver = yield* Store
        const given = appendOf(acme, fresh("run"))
        for (const each of [given, next(given, 0), next(given, 1)]) yield* append(each)
        // Truncated by somebody else than the retention policy.
        yield* Effect.promise(() => driver.keepNewest(given.stream, 2))
        const failed = Result.getFailure(yield* Effect.result(read(given))).valueOrUndefined
        assert.include(failed?.message, "its hash does not follow")
      })
    ))

  it("keep what is too large for an event beside the journal, and take it away when it is of no use", async () => {
    const installation = install()
    await session(
      installation.openWith({ appendBytesMax: 8 * 1024 * 1024 }),
      Effect.gen(function* () {
        const large = new Uint8Array(300_000).map((_, index) => index % 251)
        const middle = () => new Uint8Array(200_000).fill(1)
        const given = appendOf(acme, fresh("run"), {
          contents: [{ slot: "large", bytes: large }, ...["a", "b", "c", "d", "e", "f"].map((slot) => ({ slot, bytes: middle() }))]
        })
        yield* append(given)
        assert.isTrue(installation.large.held.size > 1, "what does not fit the store's limit lies there too")
        assert.deepStrictEqual(Uint8Array.from((yield* open(given, "large"))[0]!), large)
        for (const slot of ["a", "f"]) assert.deepStrictEqual(Uint8Array.from((yield* open(given, slot))[0]!), middle())
        const before = installation.large.held.size
        const conflict = { ...given, events: [happened()] } as unknown as Append
        assert.isTrue(Result.isFailure(yield* Effect.result(append(conflict))))
        assert.strictEqual(installation.large.held.size, before)
        assert.isTrue((yield* append(given)).repeated)
        assert.deepStrictEqual(Uint8Array.from((yield* open(given, "large"))[0]!), large)
        assert.isTrue(yield* Effect.flatMap(Journal, (journal) => journal.retire(acme, given.stream, 0)))
        assert.strictEqual(installation.large.held.size, 0)
      })
    )
  })

  it("open no content whose key was destroyed", async () => {
    const installation = install()
    await session(
      installation.open(),
      Effect.gen(function* () {
        const given = appendOf(acme, fresh("run"), { contents: [{ slot: "body", bytes: "b" }] })
        yield* append(given)
        yield* Effect.flatMap(Journal, (journal) => journal.saveSnapshot(acme, given.stream, 1, { revision: 0, state: "{}" }))
        installation.keys.destroy()
        assert.deepInclude(Result.getFailure(yield* Effect.result(open(given, "body"))).valueOrUndefined, {
          _tag: "ContentGone",
          why: "absent"
        })
        assert.isNull((yield* Effect.flatMap(Journal, (journal) => journal.load(acme, given.stream, 1))).snapshot)
      })
    )
  })

  it("stay retired when the server has scavenged them", () =>
    inStores(
      Effect.gen(function* () {
        const journal = yield* Journal
        const given = appendOf(acme, fresh("run"), { contents: [{ slot: "body", bytes: "b" }] })
        yield* append(given)
        yield* journal.retire(acme, given.stream, 0)
        assert.isAbove((yield* Effect.promise(() => standIn.tell("scavenge")))["removed"]!, 0)
        assert.deepStrictEqual(yield* journal.load(acme, given.stream, 1), { snapshot: null, events: [], retired: true })
        assert.isTrue(yield* journal.retire(acme, given.stream, 0))
        assert.isFalse(yield* journal.retire(acme, given.stream, 1))
        assert.strictEqual(Result.getFailure(yield* Effect.result(append(given))).valueOrUndefined?._tag, "StreamRetired")
      })
    ))

  it("take many appends of many callers at once, and read back long streams over several pages", () =>
    inStores(
      Effect.gen(function* () {
        const given = appendOf(acme, fresh("run"), { events: Array.from({ length: 700 }, (_, n) => happened({ n })) })
        yield* append(given)
        yield* Effect.forEach(
          Array.from({ length: 700 }, (_, n) => next(given, 699 + n, { contents: [{ slot: `s${n}`, bytes: String(n) }] })),
          append,
          { concurrency: "unbounded", discard: true }
        )
        const events = yield* read(given)
        assert.lengthOf(events, 1_400)
        assert.strictEqual(Buffer.from((yield* open(given, "s3"))[0]!).toString(), "3")
        const middle = yield* Effect.flatMap(Journal, (journal) => journal.readStream(acme, given.stream, { from: 1_000, limit: 3 }))
        assert.deepStrictEqual(
          middle.map(({ revision }) => revision),
          [1_000, 1_001, 1_002]
        )
      })
    ))

  it("die, writing nothing, of an event id that is no UUID, and of a type that is none of the domain's", () =>
    inStores(
      Effect.gen(function* () {
        for (const event of [
          { ...happened(), id: "event-1" as EventId },
          { ...happened(), type: "happened" },
          { ...happened(), data: "{" }
        ]) {
          const given = appendOf(acme, fresh("run"), { events: [event] })
          assert.isTrue(Exit.hasDies(yield* Effect.exit(append(given))))
          assert.deepStrictEqual(yield* raws(given.stream), [])
        }
      })
    ))

  it("take the id that the vault knows its journal by, and refuse the vault of another journal", async () => {
    const fresh = await EventStoreStandIn.start()
    try {
      const open = (journalId?: string) =>
        session(
          eventStoreInstallation(() => fresh.url).openWith(journalId === undefined ? {} : { journalId }),
          Effect.map(Journal, (journal) => journal.journalId)
        )
      assert.strictEqual(await open("journal-of-the-vault"), "journal-of-the-vault")
      assert.strictEqual(await open(), "journal-of-the-vault")
      const refused = await open("another").then(
        () => assert.fail("It was opened."),
        (cause: StoreRefused) => cause
      )
      assert.strictEqual(refused.kind, "WrongVault")
    } finally {
      await fresh.stop()
    }
  })

  it("refuse a release that cannot read a type that they hold", async () => {
    const newer = { ...happened(), id: randomUUID() as EventId, type: "Renamed", version: 2 }
    await inStores(append(appendOf(acme, fresh("run"), { events: [newer] })))
    const refusal = (eventTypes: Readonly<Record<string, number>>) =>
      session(install().openWith({ eventTypes }), Effect.void).then(
        () => assert.fail("It was opened."),
        (cause: StoreRefused) => cause
      )
    const refused = await refusal({ Happened: 1, Renamed: 1 })
    assert.strictEqual(refused.kind, "UnknownEventTypes")
    assert.include(refused.message, "Renamed@2")
    assert.notInclude(refused.message, "Happened")
    await session(install().openWith({ eventTypes: { ...knownTypes, Renamed: 3 } }), Effect.void)
  })
})
