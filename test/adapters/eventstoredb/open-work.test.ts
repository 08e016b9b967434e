/** Open work on EventStoreDB: who owns a bucket, what a start reads, and the order of the list in memory. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import { afterAll, assert, beforeAll, beforeEach, describe, it } from "vitest"
import { Store } from "#adapters/eventstoredb/driver.ts"
import { OpenedJournal } from "#adapters/eventstoredb/journal.ts"
import { allBuckets } from "#adapters/eventstoredb/open-work.ts"
import { WorkCheckpoints } from "#adapters/eventstoredb/work-checkpoints.ts"
import { WorkList } from "#adapters/eventstoredb/work-list.ts"
import { WorkOwner } from "#adapters/eventstoredb/work-owner.ts"
import { bucketOf, type StreamName } from "#domain/scope.ts"
import { type Append, Journal } from "#services/ports/journal.ts"
import { OpenWork, type WorkItem } from "#services/ports/open-work.ts"
import { EventStoreStandIn } from "../../support/event-store.ts"
import { property } from "../../support/property.ts"
import { acme, appendOf, fresh, happened, other, session } from "../installation.ts"
import { type EventStorePorts, eventStoreInstallation, type OpenOptions } from "./installation.ts"

const append = (given: Append) => Effect.flatMap(Journal, (journal) => journal.append(given))
const withWork = (dueAt: number, scope = acme) => appendOf(scope, fresh("run"), { workDue: dueAt })
const all = { before: Number.MAX_SAFE_INTEGER, limit: 1_000 }
const due = Effect.map(
  Effect.flatMap(OpenWork, (work) => work.due(all)),
  (items) => items.map(({ dueAt }) => dueAt)
)
const [acmes, others] = [acme, other].map(({ key }) => bucketOf(key)) as [string, string]
const byHand = { checkpointMillis: 3_600_000, changesMin: 1, eventsMin: 1_000, reclaimMillis: 3_600_000 }

describe("open work on EventStoreDB", () => {
  let standIn: EventStoreStandIn
  beforeAll(async () => {
    standIn = await EventStoreStandIn.start()
  })
  beforeEach(() => standIn.tell("wipe"))
  afterAll(() => standIn.stop())
  const inStores = <A, E>(options: OpenOptions, effect: Effect.Effect<A, E, Journal | OpenWork | EventStorePorts>) =>
    session(eventStoreInstallation(() => standIn.url).openWith(options), effect)
  const owning = (...buckets: ReadonlyArray<string>) => ({ buckets: Stream.succeed(new Set(buckets)) })
  /** Another process' owner, as far as the store can tell. */
  const rival = Effect.gen(function* () {
    const driver = yield* Store
    const { newestOwn } = yield* OpenedJournal
    return yield* Effect.acquireRelease(
      Effect.sync(() => new WorkOwner(driver, newestOwn, byHand, () => {})),
      (owner) => Effect.promise(() => owner.close())
    )
  })

  it("is that of the owned buckets alone, as they change", () =>
    inStores(
      {},
      Effect.gen(function* () {
        const wanted = yield* SubscriptionRef.make<ReadonlySet<string>>(new Set([acmes]))
        yield* append(withWork(1))
        yield* append(withWork(2, other))
        const changes = { buckets: SubscriptionRef.changes(wanted) }
        yield* Effect.promise(() =>
          inStores(
            changes,
            Effect.gen(function* () {
              assert.deepStrictEqual(yield* due, [1])
              yield* SubscriptionRef.set(wanted, new Set([acmes, others]))
              yield* append(withWork(3, other))
              while ((yield* due).length < 3) yield* Effect.yieldNow
              assert.deepStrictEqual(yield* due, [1, 2, 3])
              yield* SubscriptionRef.set(wanted, new Set([others]))
              while ((yield* due).length > 2) yield* Effect.yieldNow
              assert.deepStrictEqual(yield* due, [2, 3])
            })
          )
        )
      })
    ))

  it("starts from checkpoints and the log behind them, however much lies before", async () => {
    await inStores(
      owning(acmes, others),
      Effect.andThen(
        Effect.forEach([5, 6, 7], (dueAt) => append(withWork(dueAt))),
        due
      )
    )
    await inStores(
      owning(),
      Effect.gen(function* () {
        const driver = yield* Store
        const checkpoint = yield* Effect.promise(() => new WorkCheckpoints(driver).claim(acmes))
        assert.lengthOf(checkpoint.items, 3)
        assert.isNotNull(checkpoint.position)
        yield* append(withWork(8))
        const owner = yield* rival
        yield* Effect.promise(() => owner.own(new Set([acmes])))
        // Where it reads on: at the checkpoint, not at the beginning.
        assert.isTrue(owner.fold.position !== null && owner.fold.position >= checkpoint.position!)
        yield* Effect.promise(() => owner.caughtUp())
        assert.deepStrictEqual(
          owner.fold.due(100, 100, undefined, undefined).map(({ dueAt }) => dueAt),
          [5, 6, 7, 8]
        )
      }).pipe(Effect.scoped)
    )
  })

  it("moves the checkpoints of idle buckets too, so that a start never reads far back", () =>
    inStores(
      owning(),
      Effect.gen(function* () {
        const owner = yield* rival
        yield* Effect.promise(() => owner.own(new Set([acmes, others])))
        yield* append(appendOf(acme, fresh("run"), { events: Array.from({ length: 1_000 }, () => happened()) }))
        const { position } = yield* append(withWork(1))
        yield* Effect.promise(async () => {
          while ((owner.fold.position ?? "") < position) await new Promise((resolve) => setTimeout(resolve, 5))
          await owner.checkpoint()
        })
        const driver = yield* Store
        const idle = yield* Effect.promise(() => new WorkCheckpoints(driver).claim(others))
        assert.strictEqual(idle.position, position)
      }).pipe(Effect.scoped)
    ))

  it("fences an owner that was replaced: its checkpoint is refused, and it lets go", () =>
    inStores(
      owning(),
      Effect.gen(function* () {
        const [stale, present] = [yield* rival, yield* rival]
        yield* Effect.promise(() => stale.own(new Set([acmes, others])))
        yield* Effect.promise(() => present.own(new Set([acmes])))
        yield* append(withWork(1))
        yield* append(withWork(2, other))
        yield* Effect.promise(async () => {
          await Promise.all([stale.caughtUp(), present.caughtUp()])
          await stale.checkpoint()
        })
        assert.deepStrictEqual([...stale.fold.owned], [others])
        assert.deepStrictEqual(stale.fold.summary, { open: 1, earliestDueAt: 2 })
        yield* Effect.promise(() => present.checkpoint())
        assert.deepStrictEqual([...present.fold.owned], [acmes])
        const driver = yield* Store
        const [own, stranger] = [new WorkCheckpoints(driver), new WorkCheckpoints(driver)]
        const { revision, ...work } = yield* Effect.promise(() => own.claim("ff"))
        assert.strictEqual(yield* Effect.promise(() => own.write("ff", revision, work)), revision + 1)
        assert.strictEqual(
          yield* Effect.promise(() => own.write("ff", revision, work)),
          revision + 2,
          "the answer was lost, not the bucket"
        )
        assert.isNull(yield* Effect.promise(() => stranger.write("ff", revision, work)))
        // It may have it again only after it was told that it is not its own.
        yield* Effect.promise(() => stale.own(new Set([acmes, others])))
        assert.deepStrictEqual([...stale.fold.owned], [others])
        yield* Effect.promise(async () => {
          await stale.own(new Set([others]))
          await stale.own(new Set([acmes, others]))
          await stale.caughtUp()
        })
        assert.deepStrictEqual(stale.fold.summary, { open: 2, earliestDueAt: 1 })
      }).pipe(Effect.scoped)
    ))

  it("keeps checkpoints of more items than one append takes, and the complete one when the next was cut short", () =>
    inStores(
      owning(),
      Effect.gen(function* () {
        const driver = yield* Store
        const checkpoints = new WorkCheckpoints(driver)
        const items: ReadonlyArray<WorkItem> = Array.from({ length: 13_000 }, (_, n) => ({
          scope: acme,
          stream: `${acmes}/${acme.key}/run-${String(n).padStart(26, "a")}` as StreamName,
          dueAt: n
        }))
        const { revision } = yield* Effect.promise(() => checkpoints.claim(acmes))
        const written = yield* Effect.promise(() => checkpoints.write(acmes, revision, { position: null, items }))
        assert.strictEqual(written, revision + 3)
        const stream = `open-work-${acmes}`
        const [first] = (yield* Effect.promise(() => driver.reads.stream({ stream, from: revision + 1, limit: 1 })))!
        yield* Effect.promise(() => driver.append(stream, written!, [{ ...first!, id: crypto.randomUUID(), json: true }]))
        const found = yield* Effect.promise(() => checkpoints.claim(acmes))
        assert.deepStrictEqual(found.items, items)
      })
    ))

  it("owns all buckets of an installation with one worker", () =>
    inStores(
      owning(...allBuckets),
      Effect.gen(function* () {
        assert.strictEqual(allBuckets.size, 256)
        yield* append(withWork(1))
        yield* append(withWork(2, other))
        assert.deepStrictEqual(yield* due, [1, 2])
      })
    ))
})

