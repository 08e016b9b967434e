/** What every `OpenWork` keeps: the index moves with the events, in one step, and is asked by time and by tenant. */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { assert, describe, it } from "vitest"
import { type Append, Journal } from "#services/ports/journal.ts"
import { OpenWork, type WorkItem } from "#services/ports/open-work.ts"
import { acme, appendOf, fresh, happened, type Installation, other, session, space } from "./installation.ts"

const append = (given: Append) => Effect.flatMap(Journal, (journal) => journal.append(given))
const goOn = (given: Append, expected: number, work: Pick<Append, "workDue">): Append => {
  const { workDue: _, ...rest } = given
  return { ...rest, expected, events: [happened()], contents: [], ...work }
}
const all = { before: Number.MAX_SAFE_INTEGER, limit: 1_000 }
const due = (query: Parameters<OpenWork["Service"]["due"]>[0]) => Effect.flatMap(OpenWork, (work) => work.due(query))
const streams = (items: ReadonlyArray<WorkItem>) => items.map(({ stream }) => stream)

export const openWorkContract = (name: string, make: () => Installation) =>
  describe(`OpenWork: ${name}`, () => {
    const inNew = async <A, E>(effect: Effect.Effect<A, E, Journal | OpenWork>) => {
      const installation = make()
      try {
        return await session(installation.open(), effect)
      } finally {
        installation.remove()
      }
    }

    it("holds what was left to do, changes it, keeps it when nothing is said, and lets it go", () =>
      inNew(
        Effect.gen(function* () {
          const given = appendOf(acme, fresh("run"), { workDue: 50 })
          yield* append(given)
          for (const key of [{}, { key: acme.key }]) {
            const [item] = yield* due({ ...all, ...key })
            assert.deepStrictEqual(item, { scope: acme, stream: given.stream, dueAt: 50 })
          }
          yield* append(goOn(given, 0, {}))
          assert.deepInclude((yield* due(all))[0], { dueAt: 50 })
          yield* append(goOn(given, 1, { workDue: 70 }))
          assert.deepStrictEqual(
            (yield* due(all)).map(({ dueAt }) => dueAt),
            [70]
          )
          assert.deepStrictEqual(
            (yield* due({ ...all, key: acme.key })).map(({ dueAt }) => dueAt),
            [70]
          )
          yield* append(goOn(given, 2, { workDue: null }))
          assert.deepStrictEqual(yield* due(all), [])
          assert.deepStrictEqual(yield* due({ ...all, key: acme.key }), [])
          yield* append(goOn(given, 3, { workDue: 0 }))
          assert.lengthOf(yield* due({ ...all, before: 0 }), 1)
        })
      ))

    it("knows nothing of streams that never had work", () =>
      inNew(
        Effect.gen(function* () {
          yield* append(appendOf(acme, fresh("run")))
          yield* append(appendOf(acme, fresh("run"), { workDue: null }))
          assert.deepStrictEqual(yield* (yield* OpenWork).summary, { open: 0, earliestDueAt: null })
        })
      ))

    it("gives what is due, oldest first, page by page, of all or of one tenant", () =>
      inNew(
        Effect.gen(function* () {
          const times = [30, 0, 10, 0, 20, 10, 99]
          for (const dueAt of times)
            for (const scope of [acme, other, space]) yield* append(appendOf(scope, fresh("run"), { workDue: dueAt }))
          for (const [key, copies] of [
            [{}, 3],
            [{ key: acme.key }, 1],
            [{ key: space.key }, 1]
          ] as const) {
            const items = yield* due({ before: 30, limit: 1_000, ...key })
            const expected = times
              .filter((dueAt) => dueAt <= 30)
              .sort((a, b) => a - b)
              .flatMap((dueAt) => Array<number>(copies).fill(dueAt))
            assert.deepStrictEqual(
              items.map(({ dueAt }) => dueAt),
              expected
            )
            for (const limit of [1, 2, 5]) {
              const paged: Array<WorkItem> = []
              while (true) {
                const after = paged.at(-1)
                const page = yield* due({ before: 30, limit, ...key, ...(after === undefined ? {} : { after }) })
                if (page.length === 0) break
                assert.isAtMost(page.length, limit)
                paged.push(...page)
              }
              assert.deepStrictEqual(streams(paged), streams(items))
            }
          }
        })
      ))

    it("changes nothing for an append that was refused or repeated", () =>
      inNew(
        Effect.gen(function* () {
          const given = appendOf(acme, fresh("run"), { workDue: 5 })
          yield* append(given)
          yield* append(goOn(given, 0, { workDue: null }))
          assert.isTrue((yield* append(given)).repeated)
          assert.isTrue(Result.isFailure(yield* Effect.result(append(goOn(given, 0, { workDue: 9 })))))
          assert.deepStrictEqual(yield* due(all), [])
        })
      ))

    it("has no work of a retired stream", () =>
      inNew(
        Effect.gen(function* () {
          const given = appendOf(acme, fresh("run"), { workDue: 5 })
          yield* append(given)
          yield* Effect.flatMap(Journal, (journal) => journal.retire(acme, given.stream, 0))
          assert.deepStrictEqual(yield* due(all), [])
          assert.deepStrictEqual(yield* due({ ...all, key: acme.key }), [])
        })
      ))

    it("counts what is open, and says when the earliest is due", () =>
      inNew(
        Effect.gen(function* () {
          for (const dueAt of [30, 10, 20]) yield* append(appendOf(acme, fresh("run"), { workDue: dueAt }))
          assert.deepStrictEqual(yield* (yield* OpenWork).summary, { open: 3, earliestDueAt: 10 })
        })
      ))

    it("keeps it over a restart, for all and for one tenant, and can still let it go", async () => {
      const installation = make()
      try {
        const appends = [3, 1, 2].map((dueAt) => appendOf(acme, fresh("run"), { workDue: dueAt }))
        await session(installation.open(), Effect.forEach(appends, append))
        const inOrder = [appends[1]!, appends[2]!, appends[0]!].map(({ stream }) => stream)
        await session(
          installation.open(),
          Effect.gen(function* () {
            assert.deepStrictEqual(streams(yield* due(all)), inOrder)
            assert.deepStrictEqual(streams(yield* due({ ...all, key: acme.key })), inOrder)
            yield* append(goOn(appends[1]!, 0, { workDue: null }))
            assert.deepStrictEqual(streams(yield* due(all)), inOrder.slice(1))
            assert.deepStrictEqual(streams(yield* due({ ...all, key: acme.key })), inOrder.slice(1))
          })
        )
      } finally {
        installation.remove()
      }
    })
  })
