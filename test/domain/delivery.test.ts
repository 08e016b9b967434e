import * as Schema from "effect/Schema"
import { assert, describe, it } from "vitest"
import type { ContentRef } from "#domain/content.ts"
import { type DeliveryCommand, DeliveryEvent, delivery, repeatsRecordedMax, routingResumesMax } from "#domain/delivery.ts"
import { ConnectorId, DeliveryId, FlowId, RunId } from "#domain/ids.ts"
import { given } from "../support/given.ts"
import { property } from "../support/property.ts"
import { replays } from "../support/replays.ts"

const cases = DeliveryEvent.cases
const deliveryId = DeliveryId.make("abcdefghijklmnopqrstuvwxyz")
const fields = {
  deliveryId,
  connectorId: ConnectorId.make("shop"),
  event: "orders/create",
  content: `delivery-${deliveryId}#event` as ContentRef,
  bytes: 2048,
  verified: "signature",
  dedupe: "vendor-id",
  receivedAt: 1_000_000
} as const
const received = cases.DeliveryReceived.make(fields)
const receive = (receivedAt: number = fields.receivedAt): DeliveryCommand => ({
  _tag: "ReceiveDelivery",
  ...fields,
  receivedAt,
  windowMillis: 60_000
})
const runs = [{ flowId: FlowId.make("orders"), version: 1, runId: RunId.make("bcdefghijklmnopqrstuvwxyza") }]
const route: DeliveryCommand = { _tag: "RouteEvent", runs, passed: [] }
const routed = cases.EventRouted.make({ runs, passed: [] })
const repeats = (times: number) => Array.from({ length: times }, (_, index) => cases.DeliveryRepeated.make({ times: index + 1 }))
const resumes = (times: number) => Array.from({ length: times }, (_, index) => cases.RoutingResumed.make({ times: index + 1 }))

describe("a delivery", () => {
  it("is received once", () => given(delivery).when(receive()).decides(received))
  it("records the first repeats, and only answers the rest", () => {
    given(delivery, received)
      .when(receive())
      .decides(...repeats(1))
    given(delivery, received, ...repeats(repeatsRecordedMax))
      .when(receive())
      .decides()
  })
  it("is a repeat also after it was routed", () =>
    given(delivery, received, routed)
      .when(receive())
      .decides(...repeats(1)))
  it("makes room for a new one once it is older than the window", () => {
    given(delivery, received)
      .when(receive(fields.receivedAt + 60_000))
      .decides(...repeats(1))
    given(delivery, received)
      .when(receive(fields.receivedAt + 60_001))
      .rejects("DedupeWindowOver")
  })
  it("is routed once: the first routing stands", () => {
    given(delivery, received).when(route).decides(routed)
    given(delivery, received, routed)
      .when({ ...route, runs: [] })
      .decides()
  })
  it("waits for the quota's next window, and is routed then", () => {
    const postponed = cases.EventPostponed.make({ until: 5_000 })
    const then = given(delivery, received).when({ _tag: "PostponeEvent", until: 5_000 })
    then.decides(postponed)
    assert.strictEqual(delivery.workDue!(then.state), 5_000)
    given(delivery, received, postponed).when(route).decides(routed)
  })
  it("is refused for good", () => {
    const refused = cases.EventRefused.make({ limit: 10 })
    given(delivery, received).when({ _tag: "RefuseEvent", limit: 10 }).decides(refused)
    given(delivery, received, refused).when(route).decides()
  })
  it("becomes a dead letter when routing it keeps failing", () => {
    given(delivery, received)
      .when({ _tag: "ResumeRouting" })
      .decides(...resumes(1))
    const last = given(delivery, received, ...resumes(routingResumesMax)).when({ _tag: "ResumeRouting" })
    assert.deepInclude(last.events[0], { _tag: "EventDeadLettered", reason: "routing-failed" })
    assert.isNull(delivery.workDue!(last.state))
  })
  it("cannot be routed before it was received", () => given(delivery).when(route).rejects("DeliveryNotFound"))
  it("is open work from its receipt to its end", () => {
    assert.strictEqual(delivery.workDue!(given(delivery, received).state), 0)
    assert.isNull(delivery.workDue!(given(delivery, received, routed).state))
  })
  property("never has open work after an end", Schema.Array(DeliveryEvent), (past) => {
    const { state } = given(delivery, ...past)
    if (["routed", "refused", "dead-letter"].includes(state.status)) assert.isNull(delivery.workDue!(state))
  })
  replays(delivery, DeliveryEvent)
})
