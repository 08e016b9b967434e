import * as Schema from "effect/Schema"
import { assert, describe, it } from "vitest"
import { fold } from "#domain/decider.ts"
import { builtInPlans, planOf, QuotaDimension } from "#domain/plan.ts"
import { consumersRemembered, QuotaCommand, QuotaEvent, quota, quotaDecisions, quotaStreamId, quotaWindowAt } from "#domain/quota.ts"
import type { QuotaMode } from "#domain/setting-catalogue.ts"
import { given } from "../support/given.ts"
import { property } from "../support/property.ts"
import { replays } from "../support/replays.ts"

const { QuotaExceeded, UnitsPostponed, UnitsRefused, UnitsReserved } = QuotaEvent.cases
const windowEndsAt = 86_400_000
const reserve = (consumers: ReadonlyArray<string>, limit: number | null, mode: QuotaMode = "block") =>
  QuotaCommand.cases.ReserveUnits.make({ consumers, limit, mode, windowEndsAt })
const two = UnitsReserved.make({ consumers: ["a", "b"], total: 2 })

describe("a quota window", () => {
  it("grants what fits", () =>
    given(quota)
      .when(reserve(["a", "b"], 3))
      .decides(two))
  it("grants up to the limit and refuses the rest, in their order", () =>
    given(quota, two)
      .when(reserve(["c", "d", "e"], 3))
      .decides(
        UnitsReserved.make({ consumers: ["c"], total: 3 }),
        UnitsRefused.make({ consumers: ["d", "e"], limit: 3 }),
        QuotaExceeded.make({ limit: 3, mode: "block" })
      ))
  it("says that it was exceeded once", () =>
    given(quota, two, QuotaExceeded.make({ limit: 2, mode: "block" }))
      .when(reserve(["c"], 2))
      .decides(UnitsRefused.make({ consumers: ["c"], limit: 2 })))
  it("counts a repeat once, also among new ones and twice in a batch", () => {
    given(quota, two)
      .when(reserve(["b", "a"], 2))
      .decides()
    given(quota, two)
      .when(reserve(["a", "c", "c"], 9))
      .decides(UnitsReserved.make({ consumers: ["c"], total: 3 }))
  })
  it("postpones what does not fit to the next window when it queues", () =>
    given(quota, two)
      .when(reserve(["c"], 2, "queue"))
      .decides(UnitsPostponed.make({ consumers: ["c"], until: windowEndsAt }), QuotaExceeded.make({ limit: 2, mode: "queue" })))
  it("lets everything pass when it warns or meters, and says so", () => {
    for (const mode of ["warn", "overage"] as const)
      given(quota, two)
        .when(reserve(["c", "d"], 3, mode))
        .decides(UnitsReserved.make({ consumers: ["c", "d"], total: 4 }), QuotaExceeded.make({ limit: 3, mode }))
  })
  it("counts without a limit, too", () =>
    given(quota, two)
      .when(reserve(["c"], null))
      .decides(UnitsReserved.make({ consumers: ["c"], total: 3 })))
  it("refuses all at limit 0, and below what was reserved after the limit was lowered", () => {
    for (const limit of [0, 1])
      given(quota, two)
        .when(reserve(["c"], limit))
        .decides(UnitsRefused.make({ consumers: ["c"], limit }), QuotaExceeded.make({ limit, mode: "block" }))
  })
  it("grants again after the limit was raised", () =>
    given(quota, two, UnitsRefused.make({ consumers: ["c"], limit: 2 }), QuotaExceeded.make({ limit: 2, mode: "block" }))
      .when(reserve(["c"], 3))
      .decides(UnitsReserved.make({ consumers: ["c"], total: 3 })))
  it("remembers the last consumers only", () => {
    const many = Array.from({ length: consumersRemembered + 1 }, (_, index) => `n${index}`)
    const { state } = given(quota).when(reserve(many, null))
    assert.strictEqual(state.recent.length, consumersRemembered)
    assert.isFalse(state.recent.includes("n0"))
    given(quota, UnitsReserved.make({ consumers: many, total: many.length }))
      .when(reserve(["n1"], null))
      .decides()
  })
  it("is the same for an older state that is asked again", () => {
    const before = fold(quota, quota.initialState, [two])
    const first = quota.decide(reserve(["c"], 3), before)
    fold(quota, before, [UnitsReserved.make({ consumers: ["c"], total: 3 })])
    assert.deepStrictEqual(quota.decide(reserve(["c"], 3), before), first)
  })
  replays(quota, QuotaEvent)
})

describe("the decisions read from the events", () => {
  it("are in the order of the consumers", () => {
    const consumers = ["d", "a", "c"]
    const { events } = given(quota, two).when(reserve(consumers, 3))
    assert.deepStrictEqual(quotaDecisions(consumers, events), [{ _tag: "Granted" }, { _tag: "Granted" }, { _tag: "Refused", limit: 3 }])
  })
  it("grant what an earlier reservation granted", () => assert.deepStrictEqual(quotaDecisions(["a"], []), [{ _tag: "Granted" }]))
  it("say until when to wait", () =>
    assert.deepStrictEqual(quotaDecisions(["a"], [UnitsPostponed.make({ consumers: ["a"], until: 5 })]), [{ _tag: "Postponed", until: 5 }]))
})

const consumers = Array.from({ length: 40 }, (_, index) => `c${index}`)
const Batches = Schema.Struct({
  limit: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 50 })),
  queue: Schema.Boolean,
  batches: Schema.Array(Schema.Array(Schema.Literals(consumers)))
})
describe("any order of batches, repeats and limits", () => {
  property("lets exactly the limit or all distinct consumers pass, whichever is less", Batches, ({ limit, queue, batches }) => {
    let state = quota.initialState
    const granted = new Set<string>()
    for (const batch of batches) {
      const { events } = given({ ...quota, initialState: state }).when(reserve(batch, limit, queue ? "queue" : "block"))
      state = fold(quota, state, events)
      quotaDecisions(batch, events).forEach((decision, index) => {
        if (decision._tag === "Granted") granted.add(batch[index]!)
        else assert.isFalse(granted.has(batch[index]!), "A granted consumer was turned away later.")
      })
    }
    assert.strictEqual(granted.size, Math.min(limit, new Set(batches.flat()).size))
    assert.strictEqual(state.total, granted.size)
  })
})

describe("quota windows", () => {
  it("are UTC days and minutes", () => {
    const at = Date.UTC(2026, 10, 20, 23, 59, 59, 999)
    assert.deepStrictEqual(quotaWindowAt("events", at), { id: "20261120", endsAt: at + 1 })
    assert.deepStrictEqual(quotaWindowAt("events", at + 1), { id: "20261121", endsAt: at + 1 + 86_400_000 })
    assert.deepStrictEqual(quotaWindowAt("calls", at), { id: "202611202359", endsAt: at + 1 })
    assert.strictEqual(quotaStreamId("events", "20261120"), "events-20261120")
  })
})

describe("plans", () => {
  it("limit every dimension, as numbers or not at all", () => {
    for (const plan of Object.values(builtInPlans)) assert.deepStrictEqual(Object.keys(plan).sort(), [...QuotaDimension.literals].sort())
    assert.strictEqual(planOf(builtInPlans, "growth")?.events, 50_000)
    assert.isNull(planOf(builtInPlans, "enterprise")?.events)
    assert.isUndefined(planOf(builtInPlans, "constructor"))
  })
})
