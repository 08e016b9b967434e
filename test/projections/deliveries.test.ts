import * as Schema from "effect/Schema"
import { assert, describe, it } from "vitest"
import { DeliveryEvent } from "#domain/delivery.ts"
import { ConnectorId, DeliveryId, FlowId, RunId, type SpaceKey, type TenantKey } from "#domain/ids.ts"
import { RetentionEvent } from "#domain/retention.ts"
import { tenantScope } from "#domain/scope.ts"
import { DeliveryView, deliveries } from "#projections/deliveries.ts"
import { project, recorded } from "../support/project.ts"
import { property } from "../support/property.ts"

const scope = tenantScope("saaaabbbbccccddddeee" as SpaceKey, "tacmeacmeacmeacmeacm" as TenantKey)
const deliveryId = DeliveryId.make("abcdefghijklmnopqrstuvwxyz")
const { DeliveryReceived, DeliveryRepeated, EventRouted, EventRefused, EventPostponed, EventDeadLettered } = DeliveryEvent.cases
const received = DeliveryReceived.make({
  deliveryId,
  connectorId: ConnectorId.make("shop"),
  endpointId: "t".repeat(36),
  event: "orders/create",
  content: "delivery-a#body" as never,
  bytes: 2048,
  verified: "signature",
  dedupe: "vendor-id",
  receivedAt: 990
})
const runs = [{ flowId: FlowId.make("orders"), version: 1, runId: RunId.make("z".repeat(26)) }]
const viewed = (...events: ReadonlyArray<DeliveryEvent>) =>
  project<DeliveryEvent | RetentionEvent, DeliveryView>(deliveries, recorded(scope, `delivery-${deliveryId}`, events))[
    `${scope.key}/${deliveryId}`
  ]

describe("the deliveries view", () => {
  it("shows what came in, without its content", () => {
    assert.deepStrictEqual(viewed(received), {
      id: deliveryId,
      connectorId: "shop" as never,
      endpointId: "t".repeat(36),
      event: "orders/create",
      status: "received",
      receivedAt: 990,
      bytes: 2048,
      verified: "signature",
      repeats: 0,
      runs: [],
      passed: [],
      updatedAt: 1_000
    })
  })
  it("counts repeats", () => assert.strictEqual(viewed(received, DeliveryRepeated.make({ times: 2 }))?.repeats, 2))
  it("shows the runs that it led to, or that no flow wanted it", () => {
    assert.deepInclude(viewed(received, EventRouted.make({ runs, passed: [] })), { status: "routed", runs })
    const passed = [{ flowId: FlowId.make("orders"), reason: "condition" as const }]
    assert.deepInclude(viewed(received, EventRouted.make({ runs: [], passed })), { status: "no-flow", passed })
  })
  it("says why it was refused, put off or put aside", () => {
    assert.deepInclude(viewed(received, EventRefused.make({ limit: 5 })), {
      status: "refused",
      reason: { code: "quota", message: "The quota of 5 events is used up." }
    })
    assert.deepInclude(viewed(received, EventPostponed.make({ until: 9 })), { status: "postponed", postponedUntil: 9 })
    const dead = EventDeadLettered.make({ reason: "not-json", message: "The body is not JSON." })
    assert.deepInclude(viewed(received, dead), { status: "dead-letter", reason: { code: "not-json", message: "The body is not JSON." } })
  })
  it("forgets that it was put off once it is routed", () => {
    const view = viewed(received, EventPostponed.make({ until: 9 }), EventRouted.make({ runs, passed: [] }))
    assert.notProperty(view, "reason")
    assert.notProperty(view, "postponedUntil")
  })
  it("drops a delivery whose events were retired", () => {
    const retired = RetentionEvent.cases.StreamsRetired.make({ streams: [{ stream: `delivery-${deliveryId}` }], olderThan: 1 })
    const events = [...recorded(scope, `delivery-${deliveryId}`, [received]), ...recorded(scope, "retention-20261120", [retired], 2_000)]
    assert.deepStrictEqual(project<DeliveryEvent | RetentionEvent, DeliveryView>(deliveries, events), {})
  })
  property("has a shape that the API can show after any events", Schema.Array(DeliveryEvent), (events) => {
    const view = viewed(received, ...events)
    assert.doesNotThrow(() => Schema.decodeUnknownSync(DeliveryView)(JSON.parse(JSON.stringify(view))))
  })
})
