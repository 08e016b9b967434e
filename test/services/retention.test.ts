import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/testing/TestClock"
import { assert, describe, it } from "vitest"
import { contentRef } from "#domain/content.ts"
import { delivery } from "#domain/delivery.ts"
import type { ConnectorId, DeliveryId, FlowId, RunId, SpaceKey, TenantKey } from "#domain/ids.ts"
import { type Origin, systemActor } from "#domain/recorded.ts"
import { RetentionEvent, retiredIds } from "#domain/retention.ts"
import { run } from "#domain/run.ts"
import { spaceScope, streamName, tenantScope } from "#domain/scope.ts"
import { Journal } from "#services/ports/journal.ts"
import { ViewServer } from "#services/ports/view-server.ts"
import { Retention } from "#services/retention.ts"
import { Settings } from "#services/settings.ts"
import { Transact } from "#services/transact.ts"
import { embedded } from "../support/embedded.ts"

const dayMillis = 86_400_000
const origin: Origin = { actor: systemActor("test") }
const space = spaceScope("saaaabbbbccccddddeee" as SpaceKey)
const scope = tenantScope(space.space, "taaaabbbbccccddddeee" as TenantKey)
const deliveryId = (letter: string) => letter.repeat(26) as DeliveryId
const runId = (letter: string) => letter.repeat(26) as RunId

/** Rows as the views would show them; a test puts in what it wants the sweep to be led to. */
interface Row {
  readonly view: "runs" | "deliveries" | "tenants"
  readonly item: Record<string, unknown>
}
const views = (rows: Array<Row>) =>
  Layer.mock(ViewServer, {
    find: (view, { where }) => {
      const [before = Number.POSITIVE_INFINITY] = (where ?? []).flatMap((condition) => (condition.is === "lt" ? [condition.value] : []))
      const items = rows.filter((row) => row.view === view && Number(row.item["startedAt"] ?? row.item["receivedAt"] ?? 0) < Number(before))
      return Effect.succeed({ items: items.map(({ item }) => item), next: null })
    }
  })
const using = <A, E>(rows: Array<Row>, effect: Effect.Effect<A, E, Retention | Settings | Transact | Journal>) =>
  Effect.runPromise(
    effect.pipe(
      Effect.provide(
        Retention.layer.pipe(Layer.provideMerge(Settings.layer), Layer.provideMerge(embedded), Layer.provideMerge(views(rows)))
      )
    )
  )

/** A delivery with one run, which ends or not. */
const story = Effect.fnUntraced(function* (rows: Array<Row>, letter: string, ends: boolean) {
  const { transact } = yield* Transact
  const fields = {
    deliveryId: deliveryId(letter),
    connectorId: "shop" as ConnectorId,
    event: "orders/create",
    bytes: 2,
    receivedAt: 0
  } as const
  const content = contentRef(`delivery-${deliveryId(letter)}`, "body")
  const started = { runId: runId(letter), flowId: "sync" as FlowId, version: 1 }
  const received = {
    _tag: "ReceiveDelivery",
    ...fields,
    content,
    verified: "signature",
    dedupe: "vendor-id",
    windowMillis: dayMillis
  } as const
  yield* transact(delivery, scope, deliveryId(letter), [received, { _tag: "RouteEvent", runs: [started], passed: [] }], {
    origin,
    contents: [{ slot: "body", bytes: "{}" }]
  })
  const start = { _tag: "StartRun", ...started, purpose: "route", deliveryId: deliveryId(letter), trigger: content, steps: [] } as const
  yield* transact(run, scope, runId(letter), ends ? [start, { _tag: "FinishRun" }] : start, { origin })
  rows.push(
    { view: "runs", item: { id: runId(letter), startedAt: 0 } },
    { view: "deliveries", item: { id: deliveryId(letter), receivedAt: 0 } }
  )
})
const isRetired = Effect.fnUntraced(function* (local: `${string}-${string}`) {
  return (yield* (yield* Journal).load(scope, streamName(scope, local), 0)).retired
})
const recordedOn = Effect.fnUntraced(function* (day: string) {
  const stored = yield* (yield* Journal).readStream(scope, streamName(scope, `retention-${day}`))
  return stored.map(({ data }) => RetentionEvent.cases.StreamsRetired.make(data as never))
})

