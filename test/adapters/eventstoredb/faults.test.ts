/** The journal on EventStoreDB while its server fails: nothing acknowledged is lost, nothing is written twice, and it goes on by itself. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import { afterEach, assert, beforeEach, describe, it } from "vitest"
import { Store } from "#adapters/eventstoredb/driver.ts"
import type { Position } from "#domain/ids.ts"
import { Feed } from "#services/ports/feed.ts"
import { type Append, Journal } from "#services/ports/journal.ts"
import { ran } from "../../support/cases.ts"
import { EventStoreStandIn } from "../../support/event-store.ts"
import { acme, appendOf, fresh, happened, session } from "../installation.ts"
import { eventStoreInstallation, type OpenOptions } from "./installation.ts"

const append = (given: Append) => Effect.flatMap(Journal, (journal) => journal.append(given))
const eventsOf = (given: Append) => Effect.flatMap(Journal, (journal) => journal.readStream(given.scope, given.stream))
const many = (count: number) =>
  Array.from({ length: count }, () => appendOf(acme, fresh("run"), { contents: [{ slot: "body", bytes: "b" }] }))
const pause = (millis: number) => Effect.promise(() => new Promise((resolve) => setTimeout(resolve, millis)))

describe("the journal on EventStoreDB under faults", () => {
  let standIn: EventStoreStandIn
  let folder: string
  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), "tributary-esdb-"))
    standIn = await EventStoreStandIn.start({ data: folder })
  })
  afterEach(async () => {
    await standIn.stop()
    rmSync(folder, { recursive: true, force: true })
  })
  const patient: OpenOptions = { driver: { appendMillis: 5_000, outcomeMillis: 30_000 } }
  const inStores = <A, E>(options: OpenOptions, effect: Effect.Effect<A, E, Journal | Feed | Store>) =>
    session(eventStoreInstallation(() => standIn.url).openWith(options), effect)

  /** What each append came to must be what lies in its stream. */
  const settle = Effect.fnUntraced(function* (appends: ReadonlyArray<Append>, outcomes: ReadonlyArray<Result.Result<unknown, unknown>>) {
    const counts = { written: 0, refused: 0, unknown: 0 }
    for (const [index, outcome] of outcomes.entries()) {
      const there = (yield* eventsOf(appends[index]!)).length
      if (Result.isSuccess(outcome)) {
        counts.written++
        assert.strictEqual(there, 1, "acknowledged")
        continue
      }
      const failure = outcome.failure as { readonly _tag: string; readonly written: string }
      assert.strictEqual(failure._tag, "JournalUnavailable")
      if (failure.written === "no") {
        counts.refused++
        assert.strictEqual(there, 0, "said not to be written")
      } else {
        counts.unknown++
        assert.isAtMost(there, 1)
      }
    }
    return counts
  })

  it("keeps what was acknowledged when the server is killed amid appends, and writes nothing twice", () =>
    inStores(
      patient,
      Effect.gen(function* () {
        yield* append(many(1)[0]!)
        const appends = many(1_500)
        const pending = yield* Effect.forkChild(
          Effect.forEach(appends, (given) => Effect.result(append(given)), { concurrency: "unbounded" }),
          { startImmediately: true }
        )
        // So many are in the log before the kill, and most are on their way.
        while ((yield* Effect.promise(() => standIn.tell("counts")))["events"]! < 50) yield* pause(1)
        yield* Effect.promise(() => standIn.kill())
        standIn = yield* Effect.promise(() => standIn.restart())
        const counts = yield* settle(appends, yield* Fiber.join(pending))
        assert.isAbove(counts.written, 0)
        // By itself, without being opened anew.
        assert.isFalse((yield* append(many(1)[0]!)).repeated)
      })
    ))

  it("finds out what became of an append whose answer was lost, each time", () => {
    const times = Number(process.env["TRIBUTARY_DROPPED_ANSWERS"] ?? 50)
    return inStores(
      patient,
      Effect.gen(function* () {
        for (const given of many(times)) {
          yield* Effect.promise(() => standIn.tell("drop-answers", { count: 1 }))
          const { repeated, revision } = yield* append(given)
          assert.strictEqual(revision, 0)
          assert.isFalse(repeated, "it was this call that wrote it")
          const next = { ...given, expected: 0, events: [happened()], contents: [] } as unknown as Append
          yield* Effect.promise(() => standIn.tell("drop-answers", { count: 1 }))
          assert.strictEqual((yield* append(next)).revision, 1)
          assert.lengthOf(yield* eventsOf(given), 2)
        }
        const { dropped } = yield* Effect.promise(() => standIn.tell("counts"))
        ran("dropped answers", dropped!, 2 * times, "appends were committed without an answer; none was lost or written twice")
      })
    )
  }, 300_000)

  it("tells a lost claim from a lost answer: of rivals for a revision, one wins although every answer is lost", () =>
    inStores(
      patient,
      Effect.gen(function* () {
        for (let round = 0; round < 10; round++) {
          const base = appendOf(acme, fresh("claim"))
          const rivals = Array.from({ length: 5 }, () => ({ ...base, events: [happened()] }) as unknown as Append)
          yield* Effect.promise(() => standIn.tell("drop-answers", { count: 3 }))
          const results = yield* Effect.forEach(rivals, (given) => Effect.result(append(given)), { concurrency: "unbounded" })
          assert.lengthOf(results.filter(Result.isSuccess), 1)
          assert.lengthOf(yield* eventsOf(base), 1)
        }
      })
    ))

  it("says that an outcome is unknown while the server is frozen, and finds the append when it is asked again", () =>
    inStores(
      { driver: { appendMillis: 150, outcomeMillis: 400 } },
      Effect.gen(function* () {
        yield* append(many(1)[0]!)
        const [given, later] = many(2) as [Append, Append]
        standIn.signal("SIGSTOP")
        const outcome = Result.getFailure(yield* Effect.result(append(given))).valueOrUndefined
        assert.deepInclude(outcome, { _tag: "JournalUnavailable", written: "unknown" })
        assert.include(outcome?.message, `EventStoreDB at 127.0.0.1:${standIn.port} did not answer`)
        standIn.signal("SIGCONT")
        yield* append(given).pipe(Effect.retry({ times: 20 }))
        yield* append(later).pipe(Effect.retry({ times: 20 }))
        for (const each of [given, later]) assert.lengthOf(yield* eventsOf(each), 1)
      })
    ))

  it("waits out a freeze within its patience", () =>
    inStores(
      { driver: { appendMillis: 150, outcomeMillis: 30_000 } },
      Effect.gen(function* () {
        yield* append(many(1)[0]!)
        const appends = many(20)
        standIn.signal("SIGSTOP")
        const pending = yield* Effect.forkChild(Effect.forEach(appends, append, { concurrency: "unbounded" }), { startImmediately: true })
        yield* pause(500)
        standIn.signal("SIGCONT")
        yield* Fiber.join(pending)
        for (const given of appends) assert.lengthOf(yield* eventsOf(given), 1)
      })
    ))

  it("writes once what came back too late for several tries", () =>
    inStores(
      { driver: { appendMillis: 100, outcomeMillis: 30_000 } },
      Effect.gen(function* () {
        const given = many(1)[0]!
        yield* append(many(1)[0]!)
        yield* Effect.promise(() => standIn.tell("delay", { millis: 300 }))
        const pending = yield* Effect.forkChild(append(given), { startImmediately: true })
        while ((yield* Effect.promise(() => standIn.tell("counts")))["delayed"]! < 3) yield* pause(10)
        yield* Effect.promise(() => standIn.tell("delay", { millis: 0 }))
        yield* Fiber.join(pending)
        assert.lengthOf(yield* eventsOf(given), 1)
      })
    ))

  it("goes to the leader when it is told that the node is none", () =>
    inStores(
      patient,
      Effect.gen(function* () {
        yield* append(many(1)[0]!)
        yield* Effect.promise(() => standIn.tell("not-leader", { count: 1 }))
        const appends = many(20)
        const outcomes = yield* Effect.forEach(appends, (given) => Effect.result(append(given)), { concurrency: "unbounded" })
        const counts = yield* settle(appends, outcomes)
        assert.strictEqual(counts.written, appends.length)
        assert.strictEqual((yield* Effect.promise(() => standIn.tell("counts")))["notLeader"], 1)
      })
    ))

  it("says at once that nothing was written while the server is away, and goes on when it is back", () =>
    inStores(
      patient,
      Effect.gen(function* () {
        yield* append(many(1)[0]!)
        yield* Effect.promise(() => standIn.kill())
        const given = many(1)[0]!
        // The first may still go out on the broken connection.
        yield* Effect.result(Effect.flatMap(Journal, (journal) => journal.load(acme, given.stream, 1)))
        const outcome = Result.getFailure(yield* Effect.result(append(given))).valueOrUndefined
        assert.deepInclude(outcome, { _tag: "JournalUnavailable", written: "no" })
        assert.include(outcome?.message, "cannot be reached")
        standIn = yield* Effect.promise(() => standIn.restart())
        assert.isFalse((yield* append(given)).repeated)
        assert.lengthOf(yield* eventsOf(given), 1)
      })
    ))

  it("follows the log over a kill and resets without gap, repetition or disorder", () =>
    inStores(
      patient,
      Effect.gen(function* () {
        const feed = yield* Feed
        const seen: Array<unknown> = []
        const follower = yield* feed.follow({ after: null, limit: 50 }).pipe(
          Stream.flatMap(({ events }) => Stream.fromIterable(events)),
          Stream.take(300),
          Stream.runForEach(({ data }) => Effect.sync(() => void seen.push(data["n"]))),
          Effect.forkChild
        )
        for (let n = 0; n < 300; n++) {
          if (n === 100) yield* Effect.promise(() => standIn.tell("reset"))
          if (n === 200) {
            yield* Effect.promise(() => standIn.kill())
            standIn = yield* Effect.promise(() => standIn.restart())
          }
          yield* append(appendOf(acme, fresh("run"), { events: [happened({ n })] })).pipe(Effect.retry({ times: 20 }))
        }
        yield* Fiber.join(follower)
        assert.deepStrictEqual(
          seen,
          Array.from({ length: 300 }, (_, n) => n)
        )
      })
    ))

  it("moves its position over 10,000 events that are not the domain's", () =>
    inStores(
      patient,
      Effect.gen(function* () {
        const feed = yield* Feed
        const driver = yield* Store
        const { position } = yield* append(many(1)[0]!)
        const foreign = () => ({
          id: crypto.randomUUID(),
          type: "content",
          json: false,
          data: new Uint8Array(8),
          metadata: new Uint8Array()
        })
        for (let batch = 0; batch < 20; batch++)
          yield* Effect.promise(() => driver.append(`foreign-${batch}`, -1, Array.from({ length: 500 }, foreign)))
        const reached: { position: Position | null } = { position: null }
        yield* feed.follow({ after: position, limit: 10 }).pipe(
          Stream.takeUntil(({ atHead }) => atHead),
          Stream.runForEach((page) =>
            Effect.sync(() => {
              assert.deepStrictEqual(page.events, [])
              reached.position = page.position
            })
          )
        )
        assert.isTrue(reached.position! > position, "it moved")
        const last = many(1)[0]!
        yield* append(last)
        const { events } = yield* feed.read({ after: reached.position, limit: 10 })
        assert.deepStrictEqual(
          events.map(({ id }) => id),
          last.events.map(({ id }) => id)
        )
      })
    ))
})
