/** What every `Journal` keeps: exact revisions, recognised repeats, whole batches, streams apart from each other. */
import { createHash } from "node:crypto"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import { assert, describe, it } from "vitest"
import { contentRef } from "#domain/content.ts"
import { localNameOf, streamName } from "#domain/scope.ts"
import { type Append, Journal, type StoredEvent } from "#services/ports/journal.ts"
import { Payloads } from "#services/ports/payloads.ts"
import { acme, appendBytesMax, appendOf, eventId, fresh, happened, type Installation, other, session, shared } from "./installation.ts"

const append = (given: Append) => Effect.flatMap(Journal, (journal) => journal.append(given))
const failureOf = (given: Append) => Effect.map(Effect.result(append(given)), Result.getFailure)
const read = (given: Pick<Append, "scope" | "stream">, options?: { readonly from?: number; readonly limit?: number }) =>
  Effect.flatMap(Journal, (journal) => journal.readStream(given.scope, given.stream, options))
const load = (given: Pick<Append, "scope" | "stream">, version = 1) =>
  Effect.flatMap(Journal, (journal) => journal.load(given.scope, given.stream, version))
const dataOf = (events: ReadonlyArray<StoredEvent>) => events.map(({ data }) => data)

export const journalContract = (name: string, make: () => Installation) =>
  describe(`Journal: ${name}`, () => {
    const run = shared(make())

    it("gives back what was appended, in order, with its envelope", () =>
      run(
        Effect.gen(function* () {
          const first = appendOf(acme, fresh("run"), { events: [happened({ n: 1, text: "ä\u2028𝒳\n" }), happened({ n: 2 })] })
          const written = yield* append(first)
          const more = yield* append({ ...first, expected: 1, events: [happened({ n: 3 })] })
          const events = yield* read(first)
          assert.deepStrictEqual(dataOf(events), [{ n: 1, text: "ä\u2028𝒳\n" }, { n: 2 }, { n: 3 }])
          assert.deepStrictEqual(
            events.map(({ revision }) => revision),
            [0, 1, 2]
          )
          const [event] = events
          assert.strictEqual(event!.id, first.events[0].id)
          assert.strictEqual(event!.type, "Happened")
          assert.strictEqual(event!.version, 1)
          assert.strictEqual(event!.stream, first.stream)
          assert.strictEqual(event!.at, first.at)
          assert.deepStrictEqual(event!.scope, acme)
          assert.deepStrictEqual(event!.origin, first.origin)
          assert.strictEqual(written.revision, 1)
          assert.strictEqual(written.position, events[1]!.position)
          assert.strictEqual(more.position, events[2]!.position)
          assert.isTrue(events[0]!.position < events[1]!.position && events[1]!.position < events[2]!.position)
        })
      ))

    it("reads from a revision on, no more than asked, and nothing of a stream that is absent", () =>
      run(
        Effect.gen(function* () {
          const given = appendOf(acme, fresh("run"), { events: [0, 1, 2, 3, 4].map((n) => happened({ n })) })
          yield* append(given)
          assert.deepStrictEqual(dataOf(yield* read(given, { from: 1, limit: 2 })), [{ n: 1 }, { n: 2 }])
          assert.deepStrictEqual(dataOf(yield* read(given, { from: 5 })), [])
          assert.deepStrictEqual(yield* read({ scope: acme, stream: streamName(acme, fresh("run")) }), [])
        })
      ))

    it("refuses a revision that is not the stream's, and says which it is", () =>
      run(
        Effect.gen(function* () {
          const given = appendOf(acme, fresh("run"))
          const absent = yield* failureOf({ ...given, expected: 0 })
          assert.deepInclude(absent.valueOrUndefined, { _tag: "RevisionConflict", expected: 0, actual: -1 })
          yield* append(given)
          for (const expected of [-1, 1, 7]) {
            const conflict = yield* failureOf({ ...given, expected, events: [happened()] })
            assert.deepInclude(conflict.valueOrUndefined, { _tag: "RevisionConflict", expected, actual: 0 })
          }
          assert.lengthOf(yield* read(given), 1)
        })
      ))

    it("lets exactly one of many claimants of a revision win", () =>
      run(
        Effect.gen(function* () {
          for (const expected of [-1, 0]) {
            const local = fresh("claim")
            const base = appendOf(acme, local)
            if (expected === 0) yield* append(base)
            const claims = Array.from({ length: 20 }, (_, n) => ({ ...base, expected, events: [happened({ n })] }) as unknown as Append)
            const results = yield* Effect.forEach(claims, (claim) => Effect.result(append(claim)), { concurrency: "unbounded" })
            assert.lengthOf(results.filter(Result.isSuccess), 1)
            for (const result of results.filter(Result.isFailure)) assert.strictEqual(result.failure._tag, "RevisionConflict")
            const winner = results.findIndex(Result.isSuccess)
            assert.deepStrictEqual((yield* read(base)).at(-1)!.data, { n: winner })
          }
        })
      ))

    it("recognises the identical append when its answer was lost, and writes nothing twice", () =>
      run(
        Effect.gen(function* () {
          const given = appendOf(acme, fresh("run"), {
            events: [happened({ n: 1 }), happened({ n: 2 })],
            contents: [{ slot: "body", bytes: "once" }]
          })
          const first = yield* append(given)
          yield* append({ ...given, expected: 1, events: [happened({ n: 3 })], contents: [] })
          const again = yield* append(given)
          assert.deepStrictEqual(again, { ...first, repeated: true })
          assert.isFalse(first.repeated)
          assert.deepStrictEqual(dataOf(yield* read(given)), [{ n: 1 }, { n: 2 }, { n: 3 }])
          const payloads = yield* Payloads
          const [body] = yield* payloads.open(acme, [contentRef(localNameOf(given.stream), "body")])
          assert.strictEqual(Buffer.from(body!).toString(), "once")
        })
      ))

    it("recognises a repeat that arrives together with the first try", () =>
      run(
        Effect.gen(function* () {
          const given = appendOf(acme, fresh("run"))
          const answers = yield* Effect.all([append(given), append(given)], { concurrency: 2 })
          assert.deepStrictEqual(
            answers.map(({ repeated }) => repeated),
            [false, true]
          )
          assert.lengthOf(yield* read(given), 1)
        })
      ))

    it("appends to several streams, or to none of them, where it can", () =>
      run(
        Effect.gen(function* () {
          const { appendTogether } = yield* Journal
          if (appendTogether === null) return
          const counted = appendOf(acme, fresh("quota"))
          const earlier = yield* append(counted)
          const more: Append = { ...counted, expected: 0, events: [happened({ n: 1 })] }
          const one = appendOf(acme, fresh("run"), { contents: [{ slot: "body", bytes: "one" }] })
          const two = appendOf(acme, fresh("run"), {
            events: [happened({ n: 2 }), happened({ n: 3 })],
            contents: [{ slot: "body", bytes: "two" }]
          })
          const written = yield* appendTogether([more, one, two])
          assert.deepStrictEqual(
            written.map(({ repeated, revision }) => [repeated, revision]),
            [
              [false, 1],
              [false, 0],
              [false, 1]
            ]
          )
          const positions = [earlier, ...written].map(({ position }) => position)
          assert.deepStrictEqual([...positions].sort(), positions)
          assert.deepStrictEqual(dataOf(yield* read(two)), [{ n: 2 }, { n: 3 }])
          const payloads = yield* Payloads
          const bodies = yield* payloads.open(
            acme,
            [one, two].map(({ stream }) => contentRef(localNameOf(stream), "body"))
          )
          assert.deepStrictEqual(
            bodies.map((body) => Buffer.from(body).toString()),
            ["one", "two"]
          )
          const again = yield* appendTogether([more, one, two])
          assert.deepStrictEqual(
            again,
            written.map((each) => ({ ...each, repeated: true }))
          )
        })
      ))

    it("holds all of them back for the sake of one, and says which", () =>
      run(
        Effect.gen(function* () {
          const { appendTogether } = yield* Journal
          if (appendTogether === null) return
          const known = appendOf(acme, fresh("run"))
          yield* append(known)
          const fresher = [appendOf(acme, fresh("run")), appendOf(acme, fresh("run"))] as const
          const repeatedId: Append = { ...known, events: [happened({ n: 7 })] }
          for (const given of [
            [...fresher, repeatedId],
            [repeatedId, ...fresher],
            [known, ...fresher, { ...repeatedId, expected: 4 }]
          ]) {
            const refused = yield* Effect.flip(appendTogether(given as [Append, ...Array<Append>]))
            assert.deepInclude(refused, { _tag: "RevisionConflict", stream: known.stream, actual: 0 })
          }
          for (const { stream } of fresher) assert.deepStrictEqual(yield* read({ scope: acme, stream }), [])
          assert.lengthOf(yield* read(known), 1)
          // The names are free still.
          assert.lengthOf(yield* appendTogether(fresher), 2)
        })
      ))

    it("refuses a batch that repeats only in part", () =>
      run(
        Effect.gen(function* () {
          const events = [happened({ n: 1 }), happened({ n: 2 })] as const
          const given = appendOf(acme, fresh("run"), { events })
          yield* append(given)
          const half = yield* failureOf({ ...given, events: [events[0], happened({ n: 9 })] })
          assert.strictEqual(half.valueOrUndefined?._tag, "RevisionConflict")
          const longer = yield* failureOf({ ...given, events: [...events, happened({ n: 3 })] as unknown as Append["events"] })
          assert.strictEqual(longer.valueOrUndefined?._tag, "RevisionConflict")
          const swapped = yield* failureOf({ ...given, events: [events[1], events[0]] })
          assert.strictEqual(swapped.valueOrUndefined?._tag, "RevisionConflict")
          assert.deepStrictEqual(dataOf(yield* read(given)), [{ n: 1 }, { n: 2 }])
        })
      ))

    it("takes the same event id in two streams: ids are unique within one alone", () =>
      run(
        Effect.gen(function* () {
          const event = { ...happened(), id: eventId() }
          for (const local of [fresh("run"), fresh("run")])
            assert.isFalse((yield* append(appendOf(acme, local, { events: [event] }))).repeated)
        })
      ))

    it("writes all of a batch or nothing, each append on its own", () =>
      run(
        Effect.gen(function* () {
          const taken = appendOf(acme, fresh("run"))
          yield* append(taken)
          const good = [1, 2, 3].map(() => appendOf(acme, fresh("run"), { events: [happened(), happened()] }))
          const bad = { ...taken, events: [happened(), happened()] } as unknown as Append
          const all = [good[0]!, bad, good[1]!, good[2]!]
          const results = yield* Effect.forEach(all, (given) => Effect.result(append(given)), { concurrency: "unbounded" })
          assert.deepStrictEqual(results.map(Result.isSuccess), [true, false, true, true])
          for (const given of good) assert.lengthOf(yield* read(given), 2)
          assert.lengthOf(yield* read(taken), 1)
        })
      ))

    it("keeps the order of one caller's appends, interleaved with others", () =>
      run(
        Effect.gen(function* () {
          const streams = Array.from({ length: 8 }, () => appendOf(acme, fresh("run")))
          const all = Array.from({ length: 20 }, (_, n) =>
            streams.map((given) => ({ ...given, expected: n - 1, events: [happened({ n })] }))
          ).flat()
          yield* Effect.forEach(all, (given) => append(given as unknown as Append), { concurrency: "unbounded", discard: true })
          for (const given of streams)
            assert.deepStrictEqual(
              dataOf(yield* read(given)),
              Array.from({ length: 20 }, (_, n) => ({ n }))
            )
        })
      ))

    it("takes an append of the size that it names, and not one byte more", () =>
      run(
        Effect.gen(function* () {
          const journal = yield* Journal
          assert.strictEqual(journal.facts.maxAppendBytes, appendBytesMax)
          const sized = (bytes: number) => {
            const event = happened({ ä: "" })
            const content = bytes - Buffer.byteLength(event.data)
            return appendOf(acme, fresh("run"), { events: [event], contents: [{ slot: "body", bytes: new Uint8Array(content) }] })
          }
          for (const bytes of [appendBytesMax - 1, appendBytesMax]) yield* append(sized(bytes))
          const over = sized(appendBytesMax + 1)
          const refused = yield* failureOf(over)
          assert.deepInclude(refused.valueOrUndefined, { _tag: "AppendTooLarge", bytes: appendBytesMax + 1, limitBytes: appendBytesMax })
          assert.lengthOf(yield* read(over), 0)
        })
      ))

    it("chains each append's hash to its stream's name and to all appends before", () =>
      run(
        Effect.gen(function* () {
          const one = appendOf(acme, fresh("run"), { events: [happened({ n: 1 }), happened({ n: 2 })] })
          const more = { ...one, expected: 1, events: [happened({ n: 3 })] } as unknown as Append
          const two = appendOf(acme, fresh("run"), { events: one.events })
          for (const given of [one, more, two]) yield* append(given)
          const [first, second, third] = yield* read(one)
          const [foreign] = yield* read(two)
          assert.match(first!.hash, /^[0-9a-f]{64}$/u)
          assert.notStrictEqual(first!.hash, foreign!.hash)
          const sha256 = (text: string) => createHash("sha256").update(text).digest("hex")
          const record = ({ at, origin, events }: Append) =>
            [at, JSON.stringify(origin), "", ...events.flatMap(({ id, type, version, data }) => [id, `${type}@${version}`, data])].join(
              "\n"
            )
          assert.strictEqual(first!.hash, sha256(`${sha256(one.stream)}\n${record(one)}`))
          assert.strictEqual(second!.hash, first!.hash, "the events of one append share it")
          assert.strictEqual(third!.hash, sha256(`${first!.hash}\n${record(more)}`))
        })
      ))

    it("dies, writing nothing, when a stream is not of the scope that asks", () =>
      run(
        Effect.gen(function* () {
          const journal = yield* Journal
          const given = appendOf(acme, fresh("run"))
          yield* append(given)
          for (const attempt of [
            journal.append({ ...given, scope: other }),
            journal.load(other, given.stream, 1),
            journal.readStream(other, given.stream),
            journal.retire(other, given.stream, 0)
          ] as ReadonlyArray<Effect.Effect<unknown, unknown>>)
            assert.isTrue(Exit.hasDies(yield* Effect.exit(attempt)))
          assert.lengthOf(yield* read(given), 1)
        })
      ))

    it("loads the newest snapshot of a version and the events behind it", () =>
      run(
        Effect.gen(function* () {
          const journal = yield* Journal
          const given = appendOf(acme, fresh("run"), { events: [0, 1, 2, 3].map((n) => happened({ n })) })
          assert.deepStrictEqual(yield* load(given), { snapshot: null, events: [], retired: false })
          yield* append(given)
          yield* journal.saveSnapshot(acme, given.stream, 1, { revision: 1, state: '{"at":1}' })
          yield* journal.saveSnapshot(acme, given.stream, 1, { revision: 2, state: '{"at":2}' })
          yield* journal.saveSnapshot(acme, given.stream, 1, { revision: 1, state: '{"at":1}' })
          const loaded = yield* load(given)
          assert.deepStrictEqual(loaded.snapshot, { revision: 2, state: '{"at":2}' })
          assert.deepStrictEqual(dataOf(loaded.events), [{ n: 3 }])
          const elsewhere = yield* load(given, 2)
          assert.isNull(elsewhere.snapshot)
          assert.lengthOf(elsewhere.events, 4)
        })
      ))

    it("ignores a snapshot that is ahead of the stream", () =>
      run(
        Effect.gen(function* () {
          const journal = yield* Journal
          const given = appendOf(acme, fresh("run"))
          yield* append(given)
          yield* journal.saveSnapshot(acme, given.stream, 1, { revision: 5, state: "{}" })
          assert.isNull((yield* load(given)).snapshot)
        })
      ))

    it("retires a stream: its name stays taken, its events and content are gone, and it takes no more", () =>
      run(
        Effect.gen(function* () {
          const journal = yield* Journal
          const given = appendOf(acme, fresh("run"), { contents: [{ slot: "body", bytes: "gone" }] })
          const next = { ...given, expected: 0, events: [happened()], contents: [] } as unknown as Append
          yield* append(given)
          yield* journal.saveSnapshot(acme, given.stream, 1, { revision: 0, state: "{}" })
          assert.isFalse(yield* journal.retire(acme, given.stream, 1), "it is not at that revision")
          assert.isTrue(yield* journal.retire(acme, given.stream, 0))
          assert.isTrue(yield* journal.retire(acme, given.stream, 0), "repeatable")
          assert.deepStrictEqual(yield* load(given), { snapshot: null, events: [], retired: true })
          assert.lengthOf(yield* read(given), 0)
          for (const refused of [given, next]) assert.strictEqual((yield* failureOf(refused)).valueOrUndefined?._tag, "StreamRetired")
          const opened = yield* Effect.result((yield* Payloads).open(acme, [contentRef(localNameOf(given.stream), "body")]))
          assert.deepInclude(Result.getFailure(opened).valueOrUndefined, { _tag: "ContentGone", why: "retired" })
        })
      ))

    it("keeps everything over a restart: identity, streams, order, repeats and retired names", async () => {
      const installation = make()
      try {
        const given = appendOf(acme, fresh("run"), { events: [happened({ n: 1 })], contents: [{ slot: "body", bytes: "kept" }] })
        const retired = appendOf(acme, fresh("run"))
        const before = await session(
          installation.open(),
          Effect.gen(function* () {
            const journal = yield* Journal
            const first = yield* append(given)
            const last = yield* append(retired)
            yield* journal.retire(acme, retired.stream, 0)
            return { id: journal.journalId, first, last, hash: (yield* read(given))[0]!.hash }
          })
        )
        await session(
          installation.open(),
          Effect.gen(function* () {
            const journal = yield* Journal
            assert.strictEqual(journal.journalId, before.id)
            assert.deepStrictEqual(yield* append(given), { ...before.first, repeated: true })
            assert.strictEqual((yield* read(given))[0]!.hash, before.hash)
            assert.strictEqual((yield* failureOf(retired)).valueOrUndefined?._tag, "StreamRetired")
            const next = yield* append({ ...given, expected: 0, events: [happened({ n: 2 })], contents: [] } as unknown as Append)
            assert.isTrue(next.position > before.last.position, "a position is never given twice, even when its event was retired")
            const [body] = yield* (yield* Payloads).open(acme, [contentRef(localNameOf(given.stream), "body")])
            assert.strictEqual(Buffer.from(body!).toString(), "kept")
          })
        )
      } finally {
        installation.remove()
      }
    })
  })
