import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import { assert, describe, it } from "vitest"
import * as Entropy from "#adapters/node/entropy.ts"
import type { Aggregate } from "#domain/decider.ts"
import { eventFamily } from "#domain/event-family.ts"
import type { Position, SpaceKey, TenantKey } from "#domain/ids.ts"
import type { Origin } from "#domain/recorded.ts"
import { streamName, tenantScope } from "#domain/scope.ts"
import { type Append, Journal, RevisionConflict } from "#services/ports/journal.ts"
import { JournalUnavailable } from "#services/ports/unavailable.ts"
import { Transact } from "#services/transact.ts"
import { embedded } from "../support/embedded.ts"

const CounterEvent = Schema.TaggedUnion({ Counted: { by: Schema.Int } })
/** Counts up to 10, and has work left while it is odd. */
const counter: Aggregate<number, { readonly by: number }, typeof CounterEvent.Type, "full"> = {
  kind: "counter",
  version: 1,
  events: eventFamily(CounterEvent),
  initialState: 0,
  workDue: (state) => (state % 2 === 1 ? 0 : null),
  decide: ({ by }, state) =>
    by === 0
      ? Result.succeed([])
      : state + by > 1_000
        ? Result.fail("full" as const)
        : Result.succeed([CounterEvent.cases.Counted.make({ by })]),
  evolve: (state, { by }) => state + by
}
const scope = tenantScope(`s${"a".repeat(19)}` as SpaceKey, `t${"a".repeat(19)}` as TenantKey)
const origin: Origin = { actor: { kind: "system", id: "test" } }
const by = (amount: number) => ({ by: amount })
const run = <A>(test: Effect.Effect<A, unknown, Transact | Journal>) => Effect.runPromise(Effect.scoped(Effect.provide(test, embedded)))

/** A journal whose appends answer by a script, for what a disk does not do on demand. */
const scripted = (answers: ReadonlyArray<"ok" | "unknown" | "conflict">) => {
  const appends: Array<Append> = []
  const journal = Layer.mock(Journal, {
    facts: { maxAppendBytes: 1_000_000, durable: "fsync", soleWriter: true },
    journalId: "scripted",
    appendTogether: null,
    load: () => Effect.succeed({ snapshot: null, events: [], retired: false }),
    append: (append) => {
      const answer = answers[appends.length] ?? "ok"
      appends.push(append)
      if (answer === "unknown") return Effect.fail(new JournalUnavailable({ written: "unknown", reason: "no answer" }))
      if (answer === "conflict") return Effect.fail(new RevisionConflict({ stream: append.stream, expected: append.expected, actual: 5 }))
      return Effect.succeed({ revision: append.expected + append.events.length, position: "0000000000000001" as Position, repeated: false })
    }
  })
  return { appends, layer: Transact.layer.pipe(Layer.provide([journal, Entropy.layer]), Layer.provideMerge(TestClock.layer())) }
}

