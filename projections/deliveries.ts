/** Deliveries: what came in, and what became of it. */
import * as Schema from "effect/Schema"
import { DeadLetterReason, DeliveryEvent, PassedFlow, RoutedRun } from "#domain/delivery.ts"
import { ConnectionId, ConnectorId, DeliveryId } from "#domain/ids.ts"
import { type RetentionEvent, retiredIds } from "#domain/retention.ts"
import type { Projection } from "./projection.ts"

export type DeliveryView = typeof DeliveryView.Type
export const DeliveryView = Schema.Struct({
  id: DeliveryId,
  connectorId: ConnectorId,
  /** Absent for an event sent through the API. */
  endpointId: Schema.optionalKey(Schema.String),
  connectionId: Schema.optionalKey(ConnectionId),
  /** The vendor's name of the event. */
  event: Schema.String,
  status: Schema.Literals(["received", "routed", "no-flow", "postponed", "refused", "dead-letter"]),
  /** Epoch milliseconds, as all times here. */
  receivedAt: Schema.Int,
  bytes: Schema.Int,
  verified: Schema.Literals(["signature", "api-key"]),
  /** Times that it came again; the first three are counted. */
  repeats: Schema.Int,
  runs: Schema.Array(RoutedRun),
  /** Enabled flows of the same connector that it did not start, and why. */
  passed: Schema.Array(PassedFlow),
  /** Why it is a dead letter, was refused or put off. */
  reason: Schema.optionalKey(Schema.Struct({ code: Schema.Union([DeadLetterReason, Schema.Literal("quota")]), message: Schema.String })),
  postponedUntil: Schema.optionalKey(Schema.Int),
  updatedAt: Schema.Int
})

const quota = (message: string) => ({ code: "quota" as const, message })

export const deliveries: Projection<DeliveryEvent | RetentionEvent, DeliveryView> = {
  name: "deliveries",
  version: 1,
  events: [
    "DeliveryReceived",
    "DeliveryRepeated",
    "RoutingResumed",
    "EventRouted",
    "EventRefused",
    "EventPostponed",
    "EventDeadLettered",
    "StreamsRetired"
  ],
  fields: { connectorId: "text", event: "text", status: "text", receivedAt: "time" },
  sorts: [["receivedAt"], ["status", "receivedAt"]],
  perStream: true,
  key: ({ stream, event }) =>
    event._tag === "StreamsRetired" ? retiredIds(event, "delivery") : stream.slice(stream.lastIndexOf("/delivery-") + 10),
  evolve: (view, { event, at }) => {
    if (event._tag === "StreamsRetired") return undefined
    return DeliveryEvent.match(event, {
      DeliveryReceived: ({
        deliveryId,
        connectorId,
        endpointId,
        connectionId,
        event,
        bytes,
        verified,
        receivedAt
      }): DeliveryView | undefined => ({
        id: deliveryId,
        connectorId,
        ...(endpointId === undefined ? {} : { endpointId }),
        ...(connectionId === undefined ? {} : { connectionId }),
        event,
        status: "received",
        receivedAt,
        bytes,
        verified,
        repeats: 0,
        runs: [],
        passed: [],
        updatedAt: at
      }),
      DeliveryRepeated: ({ times }) => view && { ...view, repeats: times, updatedAt: at },
      RoutingResumed: () => view && { ...view, updatedAt: at },
      EventRouted: ({ runs, passed }) => {
        if (view === undefined) return undefined
        const { reason: _, postponedUntil: __, ...rest } = view
        return { ...rest, status: runs.length === 0 ? ("no-flow" as const) : ("routed" as const), runs, passed, updatedAt: at }
      },
      EventRefused: ({ limit }) =>
        view && { ...view, status: "refused" as const, reason: quota(`The quota of ${limit} events is used up.`), updatedAt: at },
      EventPostponed: ({ until }) =>
        view && {
          ...view,
          status: "postponed" as const,
          reason: quota("The quota is used up; it runs in the next window."),
          postponedUntil: until,
          updatedAt: at
        },
      EventDeadLettered: ({ reason, message }) =>
        view && { ...view, status: "dead-letter" as const, reason: { code: reason, message }, updatedAt: at }
    })
  }
}
