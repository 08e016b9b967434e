/** The collection of large contents without events: orphans go, and none that an append refers to, however late it came. */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import { afterAll, assert, beforeAll, beforeEach, describe, it } from "vitest"
import { Store } from "#adapters/eventstoredb/driver.ts"
import { OrphanedContents } from "#adapters/eventstoredb/orphaned-contents.ts"
import { SealingFailed } from "#adapters/sealing/failure.ts"
import type { CollectableContents, PutContent } from "#adapters/sealing/large-contents.ts"
import { contentRef } from "#domain/content.ts"
import { bucketOf, localNameOf, type TenantScope } from "#domain/scope.ts"
import { type Append, Journal } from "#services/ports/journal.ts"
import { Payloads } from "#services/ports/payloads.ts"
import { EventStoreStandIn } from "../../support/event-store.ts"
import { acme, appendOf, fresh, happened, session } from "../installation.ts"
import { type EventStorePorts, eventStoreInstallation, MemoryContents, type OpenOptions } from "./installation.ts"

const day = 24 * 3600_000
const large = "x".repeat(300_000)

/** Put on a clock that the test moves. */
class TimedContents extends MemoryContents implements CollectableContents {
  now = 0
  readonly putAt = new Map<string, number>()
  /** Comes between a put and whatever follows it. */
  afterPut: () => Promise<void> = async () => {}

  override async put(id: string, sealed: Uint8Array): Promise<void> {
    await super.put(id, sealed)
    this.putAt.set(id, this.now)
    await this.afterPut()
  }

  async putBefore(time: number, after: PutContent | null, limit: number): Promise<ReadonlyArray<PutContent>> {
    const order = (left: PutContent, right: PutContent) => left.putAt - right.putAt || (left.id < right.id ? -1 : 1)
    return [...this.putAt]
      .map(([id, putAt]) => ({ id, putAt }))
      .filter((content) => content.putAt < time && (after === null || order(after, content) < 0))
      .sort(order)
      .slice(0, limit)
  }

  async markReferenced({ id, putAt }: PutContent): Promise<void> {
    if (this.putAt.get(id) === putAt) this.putAt.delete(id)
  }

  async removePut({ id, putAt }: PutContent): Promise<boolean> {
    if (this.putAt.get(id) !== putAt) return false
    this.putAt.delete(id)
    return this.held.delete(id)
  }
}

const append = (given: Append) => Effect.flatMap(Journal, (journal) => journal.append(given))
const largeAppend = (local = fresh("delivery"), expected = -1) =>
  appendOf(acme, local, { expected, contents: [{ slot: "body", bytes: large }] })
const bodyOf = ({ scope, stream }: Append) =>
  Effect.flatMap(Payloads, (payloads) => payloads.open(scope as TenantScope, [contentRef(localNameOf(stream), "body")])).pipe(
    Effect.map(([bytes]) => Buffer.from(bytes!).toString()),
    Effect.catchTag("ContentGone", ({ why }) => Effect.succeed(why))
  )

