/** Deliveries, for people: sending an event by hand, and the answer to "why did nothing happen?". */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type { ConnectorNotFound } from "#domain/connector.ts"
import { type Delivery, DeliveryNotFound, delivery } from "#domain/delivery.ts"
import { type ConnectorId, DeliveryId } from "#domain/ids.ts"
import type { Origin } from "#domain/recorded.ts"
import { run } from "#domain/run.ts"
import { streamName, type TenantScope } from "#domain/scope.ts"
import { Connectors } from "./connectors.ts"
import { type DeliveryHead, decodeDeliveryContent } from "./delivery-content.ts"
import { deliveryIdOf } from "./identities.ts"
import { Ingest, type ReceivedEvent } from "./ingest.ts"
import { Entropy } from "./ports/entropy.ts"
import { Journal } from "./ports/journal.ts"
import { type ContentGone, Payloads } from "./ports/payloads.ts"
import type { JournalUnavailable } from "./ports/unavailable.ts"
import { Transact, type TransactError } from "./transact.ts"

export interface SentEvent {
  readonly connectorId: ConnectorId
  readonly event: string
  readonly body: unknown
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** Repeats with the same id are duplicates; a fresh one unless given. */
  readonly deliveryId?: string | undefined
}

/** One thing that happened to a delivery, in words. */
export interface ExplainedFact {
  /** Epoch milliseconds. */
  readonly at: number
  readonly fact: string
}
export interface Explanation {
  readonly deliveryId: string
  readonly connectorId: string
  readonly event: string
  readonly receivedAt: number
  readonly status: Delivery["status"]
  /** One sentence: what became of it. */
  readonly verdict: string
  readonly facts: ReadonlyArray<ExplainedFact>
  readonly runs: ReadonlyArray<{ readonly runId: string; readonly flowId: string; readonly version: number; readonly status: string }>
}

const passedReasons = {
  "other-event": "waits for another event",
  condition: "its condition does not hold for this event",
  unpublished: "is not published",
  suspended: "does not run while the tenant is suspended"
} as const

const dayMillis = 86_400_000
const isDeliveryId = Schema.is(DeliveryId)

/** An event's text for a person. */
const words = (type: string, version: number, data: Record<string, unknown>): string => {
  const event = delivery.events.decode(type, version, data)
  switch (event._tag) {
    case "DeliveryReceived":
      return `Received ${event.bytes} bytes as ${event.event}; verified by ${event.verified === "signature" ? "its signature" : "an API key"}.`
    case "DeliveryRepeated":
      return `The vendor delivered it again (repeat ${event.times}); it was answered like the first and not run again.`
    case "RoutingResumed":
      return "The process had ended before it was routed; it was taken up again."
    case "EventRouted": {
      const passed = event.passed.map(({ flowId, reason }) => `${flowId} ${passedReasons[reason]}`)
      const started =
        event.runs.length === 0 ? "No flow ran" : `Started ${event.runs.map(({ flowId, version }) => `${flowId} v${version}`).join(", ")}`
      return `${started}${passed.length === 0 ? "" : `; passed over: ${passed.join("; ")}`}.`
    }
    case "EventRefused":
      return `Refused: the ${event.limit} events of the quota's window were used up.`
    case "EventPostponed":
      return "Postponed: the quota's window was used up; it runs when the next one begins."
    case "EventDeadLettered":
      return `Put aside as a dead letter: ${event.message}`
  }
}

const verdictOf = (state: Delivery, runs: Explanation["runs"]): string => {
  switch (state.status) {
    case "routed":
      return runs.length === 0
        ? "It arrived, but no enabled flow of this tenant wants it."
        : `It started ${runs.length === 1 ? "one run" : `${runs.length} runs`}: ${runs.map(({ flowId, status }) => `${flowId} ${status}`).join(", ")}.`
    case "received":
      return "It arrived and waits to be routed."
    case "postponed":
      return "It waits for the quota's next window."
    case "refused":
      return "It was not run: the quota was used up."
    default:
      return "It could not be routed and is a dead letter."
  }
}

export class Deliveries extends Context.Service<
  Deliveries,
  {
    /** Takes in an event as if the app had sent it; the caller's key takes the place of the signature. */
    readonly send: (scope: TenantScope, sent: SentEvent, origin: Origin) => Effect.Effect<ReceivedEvent, ConnectorNotFound | TransactError>
    /** What came in, opened for this request; the body as JSON text, since it may be large and nest deep. */
    readonly content: (
      scope: TenantScope,
      deliveryId: string
    ) => Effect.Effect<DeliveryHead & { readonly body: string }, DeliveryNotFound | ContentGone | JournalUnavailable | TransactError>
    readonly explain: (
      scope: TenantScope,
      deliveryId: string
    ) => Effect.Effect<Explanation, DeliveryNotFound | JournalUnavailable | TransactError>
  }
>()("tributary/services/Deliveries") {
  static readonly layer = Layer.effect(
    Deliveries,
    Effect.gen(function* () {
      const connectors = yield* Connectors
      const entropy = yield* Entropy
      const ingest = yield* Ingest
      const journal = yield* Journal
      const payloads = yield* Payloads
      const { read } = yield* Transact
      return Deliveries.of({
        send: Effect.fn("Deliveries.send")(function* (scope, sent, origin) {
          yield* connectors.compiled(scope, sent.connectorId)
          const key = sent.deliveryId ?? origin.commandId ?? entropy.eventId()
          return yield* ingest.take({
            scope,
            connectorId: sent.connectorId,
            event: sent.event,
            headers: sent.headers ?? {},
            body: sent.body,
            bodyBytes: Buffer.from(JSON.stringify(sent.body ?? null)),
            dedupe: { by: "vendor-id", id: deliveryIdOf(`api:${scope.key}:${sent.connectorId}`, key), windowMillis: 7 * dayMillis },
            verified: "api-key",
            actor: origin.actor
          })
        }),
        content: Effect.fn("Deliveries.content")(function* (scope, deliveryId) {
          const missing = new DeliveryNotFound({ deliveryId })
          if (!isDeliveryId(deliveryId)) return yield* missing
          const { received } = (yield* read(delivery, scope, deliveryId)).state
          if (received === null) return yield* missing
          const [bytes] = yield* payloads.open(scope, [received.content])
          const { head, body } = decodeDeliveryContent(bytes!)
          return { ...head, body: Buffer.from(body).toString() }
        }),
        explain: Effect.fn("Deliveries.explain")(function* (scope, deliveryId) {
          const missing = new DeliveryNotFound({ deliveryId })
          if (!isDeliveryId(deliveryId)) return yield* missing
          const events = yield* journal.readStream(scope, streamName(scope, `delivery-${deliveryId}`))
          if (events.length === 0) return yield* missing
          const { state } = yield* read(delivery, scope, deliveryId)
          const runs = yield* Effect.forEach(
            state.runs,
            ({ runId, flowId, version }) =>
              Effect.map(read(run, scope, runId), (found) => ({ runId, flowId, version, status: found.state.status })),
            { concurrency: 16 }
          )
          return {
            deliveryId,
            connectorId: state.received!.connectorId,
            event: state.received!.event,
            receivedAt: state.received!.receivedAt,
            status: state.status,
            verdict: verdictOf(state, runs),
            facts: events.map(({ at, type, version, data }) => ({ at, fact: words(type, version, data) })),
            runs
          }
        })
      })
    })
  )
}
