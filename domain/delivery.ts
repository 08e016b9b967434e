/** A delivery: one webhook call (or one element of it), kept once, from its receipt to the runs that it led to. */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { ContentRef } from "./content.ts"
import type { Aggregate } from "./decider.ts"
import { eventFamily } from "./event-family.ts"
import { ConnectionId, ConnectorId, DeliveryId, FlowId, RunId } from "./ids.ts"

/** A run that a delivery started. */
export type RoutedRun = typeof RoutedRun.Type
export const RoutedRun = Schema.Struct({ flowId: FlowId, version: Schema.Int, runId: RunId })

/** Why an enabled flow of the same connector did not run. */
export type PassedFlow = typeof PassedFlow.Type
export const PassedFlow = Schema.Struct({
  flowId: FlowId,
  reason: Schema.Literals(["other-event", "condition", "unpublished", "suspended"])
})

export type DeadLetterReason = typeof DeadLetterReason.Type
export const DeadLetterReason = Schema.Literals(["not-json", "condition-failed", "content-gone", "routing-failed"])

const received = {
  deliveryId: DeliveryId,
  connectorId: ConnectorId,
  /** Endpoint that took it; absent for an event sent through the API. */
  endpointId: Schema.optionalKey(Schema.String),
  /** The connection that the event belongs to, where the endpoint is bound to one. */
  connectionId: Schema.optionalKey(ConnectionId),
  /** The vendor's name of the event, such as `orders/create`. */
  event: Schema.String,
  /** Headers and raw body, sealed. */
  content: ContentRef,
  bytes: Schema.Int,
  /** How it proved itself. */
  verified: Schema.Literals(["signature", "api-key"]),
  /** What duplicates are recognised by: the vendor's delivery id, or a hash of the content. */
  dedupe: Schema.Literals(["vendor-id", "content"]),
  /** Epoch milliseconds. */
  receivedAt: Schema.Int
}

export type DeliveryCommand = typeof DeliveryCommand.Type
export const DeliveryCommand = Schema.TaggedUnion({
  /** The same id after the window is a new delivery: it goes to the next stream, `<id>.<n>` (R8). */
  ReceiveDelivery: { ...received, windowMillis: Schema.Int },
  RouteEvent: { runs: Schema.Array(RoutedRun), passed: Schema.Array(PassedFlow) },
  RefuseEvent: { limit: Schema.Int },
  PostponeEvent: { until: Schema.Int },
  DeadLetterEvent: { reason: DeadLetterReason, message: Schema.String },
  /** Somebody found it open and not in anybody's hands: after five in a row it is a dead letter (R14). */
  ResumeRouting: {}
})

export type DeliveryEvent = typeof DeliveryEvent.Type
export const DeliveryEvent = Schema.TaggedUnion({
  DeliveryReceived: received,
  /** The same delivery came again and was answered like the first; the first three are recorded. */
  DeliveryRepeated: { times: Schema.Int },
  RoutingResumed: { times: Schema.Int },
  EventRouted: { runs: Schema.Array(RoutedRun), passed: Schema.Array(PassedFlow) },
  /** The quota was used up: it will not run. */
  EventRefused: { limit: Schema.Int },
  /** The quota was used up: it runs from this time on (epoch milliseconds). */
  EventPostponed: { until: Schema.Int },
  EventDeadLettered: { reason: DeadLetterReason, message: Schema.String }
})
const cases = DeliveryEvent.cases

export type DeliveryStatus = "absent" | "received" | "postponed" | "routed" | "refused" | "dead-letter"
export interface Delivery {
  readonly status: DeliveryStatus
  readonly repeats: number
  readonly resumes: number
  readonly postponedUntil: number | null
  readonly received: Omit<typeof DeliveryEvent.cases.DeliveryReceived.Type, "_tag"> | null
  readonly runs: ReadonlyArray<RoutedRun>
}

export class DeliveryNotFound extends Schema.TaggedError<DeliveryNotFound>()("DeliveryNotFound", { deliveryId: Schema.String }) {
  override get message() {
    return `There is no delivery ${this.deliveryId} for this tenant. It may have been retired by the retention policy. Check the id.`
  }
}

/** A first delivery of this id is older than the dedupe window: this one is new, under the next id. */
export class DedupeWindowOver extends Schema.TaggedError<DedupeWindowOver>()("DedupeWindowOver", { deliveryId: DeliveryId }) {
  override get message() {
    return `The delivery ${this.deliveryId} is older than the window in which a repeat is a duplicate.`
  }
}

/** Repeats recorded one by one; later ones are only answered. */
export const repeatsRecordedMax = 3
/** Attempts to route after a crash before it is put aside. */
export const routingResumesMax = 5

const open = (state: Delivery) => state.status === "received" || state.status === "postponed"

const changed = (state: Delivery, change: Partial<Delivery>): Delivery => ({ ...state, ...change })

export const delivery: Aggregate<Delivery, DeliveryCommand, DeliveryEvent, DeliveryNotFound | DedupeWindowOver> = {
  kind: "delivery",
  version: 1,
  events: eventFamily(DeliveryEvent),
  initialState: { status: "absent", repeats: 0, resumes: 0, postponedUntil: null, received: null, runs: [] },
  workDue: (state) => (state.status === "received" ? 0 : state.status === "postponed" ? state.postponedUntil : null),
  decide: (command, state) => {
    if (command._tag === "ReceiveDelivery") {
      if (state.received === null) {
        const { windowMillis: _, ...fields } = command
        return Result.succeed([{ ...fields, _tag: "DeliveryReceived" }])
      }
      if (command.receivedAt - state.received.receivedAt > command.windowMillis)
        return Result.fail(new DedupeWindowOver({ deliveryId: command.deliveryId }))
      return Result.succeed(state.repeats < repeatsRecordedMax ? [cases.DeliveryRepeated.make({ times: state.repeats + 1 })] : [])
    }
    if (state.status === "absent") return Result.fail(new DeliveryNotFound({ deliveryId: "(unknown)" }))
    if (!open(state)) return Result.succeed([])
    return DeliveryCommand.match(command, {
      ReceiveDelivery: () => Result.succeed([]),
      RouteEvent: ({ runs, passed }) => Result.succeed([cases.EventRouted.make({ runs, passed })]),
      RefuseEvent: ({ limit }) => Result.succeed([cases.EventRefused.make({ limit })]),
      PostponeEvent: ({ until }) => Result.succeed(state.postponedUntil === until ? [] : [cases.EventPostponed.make({ until })]),
      DeadLetterEvent: ({ reason, message }) => Result.succeed([cases.EventDeadLettered.make({ reason, message })]),
      ResumeRouting: () =>
        Result.succeed([
          state.resumes < routingResumesMax
            ? cases.RoutingResumed.make({ times: state.resumes + 1 })
            : cases.EventDeadLettered.make({ reason: "routing-failed", message: `Routing did not finish in ${state.resumes} attempts.` })
        ])
    })
  },
  evolve: (state, event) =>
    DeliveryEvent.match(event, {
      DeliveryReceived: ({ _tag: _, ...received }) => changed(state, { status: "received", received }),
      DeliveryRepeated: ({ times }) => changed(state, { repeats: times }),
      RoutingResumed: ({ times }) => changed(state, { resumes: times }),
      EventRouted: ({ runs }) => changed(state, { status: "routed", runs }),
      EventRefused: () => changed(state, { status: "refused" }),
      EventPostponed: ({ until }) => changed(state, { status: "postponed", postponedUntil: until }),
      EventDeadLettered: () => changed(state, { status: "dead-letter" })
    })
}
