/** The feeds on SQLite: that of the writer's process, and the read-only one of another thread. */

import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import { afterEach, assert, describe, it } from "vitest"
import { CommittedRing } from "#adapters/sqlite/committed-ring.ts"
import { hashCharacters } from "#adapters/sqlite/journal-protocol.ts"
import * as Reader from "#adapters/sqlite/journal-reader.ts"
import { JournalThread } from "#adapters/sqlite/journal-thread-client.ts"
import { positionText } from "#adapters/sqlite/stored-event.ts"
import type { Position } from "#domain/ids.ts"
import { Feed, type FeedPage } from "#services/ports/feed.ts"
import { type Append, Journal, type StoredEvent } from "#services/ports/journal.ts"
import { eventStoreRows, onEmptyLog } from "./eventstoredb/rows.ts"
import { feedContract, readAll, write } from "./feed.contract.ts"
import { acme, appendOf, fresh, happened, type Installation, type SqliteInstallation, session, sqliteInstallation } from "./installation.ts"

feedContract("sqlite, the writer's process", sqliteInstallation)
await eventStoreRows(onEmptyLog(feedContract))

/** The reader over the writer's file, told of each new head as another thread would be. */
const readerInstallation = (): Installation => {
  const installation = sqliteInstallation()
  const news = Layer.effectDiscard(
    Effect.gen(function* () {
      const { connection } = yield* JournalThread
      const { wake } = yield* Reader.FeedWake
      const follow = (told: number): (() => void) =>
        connection.whenAfter(told, () => {
          const head = connection.ring.head
          wake(positionText(head))
          setImmediate(() => follow(head))
        })
      yield* Effect.acquireRelease(
        Effect.sync(() => follow(connection.ring.head)),
        (stop) => Effect.sync(stop)
      )
    })
  )
  const reader = Layer.suspend(() => Reader.layer({ file: join(installation.folder, "journal.db") }))
  return { ...installation, open: () => Layer.provideMerge(news, reader).pipe(Layer.provideMerge(installation.open())) as never }
}
feedContract("sqlite, a reader of its own", readerInstallation)

describe("the feed on SQLite", () => {
  const made: Array<SqliteInstallation> = []
  const install = () => {
    const installation = sqliteInstallation()
    made.push(installation)
    return installation
  }
  afterEach(() => made.splice(0).forEach(({ remove }) => remove()))

  it("gives the same pages from memory, and from the file after a restart", async () => {
    const installation = install()
    const readPages = readAll({ after: null, limit: 7 })
    const plain = (pages: ReadonlyArray<FeedPage>) =>
      pages.map(({ events, ...page }) => ({ ...page, events: events.map((event) => ({ ...event, data: event.data })) }))
    const fromMemory = await session(installation.open(), Effect.andThen(write(0, 40), readPages))
    const fromFile = await session(installation.open(), readPages)
    assert.deepStrictEqual(plain(fromFile), plain(fromMemory))
  })

  it("falls back to the file for what memory no longer holds, and comes back, without gap", () =>
    session(
      install().open(),
      Effect.gen(function* () {
        const journal = yield* Journal
        const feed = yield* Feed
        const fat = "x".repeat(30_000)
        // More characters than the ring holds: a follower that starts late finds the first of them in the file alone.
        const appends = Array.from({ length: 400 }, (_, n) => appendOf(acme, fresh("run"), { events: [happened({ n, fat })] }))
        const { connection } = yield* JournalThread
        assert.deepStrictEqual(connection.ring.after(0, 1), [])
        yield* Effect.forEach(appends, (given) => journal.append(given), { concurrency: 64, discard: true })
        assert.isNull(connection.ring.after(0, 10))
        assert.isNotNull(connection.ring.after(connection.ring.head - 10, 10))
        const seen = yield* feed.follow({ after: null, limit: 50 }).pipe(
          Stream.flatMap(({ events }) => Stream.fromIterable(events)),
          Stream.take(400),
          Stream.runCollect
        )
        const positions = seen.map(({ position }) => Number(position))
        assert.deepStrictEqual(
          positions,
          Array.from({ length: 400 }, (_, index) => index + 1)
        )
      })
    ))

  it("holds for its readers what was committed, as it is stored, and nothing of what was refused or repeated", () =>
    session(
      install().open(),
      Effect.gen(function* () {
        const { ring } = (yield* JournalThread).connection
        const journal = yield* Journal
        const before = ring.head
        assert.deepStrictEqual(ring.after(before, 1), [])
        const given = appendOf(acme, fresh("run"), { events: [happened({ n: 0 }), happened({ n: 1 })] })
        yield* journal.append(given)
        yield* journal.append(given)
        yield* Effect.result(journal.append({ ...given, expected: 7 }))
        yield* journal.append({ ...given, expected: 1, events: [happened({ n: 2 })] } as unknown as Append)
        const held = ring.after(before, 10)!
        assert.deepStrictEqual(
          held.map(({ data }) => data["n"]),
          [0, 1, 2]
        )
        const stored = yield* journal.readStream(acme, given.stream)
        assert.deepStrictEqual(
          held.map((event) => ({ ...event })),
          stored.map((event) => ({ ...event }))
        )
      })
    ))

  it("reaches the head also when the newest events were retired, and waits there", async () => {
    const installation = install()
    const given = appendOf(acme, fresh("run"), { events: [happened({ n: 9 })] })
    await session(
      installation.open(),
      Effect.gen(function* () {
        const journal = yield* Journal
        yield* write(0, 3)
        yield* journal.append(given)
        yield* journal.retire(acme, given.stream, 0)
      })
    )
    const reader = Reader.layer({ file: join(installation.folder, "journal.db") })
    for (const layer of [installation.open(), reader] as ReadonlyArray<Layer.Layer<Feed, unknown>>)
      await session(
        layer,
        Effect.gen(function* () {
          const feed = yield* Feed
          for (const streamPrefixes of [{}, { streamPrefixes: [given.stream] }]) {
            const page = yield* feed.read({ after: null, limit: 10, ...streamPrefixes })
            assert.isTrue(page.atHead)
            assert.strictEqual(page.position, positionText(4))
            assert.strictEqual(page.position, yield* feed.head)
          }
        })
      )
  })

  it("names a damaged event to readers of another thread too", async () => {
    const installation = install()
    await session(installation.open(), write(0, 3))
    const db = new DatabaseSync(join(installation.folder, "journal.db"))
    db.exec("UPDATE appends SET events = replace(events, 'n', 'm') WHERE position = 1")
    db.close()
    const failed = await session(
      Reader.layer({ file: join(installation.folder, "journal.db") }),
      Effect.gen(function* () {
        const feed = yield* Feed
        assert.lengthOf((yield* feed.read({ after: positionText(1), limit: 10 })).events, 2)
        return Result.getFailure(yield* Effect.result(feed.read({ after: null, limit: 10 }))).valueOrUndefined
      })
    )
    assert.strictEqual(failed?._tag, "JournalUnavailable")
    assert.include(failed?.message, "event 1 ")
  })

  it("refuses a position that no journal of this kind gave", () =>
    session(
      install().open(),
      Effect.gen(function* () {
        const exit = yield* Effect.exit(Effect.flatMap(Feed, (feed) => feed.read({ after: "C12/P12" as Position, limit: 1 })))
        assert.strictEqual(exit._tag, "Failure")
      })
    ))

  it("lets a follower go that is interrupted while it waits", () =>
    session(
      install().open(),
      Effect.gen(function* () {
        const feed = yield* Feed
        const follower = yield* Effect.forkChild(Stream.runDrain(feed.follow({ after: null, limit: 1 })), { startImmediately: true })
        yield* Effect.yieldNow
        yield* Fiber.interrupt(follower)
        yield* write(0, 3)
      })
    ))
})

