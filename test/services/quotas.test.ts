import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as TestClock from "effect/testing/TestClock"
import { afterAll, assert, describe, it } from "vitest"
import type { SpaceKey, TenantKey } from "#domain/ids.ts"
import { PlanName } from "#domain/plan.ts"
import { type Origin, systemActor } from "#domain/recorded.ts"
import { spaceScope, type TenantScope, tenantScope } from "#domain/scope.ts"
import { tenant } from "#domain/tenant.ts"
import { Quotas } from "#services/quotas.ts"
import { Settings } from "#services/settings.ts"
import { Transact } from "#services/transact.ts"
import { embedded } from "../support/embedded.ts"

const runtime = ManagedRuntime.make(Quotas.layer.pipe(Layer.provideMerge(Settings.layer), Layer.provideMerge(embedded)))
afterAll(() => runtime.dispose())
const run = <A, E>(effect: Effect.Effect<A, E, Quotas | Settings | Transact>) => runtime.runPromise(effect)

const origin: Origin = { actor: systemActor("test") }
const space = spaceScope("saaaabbbbccccddddeee" as SpaceKey)
let tenants = 0
/** A tenant of its own, on a plan. */
const onPlan = Effect.fnUntraced(function* (plan: string) {
  const scope = tenantScope(
    space.space,
    `t${String(++tenants)
      .replace(/\d/gu, (digit) => "abcdefghij"[Number(digit)]!)
      .padStart(19, "z")}` as TenantKey
  )
  const fields = {
    tenantKey: scope.key,
    externalId: "-",
    displayName: "-",
    plan: PlanName.make(plan),
    region: "eu",
    tier: "shared"
  } as const
  yield* (yield* Transact).transact(tenant, scope, "self", { _tag: "CreateTenant", ...fields }, { origin })
  return scope
})
const limitTo = (scope: TenantScope, limit: number, mode: string) =>
  Effect.gen(function* () {
    const settings = yield* Settings
    yield* settings.set(scope, "quota.eventsPerDay.limit", limit, {}, origin)
    yield* settings.set(scope, "quota.eventsPerDay.mode", mode, {}, origin)
  })
const ids = (count: number, prefix = "c") => Array.from({ length: count }, (_, index) => `${prefix}${index}`)
const reserveOne = (scope: TenantScope, id: string) =>
  Effect.gen(function* () {
    return (yield* (yield* Quotas).reserve(scope, "events", [id]))[0]!
  })

describe("quotas", () => {
  const race = Effect.fnUntraced(function* (round: number) {
    const scope = yield* onPlan("starter")
    const limit = (round * 37) % 200
    yield* limitTo(scope, limit, round % 2 === 0 ? "block" : "queue")
    const decisions = yield* Effect.forEach(ids(200), (id) => reserveOne(scope, id), { concurrency: "unbounded" })
    assert.strictEqual(decisions.filter(({ _tag }) => _tag === "Granted").length, limit, `round ${round}`)
    assert.strictEqual((yield* (yield* Quotas).standing(scope, "events")).reserved, limit)
  })
  it("let exactly the limit pass of 200 parallel reservations, in each of 50 rounds", { timeout: 60_000 }, () =>
    run(Effect.forEach(Array.from({ length: 50 }).keys(), race, { concurrency: 10, discard: true }))
  )
  it("count a unit once when it is asked for again", () =>
    run(
      Effect.gen(function* () {
        const scope = yield* onPlan("starter")
        yield* limitTo(scope, 1, "block")
        assert.deepStrictEqual(yield* reserveOne(scope, "a"), { _tag: "Granted" })
        assert.deepStrictEqual(yield* reserveOne(scope, "b"), { _tag: "Refused", limit: 1 })
        assert.deepStrictEqual(yield* reserveOne(scope, "a"), { _tag: "Granted" })
      })
    ))
  it("take the plan's limit unless a setting says otherwise", () =>
    run(
      Effect.gen(function* () {
        const quotas = yield* Quotas
        assert.deepStrictEqual(yield* quotas.policy(yield* onPlan("growth"), "events"), { mode: "block", limit: 50_000 })
        assert.deepStrictEqual(yield* quotas.policy(yield* onPlan("enterprise"), "events"), { mode: "block", limit: null })
        assert.deepStrictEqual(yield* quotas.policy(yield* onPlan("withdrawn"), "events"), { mode: "block", limit: 0 })
      })
    ))
  it("start anew with the next UTC day, to which a queued event is postponed", () =>
    run(
      Effect.gen(function* () {
        const scope = yield* onPlan("starter")
        yield* limitTo(scope, 1, "queue")
        yield* reserveOne(scope, "a")
        const postponed = yield* reserveOne(scope, "b")
        assert(postponed._tag === "Postponed")
        assert.strictEqual(postponed.until % 86_400_000, 0)
        yield* TestClock.setTime(postponed.until)
        assert.deepStrictEqual(yield* reserveOne(scope, "b"), { _tag: "Granted" })
      })
    ))
  it("tell ingest when nothing will pass any more, and take it back when the limit is raised or the day ends", () =>
    run(
      Effect.gen(function* () {
        const quotas = yield* Quotas
        const scope = yield* onPlan("starter")
        yield* limitTo(scope, 1, "block")
        assert.isNull(yield* quotas.exhausted(scope, "events"))
        yield* reserveOne(scope, "a")
        const flag = yield* quotas.exhausted(scope, "events")
        assert.strictEqual(flag?.limit, 1)
        yield* limitTo(scope, 2, "block")
        assert.isNull(yield* quotas.exhausted(scope, "events"))
        yield* limitTo(scope, 1, "queue")
        assert.isNull(yield* quotas.exhausted(scope, "events"))
        yield* limitTo(scope, 1, "block")
        yield* TestClock.setTime(flag!.windowEndsAt)
        assert.isNull(yield* quotas.exhausted(scope, "events"))
      })
    ))
  it("link every unit to what used it, page by page", () =>
    run(
      Effect.gen(function* () {
        const quotas = yield* Quotas
        const scope = yield* onPlan("starter")
        yield* limitTo(scope, 150, "block")
        for (const id of ids(151)) yield* reserveOne(scope, id)
        const { window } = yield* quotas.standing(scope, "events")
        const first = yield* quotas.ledger(scope, "events", window)
        assert.isNotNull(first.next)
        const second = yield* quotas.ledger(scope, "events", window, first.next!)
        const entries = [...first.entries, ...second.entries]
        assert.deepStrictEqual(
          entries.map(({ consumer }) => consumer),
          ids(151)
        )
        assert.deepStrictEqual(
          entries.filter(({ decision }) => decision !== "granted").map(({ consumer, decision }) => `${consumer} ${decision}`),
          ["c150 refused"]
        )
        assert.isNull(second.next)
      })
    ))
})