describe("retention", () => {
  it("removes finished runs and their deliveries once the policy's days are over, and records the last hashes", () => {
    const rows: Array<Row> = []
    return using(
      rows,
      Effect.gen(function* () {
        const retention = yield* Retention
        yield* story(rows, "a", true)
        yield* TestClock.setTime(90 * dayMillis)
        assert.strictEqual(yield* retention.sweepTenant(scope), 0)
        const [last] = (yield* (yield* Journal).readStream(scope, streamName(scope, `run-${runId("a")}`))).slice(-1)
        yield* TestClock.setTime(90 * dayMillis + 1)
        assert.strictEqual(yield* retention.sweepTenant(scope), 2)
        assert.isTrue(yield* isRetired(`run-${runId("a")}`))
        assert.isTrue(yield* isRetired(`delivery-${deliveryId("a")}`))
        const [runs, deliveries] = yield* recordedOn("19700401")
        assert.deepStrictEqual(runs!.streams, [{ stream: `run-${runId("a")}`, hash: last!.hash }])
        assert.deepStrictEqual(retiredIds(deliveries!, "delivery"), [deliveryId("a")])
      })
    )
  })
  it("keeps a run that has not ended, and the delivery that it goes on with", () => {
    const rows: Array<Row> = []
    return using(
      rows,
      Effect.gen(function* () {
        yield* story(rows, "b", false)
        yield* TestClock.setTime(200 * dayMillis)
        assert.strictEqual(yield* (yield* Retention).sweepTenant(scope), 0)
        assert.isFalse(yield* isRetired(`delivery-${deliveryId("b")}`))
      })
    )
  })
  it("keeps what changed lately, whatever the view says of its start", () => {
    const rows: Array<Row> = []
    return using(
      rows,
      Effect.gen(function* () {
        yield* story(rows, "c", false)
        yield* TestClock.setTime(200 * dayMillis)
        yield* (yield* Transact).transact(run, scope, runId("c"), { _tag: "FinishRun" }, { origin })
        assert.strictEqual(yield* (yield* Retention).sweepTenant(scope), 0)
      })
    )
  })
  it("follows the tenant's own setting", () => {
    const rows: Array<Row> = []
    return using(
      rows,
      Effect.gen(function* () {
        yield* story(rows, "d", true)
        yield* (yield* Settings).set(scope, "runs.retentionDays", 1, {}, origin)
        yield* TestClock.setTime(dayMillis + 1)
        assert.strictEqual(yield* (yield* Retention).sweepTenant(scope), 2)
      })
    )
  })
  it("records what a crash left removed but unrecorded", () => {
    const rows: Array<Row> = []
    return using(
      rows,
      Effect.gen(function* () {
        yield* story(rows, "e", true)
        yield* TestClock.setTime(100 * dayMillis)
        const journal = yield* Journal
        const stream = streamName(scope, `run-${runId("e")}`)
        const { revision } = (yield* journal.readStream(scope, stream)).at(-1)!
        assert.isTrue(yield* journal.retire(scope, stream, revision))
        assert.strictEqual(yield* (yield* Retention).sweepTenant(scope), 2)
        const [runs] = yield* recordedOn("19700411")
        assert.deepStrictEqual(runs!.streams, [{ stream: `run-${runId("e")}` }])
      })
    )
  })
  it("sweeps all tenants of a space", () => {
    const rows: Array<Row> = [{ view: "tenants", item: { tenantKey: scope.key } }]
    return using(
      rows,
      Effect.gen(function* () {
        yield* story(rows, "f", true)
        yield* TestClock.setTime(100 * dayMillis)
        assert.deepStrictEqual(yield* (yield* Retention).sweep(space), { tenants: 1, streams: 2, failed: 0 })
      })
    )
  })
})