describe("transact", () => {
  it("decides several commands on each other's results, in one append", () =>
    run(
      Effect.gen(function* () {
        const { transact } = yield* Transact
        const done = yield* transact(counter, scope, "a", [by(1), by(2)], { origin })
        assert.deepInclude(done, { state: 3, revision: 1, repeated: false })
        const journal = yield* Journal
        const events = yield* journal.readStream(scope, streamName(scope, "counter-a"))
        assert.deepStrictEqual(
          events.map(({ data }) => data),
          [{ by: 1 }, { by: 2 }]
        )
      })
    ))
  it("changes several streams at once, or none of them", () =>
    run(
      Effect.gen(function* () {
        const { together, transact, read } = yield* Transact
        const known = { aggregate: counter, id: "known", commands: [by(1)], options: { origin } }
        const fresh = (id: string, amount = 5) => ({
          aggregate: counter,
          id,
          commands: [by(amount)],
          options: { origin, presumeAbsent: true }
        })
        yield* transact(counter, scope, "known", by(1), { origin })
        const done = yield* together!(scope, [known, fresh("one"), fresh("two", 6)])
        assert.deepStrictEqual(
          done.map(({ state, revision }) => [state, revision]),
          [
            [2, 1],
            [5, 0],
            [6, 0]
          ]
        )
        const refused = [
          [known, fresh("three"), fresh("one")],
          [known, fresh("three"), fresh("four", 2_000)],
          [known, fresh("three"), { ...fresh("four"), onlyIf: () => false }]
        ]
        for (const parts of refused) assert.deepInclude(yield* Effect.flip(together!(scope, parts)), { _tag: "PartRefused", index: 2 })
        // A stream that is there, and is not in memory.
        const { forget } = yield* Transact
        forget(scope, "counter-one")
        assert.deepInclude(yield* Effect.flip(together!(scope, [known, fresh("three"), fresh("one")])), { _tag: "PartRefused", index: 2 })
        assert.strictEqual((yield* read(counter, scope, "known")).state, 2)
        assert.strictEqual((yield* read(counter, scope, "three")).revision, -1)
        assert.strictEqual((yield* transact(counter, scope, "one", by(1), { origin })).state, 6)
        yield* together!(scope, [known, fresh("three")])
        assert.strictEqual((yield* read(counter, scope, "known")).state, 3)
      })
    ))
  it("writes nothing when one of several commands is rejected", () =>
    run(
      Effect.gen(function* () {
        const { read, transact } = yield* Transact
        assert.strictEqual(yield* Effect.flip(transact(counter, scope, "a", [by(1), by(2_000)], { origin })), "full")
        assert.deepInclude(yield* read(counter, scope, "a"), { state: 0, revision: -1 })
      })
    ))
  it("loses none of 100 commands that come at the same time", () =>
    run(
      Effect.gen(function* () {
        const { read, transact } = yield* Transact
        yield* Effect.forEach(
          Array.from({ length: 100 }, () => by(1)),
          (command) => transact(counter, scope, "a", command, { origin }),
          { concurrency: "unbounded", discard: true }
        )
        assert.deepInclude(yield* read(counter, scope, "a"), { state: 100, revision: 99 })
      })
    ))
  it("answers a repeated command id as the first time, and refuses it for another content", () =>
    run(
      Effect.gen(function* () {
        const { forget, transact } = yield* Transact
        const keyed: Origin = { ...origin, commandId: "c1", commandHash: "h1" }
        yield* transact(counter, scope, "a", by(1), { origin: keyed })
        assert.deepInclude(yield* transact(counter, scope, "a", by(1), { origin: keyed }), { state: 1, repeated: true, events: [] })
        forget(scope, "counter-a")
        assert.deepInclude(yield* transact(counter, scope, "a", by(1), { origin: keyed }), { state: 1, repeated: true })
        const other = transact(counter, scope, "a", by(1), { origin: { ...keyed, commandHash: "h2" } })
        assert.deepInclude(yield* Effect.flip(other), { _tag: "CommandIdReused" })
      })
    ))
  it("finds its state again from a snapshot and the tail", () =>
    run(
      Effect.gen(function* () {
        const { forget, read, transact } = yield* Transact
        for (let count = 0; count < 130; count++) yield* transact(counter, scope, "a", by(1), { origin })
        const journal = yield* Journal
        const loaded = yield* journal.load(scope, streamName(scope, "counter-a"), counter.version)
        assert.isNotNull(loaded.snapshot)
        assert.isBelow(loaded.events.length, 130)
        forget(scope, "counter-a")
        assert.deepInclude(yield* read(counter, scope, "a"), { state: 130, revision: 129 })
      })
    ))
  it("reloads and decides again when it presumed a stream absent that exists", () =>
    run(
      Effect.gen(function* () {
        const { forget, transact } = yield* Transact
        yield* transact(counter, scope, "a", by(2), { origin })
        forget(scope, "counter-a")
        assert.deepInclude(yield* transact(counter, scope, "a", by(3), { origin, presumeAbsent: true }), { state: 5, revision: 1 })
      })
    ))
  it("tells of work that becomes due, and only then", () =>
    run(
      Effect.gen(function* () {
        const { onWork, transact } = yield* Transact
        const heard: Array<number> = []
        onWork((_scope, _stream, dueAt) => heard.push(dueAt))
        yield* transact(counter, scope, "a", by(2), { origin })
        yield* transact(counter, scope, "a", by(1), { origin })
        yield* transact(counter, scope, "a", by(2), { origin })
        assert.deepStrictEqual(heard, [0])
      })
    ))
  it("repeats the identical batch until an unknown outcome is known", async () => {
    const { appends, layer } = scripted(["unknown", "unknown", "ok"])
    const test = Effect.gen(function* () {
      const { transact } = yield* Transact
      const fiber = yield* Effect.forkChild(transact(counter, scope, "a", by(1), { origin }), { startImmediately: true })
      yield* TestClock.adjust("1 second")
      assert.deepInclude(yield* Fiber.join(fiber), { state: 1 })
    })
    await Effect.runPromise(Effect.provide(test, layer))
    assert.strictEqual(appends.length, 3)
    assert.deepStrictEqual(appends[1], appends[0])
    assert.deepStrictEqual(appends[2], appends[0])
  })
  it("gives up on a stream that others keep changing", async () => {
    const { appends, layer } = scripted(Array.from({ length: 50 }, () => "conflict" as const))
    const error = await Effect.runPromise(
      Effect.provide(Effect.flip(Transact.use(({ transact }) => transact(counter, scope, "a", by(1), { origin }))), layer)
    )
    assert.deepInclude(error, { _tag: "TooBusy" })
    assert.isBelow(appends.length, 50)
    assert.notStrictEqual(appends[0]!.events[0].id, appends[1]!.events[0].id, "a new decision has new event ids")
  })
  it("gives the turn on to thousands that have nothing to wait for", () =>
    run(
      Effect.gen(function* () {
        const { read, transact } = yield* Transact
        const commands = [by(1), ...Array.from({ length: 5_000 }, () => by(0)), by(1)]
        yield* Effect.forEach(commands, (command) => transact(counter, scope, "a", command, { origin }), {
          concurrency: "unbounded",
          discard: true
        })
        assert.deepInclude(yield* read(counter, scope, "a"), { state: 2, revision: 1 })
      })
    ))
})