describe("the ring of committed events", () => {
  const add = (ring: CommittedRing, last: number, count: number, fat = 0) =>
    ring.add(
      appendOf(acme, fresh("run"), { events: Array.from({ length: count }, (_, n) => happened({ n, fat: "x".repeat(fat) })) }),
      last,
      count - 1,
      "h".repeat(hashCharacters),
      0
    )
  const positions = (events: ReadonlyArray<StoredEvent> | null) => events?.map(({ position }) => Number(position))

  const followed = (head: number) => {
    const ring = new CommittedRing(head)
    assert.deepStrictEqual(ring.after(head, 1), [])
    return ring
  }

  it("gives whole and cut batches behind any position", () => {
    const ring = followed(10)
    add(ring, 13, 3)
    add(ring, 14, 1)
    assert.deepStrictEqual(positions(ring.after(10, 100)), [11, 12, 13, 14])
    assert.deepStrictEqual(positions(ring.after(11, 2)), [12, 13])
    assert.deepStrictEqual(positions(ring.after(13, 9)), [14])
    assert.deepStrictEqual(positions(ring.after(14, 9)), [])
    assert.isNull(ring.after(9, 9))
  })

  it("starts anew after a gap, rather than pass over it", () => {
    const ring = followed(0)
    add(ring, 1, 1)
    add(ring, 5, 2)
    assert.isNull(ring.after(0, 9))
    assert.isNull(ring.after(1, 9))
    assert.deepStrictEqual(positions(ring.after(3, 9)), [4, 5])
  })

  it("holds no more than its bound", () => {
    const ring = followed(0)
    for (let n = 1; n <= 20_000; n++) {
      add(ring, n, 1)
      if (n % 5_000 === 0) assert.deepStrictEqual(positions(ring.after(n - 1, 1)), [n])
    }
    assert.isNull(ring.after(20_000 - 8_192 - 1, 1))
    assert.lengthOf(ring.after(20_000 - 8_192, 10_000)!, 8_192)
  })

  it("holds nothing for nobody, and nothing more when nobody has read for so many events", () => {
    const ring = new CommittedRing(0)
    add(ring, 1, 1)
    assert.isNull(ring.after(0, 1))
    add(ring, 2, 1)
    assert.deepStrictEqual(positions(ring.after(1, 1)), [2])
    for (let n = 3; n <= 8_195; n++) add(ring, n, 1)
    assert.lengthOf(ring.after(8_194, 1)!, 1)
    for (let n = 8_196; n <= 20_000; n++) add(ring, n, 1)
    assert.isNull(ring.after(19_999, 1))
    assert.deepStrictEqual(ring.after(20_000, 1), [])
  })
})
