import * as Effect from "effect/Effect"
import { assert, describe, it } from "vitest"
import { RunId } from "#domain/ids.ts"
import { Deliveries } from "#services/deliveries.ts"
import { deliveryIdOf, runIdOf } from "#services/identities.ts"
import { Ingest, type WebhookAnswer, type WebhookCall } from "#services/ingest.ts"
import { Runs } from "#services/runs.ts"
import { Tenants } from "#services/tenants.ts"
import { type Engine, quiet, withFolder } from "../support/engine.ts"
import { type Erp, type Script, startErp } from "../support/erp.ts"
import { connectErp, customer, origin, publishOrders, webhook } from "../support/orders.ts"

const receive = Effect.fnUntraced(function* (endpointId: string, call: WebhookCall) {
  const ingest = yield* Ingest
  const reception = yield* ingest.at(endpointId)
  assert.isNotNull(reception)
  return yield* reception.receive(call)
})
const deliver = Effect.fnUntraced(function* (endpointId: string, call: WebhookCall) {
  const answer: WebhookAnswer = yield* receive(endpointId, call)
  assert.strictEqual(answer.status, 200)
})
/** Starts an engine and an ERP that answers by the script, and ends both. */
const world = (script: Script | undefined, body: (erp: Erp) => Effect.Effect<void, unknown, Engine>) => async () => {
  const erp = await startErp(script)
  try {
    await withFolder((start) => start().runPromise(body(erp)))
  } finally {
    await erp.close()
  }
}

