/** What every `Feed` keeps: the whole log in order, without gap, from any position on, for as long as somebody follows. */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import { assert, describe, it } from "vitest"
import type { Position } from "#domain/ids.ts"
import { bucketOf, type Scope } from "#domain/scope.ts"
import { Feed, type FeedPage, type FeedQuery } from "#services/ports/feed.ts"
import { Journal } from "#services/ports/journal.ts"
import { acme, appendOf, fresh, happened, type Installation, other, session } from "./installation.ts"

/** Appends `count` events, some alone and some in batches, and gives their numbers in log order. */
export const write = Effect.fnUntraced(function* (from: number, count: number, scope: Scope = acme) {
  const journal = yield* Journal
  let n = from
  while (n < from + count) {
    const size = Math.min(1 + (n % 3), from + count - n)
    const events = Array.from({ length: size }, () => happened({ n: n++ }))
    yield* journal.append(appendOf(scope, fresh("run"), { events }))
  }
})
const numbers = (pages: ReadonlyArray<FeedPage>) => pages.flatMap(({ events }) => events.map(({ data }) => data["n"]))
const range = (from: number, to: number) => Array.from({ length: to - from }, (_, index) => from + index)

/** Reads page by page to the head. */
export const readAll = Effect.fnUntraced(function* (query: FeedQuery) {
  const feed = yield* Feed
  const pages: Array<FeedPage> = []
  let after: Position | null = query.after
  while (true) {
    const page: FeedPage = yield* feed.read({ ...query, after })
    pages.push(page)
    if (page.atHead) return pages
    assert.isTrue(after === null || (page.position !== null && page.position > after), "a page moves on")
    after = page.position
  }
})