describe("large contents without their event", () => {
  let standIn: EventStoreStandIn
  let contents: TimedContents
  beforeAll(async () => {
    standIn = await EventStoreStandIn.start()
  })
  beforeEach(async () => {
    await standIn.tell("wipe")
    contents = new TimedContents()
  })
  afterAll(() => standIn.stop())
  const inStores = <A, E>(effect: Effect.Effect<A, E, Journal | Payloads | EventStorePorts>, driver: OpenOptions["driver"] = {}) =>
    session(
      eventStoreInstallation(
        () => standIn.url,
        async () => undefined,
        contents
      ).openWith({ driver, appendBytesMax: 1_000_000 }),
      effect
    )
  const sweep = (owned = (bucket: string) => bucket === bucketOf(acme.key), limit?: number) =>
    Effect.gen(function* () {
      const orphaned = new OrphanedContents(yield* Store, contents, owned)
      const total = { looked: 0, referenced: 0, removed: 0, steps: 0 }
      let after: PutContent | null = null
      do {
        const found: { looked: number; referenced: number; removed: number; after: PutContent | null } = yield* Effect.promise(() =>
          orphaned.step(contents.now, after, limit)
        )
        total.looked += found.looked
        total.referenced += found.referenced
        total.removed += found.removed
        total.steps++
        after = found.after
      } while (after !== null)
      return total
    })
  /** An append whose process ended right after it had stored its content. */
  const crashed = (given: Append) =>
    Effect.gen(function* () {
      contents.afterPut = () => Promise.reject(new Error("the process ended"))
      yield* Effect.exit(append(given))
      contents.afterPut = async () => {}
    })
  /** Runs `meanwhile` between the storing of the append's first content and its event. */
  const delayed = <A, E, R>(given: Append, meanwhile: Effect.Effect<A, E, R>) =>
    Effect.gen(function* () {
      let stored = () => {}
      const isStored = new Promise<void>((resolve) => {
        stored = resolve
      })
      let goOn = () => {}
      const mayGoOn = new Promise<void>((resolve) => {
        goOn = resolve
      })
      contents.afterPut = () => {
        contents.afterPut = async () => {}
        stored()
        return mayGoOn
      }
      const late = yield* Effect.forkChild(Effect.result(append(given)), { startImmediately: true })
      yield* Effect.promise(() => isStored)
      const seen = yield* meanwhile
      goOn()
      return { seen, late: yield* Fiber.join(late) }
    })

  it("are removed a day later, of a stream that never was and of one that is there", () =>
    inStores(
      Effect.gen(function* () {
        yield* crashed(largeAppend())
        const local = fresh("delivery")
        yield* append(appendOf(acme, local))
        yield* crashed(largeAppend(local, 0))
        assert.strictEqual(contents.held.size, 2)
        contents.now = day
        assert.deepInclude(yield* sweep(), { looked: 0, removed: 0 })
        contents.now = day + 1
        assert.deepInclude(yield* sweep(), { looked: 2, referenced: 0, removed: 2 })
        assert.strictEqual(contents.held.size, 0)
        assert.deepInclude(yield* sweep(), { looked: 0 })
        // Both streams take their next appends.
        const next = largeAppend(local, 0)
        yield* append(next)
        assert.strictEqual(yield* bodyOf(next), large)
      })
    ))

  it("are kept where their event is there, and not looked at again", () =>
    inStores(
      Effect.gen(function* () {
        const given = largeAppend()
        yield* append(given)
        contents.now = 3 * day
        assert.deepInclude(yield* sweep(), { looked: 1, referenced: 1, removed: 0 })
        assert.deepInclude(yield* sweep(), { looked: 0 })
        assert.strictEqual(yield* bodyOf(given), large)
      })
    ))

  it("are kept behind many events, and found step by step", () =>
    inStores(
      Effect.gen(function* () {
        const local = fresh("delivery")
        yield* append(appendOf(acme, local, { events: Array.from({ length: 600 }, () => happened()) }))
        const late = largeAppend(local, 599)
        yield* append(late)
        for (let count = 0; count < 6; count++) yield* count % 2 === 0 ? crashed(largeAppend()) : append(largeAppend())
        contents.now = 2 * day
        assert.deepStrictEqual(yield* sweep(undefined, 2), { looked: 7, referenced: 4, removed: 3, steps: 4 })
        assert.strictEqual(yield* bodyOf(late), large)
      })
    ))

  it("are kept whole when their append is delayed past the collection: it stores them again", () =>
    inStores(
      Effect.gen(function* () {
        for (const expected of [-1, 0]) {
          const local = fresh("delivery")
          if (expected === 0) yield* append(appendOf(acme, local))
          const given = largeAppend(local, expected)
          contents.now += 2 * day
          const { seen, late } = yield* delayed(
            given,
            Effect.suspend(() => {
              contents.now += 2 * day
              return sweep()
            })
          )
          assert.deepInclude(seen, { removed: 1 })
          assert.isTrue(Result.isSuccess(late), JSON.stringify(late))
          assert.strictEqual(yield* bodyOf(given), large)
          contents.now += 2 * day
          assert.deepInclude(yield* sweep(), { referenced: 1, removed: 0 })
          assert.strictEqual(yield* bodyOf(given), large)
        }
      })
    ))

  it("are kept when the append came between the look and the mark, and when they were put again before the removal", () =>
    inStores(
      Effect.gen(function* () {
        const given = largeAppend()
        yield* crashed(given)
        contents.now = 2 * day
        const [found] = yield* Effect.promise(() => contents.putBefore(contents.now, null, 1))
        // Listed as it was; the same append comes through before it is judged.
        contents.putBefore = async (_time, after) => (after === null ? [found!] : [])
        yield* append(given)
        assert.deepInclude(yield* sweep(undefined, 1), { referenced: 1, removed: 0 })
        assert.strictEqual(yield* bodyOf(given), large)
        const second = largeAppend()
        yield* crashed(second)
        const [old] = [...contents.putAt].map(([id, putAt]) => ({ id, putAt })).filter(({ id }) => id.startsWith(second.stream))
        contents.putBefore = async (_time, after) => (after === null ? [old!] : [])
        const remove = contents.removePut.bind(contents)
        let came = false
        const context = yield* Effect.context<Journal>()
        contents.removePut = async (content) => {
          if (!came) {
            came = true
            contents.now += 1
            await Effect.runPromiseWith(context)(append(second))
          }
          return remove(content)
        }
        assert.deepInclude(yield* sweep(undefined, 1), { removed: 0 })
        assert.isTrue(came)
        assert.strictEqual(yield* bodyOf(second), large)
      })
    ))

  it("are kept when their append's outcome was unknown and it had been written", () =>
    inStores(
      Effect.gen(function* () {
        const given = largeAppend()
        yield* append(appendOf(acme, fresh("delivery")))
        yield* Effect.promise(() => standIn.tell("drop-answers", { count: 1 }))
        const outcome = Result.getFailure(yield* Effect.result(append(given))).valueOrUndefined
        assert.deepInclude(outcome, { _tag: "JournalUnavailable", written: "unknown" })
        contents.now = 2 * day
        assert.deepInclude(yield* sweep(), { referenced: 1, removed: 0 })
        yield* append(given)
        assert.strictEqual(yield* bodyOf(given), large)
      }),
      { outcomeMillis: 1 }
    ))

  it("leave the journal unavailable, and no defect, while what keeps them is away", () =>
    inStores(
      Effect.gen(function* () {
        contents.put = () => Promise.reject(new SealingFailed("no", "the vault cannot keep large contents (gone)", undefined))
        const outcome = Result.getFailure(yield* Effect.result(append(largeAppend()))).valueOrUndefined
        assert.deepInclude(outcome, { _tag: "JournalUnavailable", written: "no" })
      })
    ))

  it("go with a retired stream whose retirement was cut short, without an append to it", () =>
    inStores(
      Effect.gen(function* () {
        const given = largeAppend()
        yield* append(given)
        const remove = contents.remove.bind(contents)
        contents.remove = () => Promise.reject(new Error("the process ended"))
        yield* Effect.exit(Effect.flatMap(Journal, (journal) => journal.retire(given.scope, given.stream, 0)))
        contents.remove = remove
        contents.now = 2 * day
        assert.deepInclude(yield* sweep(), { removed: 1 })
        assert.isTrue(
          yield* Effect.map(
            Effect.flatMap(Journal, (journal) => journal.load(given.scope, given.stream, 1)),
            ({ retired }) => retired
          )
        )
      })
    ))

  it("are left alone in buckets of others", () =>
    inStores(
      Effect.gen(function* () {
        yield* crashed(largeAppend())
        contents.now = 2 * day
        assert.deepInclude(yield* sweep(() => false), { looked: 1, removed: 0 })
        assert.strictEqual(contents.held.size, 1)
      })
    ))
})