describe("the main job", () => {
  it(
    "turns a signed webhook into one run, step by step, with the tenant's own credentials",
    world(undefined, (erp) =>
      Effect.gen(function* () {
        const { space, flowId } = yield* publishOrders()
        const acme = yield* customer(space, flowId, "acme-corp", { address: erp.address, apiKey: "acme-key" })
        const ana = yield* customer(space, flowId, "ana@example.com", { address: erp.address, apiKey: "ana-key" })
        yield* deliver(acme.endpointId, webhook(1))
        yield* deliver(ana.endpointId, webhook(2))
        yield* quiet
        assert.deepStrictEqual(erp.calls.map(({ apiKey }) => apiKey).sort(), ["acme-key", "ana-key"])
        const sent = JSON.parse(erp.calls.find(({ apiKey }) => apiKey === "acme-key")!.body) as object
        assert.deepStrictEqual(sent, {
          externalId: "5600000001",
          total: 61.7,
          currency: "EUR",
          customer: { email: "customer1@example.test" },
          lines: [{ sku: "SKU-1", quantity: 2 }]
        })
      })
    )
  )
  it(
    "answers a repeat like the first and runs it once",
    world(undefined, (erp) =>
      Effect.gen(function* () {
        const { space, flowId } = yield* publishOrders()
        const { scope, endpointId } = yield* customer(space, flowId, "acme-corp", { address: erp.address, apiKey: "k" })
        yield* deliver(endpointId, webhook(1))
        yield* deliver(endpointId, webhook(1))
        yield* quiet
        yield* deliver(endpointId, webhook(1))
        yield* quiet
        assert.strictEqual(erp.calls.length, 1)
        const deliveries = yield* Deliveries
        const sent = yield* deliveries.send(
          scope,
          { connectorId: "shop" as never, event: "orders/create", body: {}, deliveryId: "x" },
          origin
        )
        const again = yield* deliveries.send(
          scope,
          { connectorId: "shop" as never, event: "orders/create", body: {}, deliveryId: "x" },
          origin
        )
        assert.isFalse(sent.duplicate)
        assert.isTrue(again.duplicate)
        assert.strictEqual(again.deliveryId, sent.deliveryId)
      })
    )
  )
  it(
    "tries again on 429 and 503 under the same key, and records every attempt",
    world(
      ({ number }) => (number === 0 ? { status: 503 } : number === 1 ? { status: 429, headers: { "retry-after": "0" } } : { status: 201 }),
      (erp) =>
        Effect.gen(function* () {
          const { space, flowId } = yield* publishOrders()
          const { scope, endpointId } = yield* customer(space, flowId, "acme-corp", { address: erp.address, apiKey: "secret-key-1" })
          yield* deliver(endpointId, webhook(1))
          yield* untilEnded(erp, 3)
          const { runId } = yield* onlyRun(scope, endpointId, "delivery-1")
          const runs = yield* Runs
          const detail = yield* runs.step(scope, runId, "send")
          assert.deepStrictEqual(
            detail.attempts.map(({ attempt, status, error }) => [attempt, status, error?.code]),
            [
              [1, "retrying", "http-503"],
              [2, "retrying", "http-429"],
              [3, "succeeded", undefined]
            ]
          )
          assert.strictEqual(new Set(erp.calls.map(({ key }) => key)).size, 1)
          assert.notInclude(JSON.stringify(detail), "secret-key-1")
          assert.deepInclude(detail.attempts[2]!, { output: { id: "erp-1" } })
        })
    )
  )
  it(
    "sends each of several parallel safe calls once, however the others finish",
    world(undefined, (erp) =>
      Effect.gen(function* () {
        const step = (id: string) =>
          `  - { id: ${id}, kind: action, connector: erp, action: getOrder, input: { externalId: "= $string(trigger.body.id) & '-${id}'" } }`
        const text = ["id: orders-to-erp", "trigger: { connector: shop, event: orders/create }", "steps:", ...["a", "b", "c"].map(step)]
        const { space, flowId } = yield* publishOrders(`${text.join("\n")}\n`)
        const { scope, endpointId } = yield* customer(space, flowId, "acme-corp", { address: erp.address, apiKey: "k" })
        yield* deliver(endpointId, webhook(1))
        yield* quiet
        assert.strictEqual((yield* onlyRun(scope, endpointId, "delivery-1")).status, "succeeded")
        assert.strictEqual(erp.calls.length, 3)
      })
    )
  )
  it(
    "records a suspended tenant's events without running them, and runs the next one once it is active again",
    world(undefined, (erp) =>
      Effect.gen(function* () {
        const { space, flowId } = yield* publishOrders()
        const { scope, endpointId } = yield* customer(space, flowId, "acme-corp", { address: erp.address, apiKey: "k" })
        const tenants = yield* Tenants
        yield* tenants.suspend(scope, origin)
        yield* deliver(endpointId, webhook(1))
        yield* quiet
        assert.strictEqual(erp.calls.length, 0)
        const explained = yield* (yield* Deliveries).explain(scope, deliveryIdOf(endpointId, "vendor-id\ndelivery-1"))
        assert.include(explained.facts.map(({ fact }) => fact).join(), "does not run while the tenant is suspended")
        yield* tenants.activate(scope, origin)
        yield* deliver(endpointId, webhook(2))
        yield* quiet
        assert.strictEqual(erp.calls.length, 1)
      })
    )
  )
  it(
    "parks a run until the tenant connects, and goes on then",
    world(undefined, (erp) =>
      Effect.gen(function* () {
        const { space, flowId } = yield* publishOrders()
        const { scope, endpointId } = yield* customer(space, flowId, "acme-corp", null)
        yield* deliver(endpointId, webhook(1))
        yield* quiet
        const { runId, status } = yield* onlyRun(scope, endpointId, "delivery-1")
        assert.strictEqual(status, "parked")
        yield* connectErp(scope, { address: erp.address, apiKey: "k" })
        const runs = yield* Runs
        yield* quiet
        assert.strictEqual((yield* runs.get(scope, runId)).status, "succeeded")
        assert.strictEqual(erp.calls.length, 1)
      })
    )
  )
  it(
    "fails a run for good on a permanent error, and a retry goes on from the failed step under a new key",
    world(
      ({ number }) => (number === 0 ? { status: 422 } : { status: 201 }),
      (erp) =>
        Effect.gen(function* () {
          const { space, flowId } = yield* publishOrders()
          const { scope, endpointId } = yield* customer(space, flowId, "acme-corp", { address: erp.address, apiKey: "k" })
          yield* deliver(endpointId, webhook(1))
          yield* quiet
          const { runId, status } = yield* onlyRun(scope, endpointId, "delivery-1")
          assert.strictEqual(status, "failed")
          const runs = yield* Runs
          yield* runs.retry(scope, runId, origin)
          yield* quiet
          const history = yield* runs.history(scope, runId)
          assert.strictEqual((yield* runs.get(scope, runId)).status, "succeeded")
          assert.strictEqual(history.filter(({ event }) => event._tag === "StepSucceeded" && event.step === "map").length, 1)
          assert.strictEqual(new Set(erp.calls.map(({ key }) => key)).size, 2)
        })
    )
  )
  it(
    "refuses a forged, an unreadable and an unaddressed call, and records nothing of it",
    world(undefined, (erp) =>
      Effect.gen(function* () {
        const { space, flowId } = yield* publishOrders()
        const { endpointId } = yield* customer(space, flowId, "acme-corp", { address: erp.address, apiKey: "k" })
        const forged = yield* receive(endpointId, webhook(1, { signature: "AAAA" }))
        assert.deepInclude(forged, { status: 401, code: "signature-mismatch" })
        const unreadable = yield* receive(endpointId, webhook(1, { body: "{not json" }))
        assert.deepInclude(unreadable, { status: 400, code: "body-malformed" })
        const ingest = yield* Ingest
        assert.isNull(yield* ingest.at(`t${"a".repeat(35)}`))
        yield* quiet
        assert.strictEqual(erp.calls.length, 0)
      })
    )
  )
})

const onlyRun = Effect.fnUntraced(function* (scope: Parameters<Runs["Service"]["get"]>[0], endpointId: string, vendorId: string) {
  const deliveries = yield* Deliveries
  const deliveryId = deliveryIdOf(endpointId, `vendor-id\n${vendorId}`)
  const { runs } = yield* deliveries.explain(scope, deliveryId)
  assert.strictEqual(runs.length, 1)
  assert.strictEqual(runs[0]!.runId, runIdOf(deliveryId, "orders-to-erp", "route"))
  return { ...runs[0]!, runId: RunId.make(runs[0]!.runId) }
})

/** Real retries take real time, if little: waits for the calls, then for quiet. */
const untilEnded = Effect.fnUntraced(function* (erp: Erp, calls: number) {
  while (erp.calls.length < calls) yield* Effect.sleep(5)
  yield* quiet
})