export const feedContract = (name: string, make: () => Installation) =>
  describe(`Feed: ${name}`, () => {
    const inNew = async <A, E>(effect: Effect.Effect<A, E, Feed | Journal>) => {
      const installation = make()
      try {
        return await session(installation.open(), effect)
      } finally {
        installation.remove()
      }
    }

    it("says that an empty log is empty", () =>
      inNew(
        Effect.gen(function* () {
          const feed = yield* Feed
          assert.isNull(yield* feed.head)
          assert.deepStrictEqual(yield* feed.read({ after: null, limit: 10 }), { events: [], position: null, atHead: true })
        })
      ))

    it("gives every event once, in order, in pages of any size", () =>
      inNew(
        Effect.gen(function* () {
          yield* write(0, 50)
          const feed = yield* Feed
          for (const limit of [1, 2, 7, 50, 51, 1000]) {
            const pages = yield* readAll({ after: null, limit })
            assert.deepStrictEqual(numbers(pages), range(0, 50))
            for (const { events } of pages) assert.isAtMost(events.length, limit)
            assert.strictEqual(pages.at(-1)!.position, yield* feed.head)
          }
        })
      ))

    it("goes on behind any position, and stays where it is at the head", () =>
      inNew(
        Effect.gen(function* () {
          yield* write(0, 10)
          const feed = yield* Feed
          const { events } = yield* feed.read({ after: null, limit: 10 })
          for (const [index, { position }] of events.entries())
            assert.deepStrictEqual(numbers(yield* readAll({ after: position, limit: 3 })), range(index + 1, 10))
          const head = yield* feed.head
          assert.deepStrictEqual(yield* feed.read({ after: head, limit: 3 }), { events: [], position: head, atHead: true })
        })
      ))

    it("gives the events as the journal gives them", () =>
      inNew(
        Effect.gen(function* () {
          const journal = yield* Journal
          const given = appendOf(acme, fresh("run"), { events: [happened({ n: 1 }), happened({ n: 2 })] })
          yield* journal.append(given)
          const stored = yield* journal.readStream(acme, given.stream)
          const [page] = yield* readAll({ after: null, limit: 10 })
          const plain = (events: typeof stored) => events.map((event) => ({ ...event, data: event.data }))
          assert.deepStrictEqual(plain(page!.events), plain(stored))
        })
      ))

    it("filters by bucket or scope, and moves past what the filter leaves out", () =>
      inNew(
        Effect.gen(function* () {
          yield* write(0, 5)
          yield* write(100, 200, other)
          yield* write(5, 5)
          yield* write(300, 200, other)
          const feed = yield* Feed
          assert.notStrictEqual(bucketOf(acme.key), bucketOf(other.key))
          for (const prefix of [`${bucketOf(acme.key)}/`, `${bucketOf(acme.key)}/${acme.key}/`]) {
            const pages = yield* readAll({ after: null, limit: 4, streamPrefixes: [prefix] })
            assert.deepStrictEqual(numbers(pages), range(0, 10))
            assert.strictEqual(pages.at(-1)!.position, yield* feed.head)
          }
          const none = yield* readAll({ after: null, limit: 4, streamPrefixes: ["zz/"] })
          assert.deepStrictEqual(numbers(none), [])
          assert.strictEqual(none.at(-1)!.position, yield* feed.head)
          const both = yield* readAll({ after: null, limit: 1000, streamPrefixes: [acme, other].map(({ key }) => `${bucketOf(key)}/`) })
          assert.lengthOf(numbers(both), 410)
        })
      ))

    it("filters by kind of stream, and moves past what the filter leaves out", () =>
      inNew(
        Effect.gen(function* () {
          const journal = yield* Journal
          const feed = yield* Feed
          yield* write(0, 5)
          yield* journal.append(appendOf(acme, fresh("flow"), { events: [happened({ n: 100 })] }))
          yield* write(5, 5)
          const cases: ReadonlyArray<readonly [ReadonlyArray<string>, Array<number>]> = [
            [["flow"], [100]],
            [["run"], range(0, 10)],
            [["flow", "settings"], [100]]
          ]
          for (const [kinds, expected] of cases) {
            const pages = yield* readAll({ after: null, limit: 3, kinds })
            assert.deepStrictEqual(numbers(pages), expected)
            assert.strictEqual(pages.at(-1)!.position, yield* feed.head)
          }
        })
      ))

    it("leaves out what was retired, and keeps its head", () =>
      inNew(
        Effect.gen(function* () {
          const journal = yield* Journal
          const feed = yield* Feed
          yield* write(0, 4)
          const given = appendOf(acme, fresh("run"), { events: [happened({ n: 4 })] })
          const { position } = yield* journal.append(given)
          yield* journal.retire(acme, given.stream, 0)
          assert.isTrue((yield* feed.head)! >= position, "a head never goes back")
        })
      ))

    it("follows what is stored and then what is committed, without gap and in order", () =>
      inNew(
        Effect.gen(function* () {
          yield* write(0, 30)
          const feed = yield* Feed
          const pages: Array<FeedPage> = []
          const caughtUp = yield* Deferred.make<void>()
          const complete = yield* Deferred.make<void>()
          const follower = yield* feed.follow({ after: null, limit: 4 }).pipe(
            Stream.runForEach((page) =>
              Effect.gen(function* () {
                pages.push(page)
                if (page.atHead) yield* Deferred.succeed(caughtUp, undefined)
                if (numbers(pages).length >= 300) yield* Deferred.succeed(complete, undefined)
              })
            ),
            Effect.forkChild
          )
          yield* Deferred.await(caughtUp)
          yield* write(30, 270)
          yield* Deferred.await(complete)
          yield* Fiber.interrupt(follower)
          assert.deepStrictEqual(numbers(pages), range(0, 300))
        })
      ))

    it("wakes a filtered follower for its own events, with its position moved past the others", () =>
      inNew(
        Effect.gen(function* () {
          const feed = yield* Feed
          const found = yield* Deferred.make<FeedPage>()
          const follower = yield* feed.follow({ after: null, limit: 10, streamPrefixes: [`${bucketOf(acme.key)}/`] }).pipe(
            Stream.runForEach((page) => (page.events.length > 0 ? Deferred.succeed(found, page) : Effect.void)),
            Effect.forkChild
          )
          yield* write(0, 40, other)
          yield* write(100, 1)
          const page = yield* Deferred.await(found)
          assert.deepStrictEqual(numbers([page]), [100])
          yield* Fiber.interrupt(follower)
        })
      ))
  })