const small = Schema.Literals([0, 1, 2, 3, 4, 5, 6, 7])
const Step = Schema.Struct({ stream: small, due: Schema.NullOr(small), spread: small })

describe("the list of work", () => {
  property("is in order and whole after any changes, page by page", Schema.Array(Step), (steps) => {
    const list = new WorkList()
    const held = new Map<string, WorkItem>()
    // Many copies of each step, so that the list is cut into several runs.
    for (const { stream, due, spread } of steps)
      for (let copy = 0; copy < 100; copy++) {
        const name = `${copy}-${stream}` as StreamName
        const before = held.get(name)
        if (before !== undefined) list.remove(before)
        held.delete(name)
        if (due === null) continue
        const item: WorkItem = { scope: acme, stream: name, dueAt: due * 10 + ((copy * spread) % 7) }
        list.add(item)
        held.set(name, item)
      }
    const expected = [...held.values()].sort((a, b) => a.dueAt - b.dueAt || (a.stream < b.stream ? -1 : 1))
    assert.strictEqual(list.size, expected.length)
    assert.deepStrictEqual(list.first, expected[0])
    assert.deepStrictEqual(list.due(1_000, 10_000, undefined), expected)
    assert.deepStrictEqual(
      list.due(35, 10_000, undefined),
      expected.filter(({ dueAt }) => dueAt <= 35)
    )
    const paged: Array<WorkItem> = []
    for (;;) {
      const page = list.due(1_000, 37, paged.at(-1))
      paged.push(...page)
      if (page.length < 37) break
    }
    assert.deepStrictEqual(paged, expected)
  })
})
