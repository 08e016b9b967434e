/** Events: what came in for a tenant, and what became of it. */

import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as HttpApiSchema from "effect/http-api/HttpApiSchema"
import * as OpenApi from "effect/http-api/OpenApi"
import * as Schema from "effect/Schema"
import { ConnectorNotFound } from "#domain/connector.ts"
import { DeliveryNotFound } from "#domain/delivery.ts"
import { ConnectorId, DeliveryId } from "#domain/ids.ts"
import { DeliveryView, deliveries as view } from "#projections/deliveries.ts"
import { problem } from "../problems.ts"
import { listQuery, pageOf, tenantParams, timeQuery } from "./common.ts"
import { Authenticated, Described, InTenant, Needs, Permitted } from "./guards.ts"

const eventParams = { ...tenantParams, id: DeliveryId }
const notFound = problem(DeliveryNotFound, 404, "No such event")

const Content = Schema.Struct({
  /** The vendor's name of the event. */
  event: Schema.String,
  deliveryId: DeliveryId,
  /** ISO 8601, UTC. */
  receivedAt: Schema.String,
  headers: Schema.Record(Schema.String, Schema.String),
  body: Schema.Json
}).annotate({ identifier: "EventContent" })

/** What became of one delivery, in words and in order. */
const Explanation = Schema.Struct({
  deliveryId: DeliveryId,
  connectorId: Schema.String,
  event: Schema.String,
  /** Epoch milliseconds. */
  receivedAt: Schema.Finite,
  status: Schema.String,
  /** One sentence: what became of it. */
  verdict: Schema.String,
  facts: Schema.Array(Schema.Struct({ at: Schema.Finite, fact: Schema.String })),
  runs: Schema.Array(Schema.Struct({ runId: Schema.String, flowId: Schema.String, version: Schema.Int, status: Schema.String }))
}).annotate({ identifier: "EventExplanation" })

export class EventsApi extends HttpApiGroup.make("events")
  .add(
    HttpApiEndpoint.get("list", "/", {
      params: tenantParams,
      query: {
        ...listQuery(view),
        ...timeQuery("receivedAt"),
        status: Schema.optionalKey(DeliveryView.fields.status),
        connector: Schema.optionalKey(ConnectorId),
        event: Schema.optionalKey(Schema.String.check(Schema.isMaxLength(128)))
      },
      success: pageOf(DeliveryView)
    })
      .annotate(Needs, "events:read")
      .annotateMerge(OpenApi.annotations({ summary: "List events", description: "By the time they were received." })),
    HttpApiEndpoint.get("get", "/:id", { params: eventParams, success: DeliveryView, error: notFound })
      .annotate(Needs, "events:read")
      .annotateMerge(OpenApi.annotations({ summary: "Get an event" })),
    HttpApiEndpoint.get("content", "/:id/content", { params: eventParams, success: Content, error: notFound })
      .annotate(Needs, "events:content")
      .annotateMerge(
        OpenApi.annotations({
          summary: "Open an event's content",
          description: "As it came in, without credentials and signatures. Opened for this request alone."
        })
      ),
    HttpApiEndpoint.get("explain", "/:id/explain", { params: eventParams, success: Explanation, error: notFound })
      .annotate(Needs, "events:read")
      .annotateMerge(
        OpenApi.annotations({ summary: "Explain what became of an event", description: "Verified how, routed where, passed over why." })
      ),
    HttpApiEndpoint.post("send", "/", {
      params: tenantParams,
      payload: Schema.Struct({
        connector: ConnectorId,
        event: Schema.NonEmptyString.check(Schema.isMaxLength(128)),
        body: Schema.Json,
        headers: Schema.optionalKey(Schema.Record(Schema.String, Schema.String)),
        /** Repeats with the same id count once. */
        deliveryId: Schema.optionalKey(Schema.NonEmptyString.check(Schema.isMaxLength(200)))
      }),
      success: Schema.Struct({ deliveryId: DeliveryId, duplicate: Schema.Boolean }).pipe(HttpApiSchema.status(202)),
      error: problem(ConnectorNotFound, 404, "No such connector")
    })
      .annotate(Needs, "events:send")
      .annotateMerge(OpenApi.annotations({ summary: "Send an event", description: "As if it had come by webhook, without a signature." }))
  )
  .prefix("/api/v1/tenants/:tid/events")
  .middleware(InTenant)
  .middleware(Permitted)
  .middleware(Authenticated)
  .middleware(Described)
  .annotateMerge(OpenApi.annotations({ title: "Events", description: "What came in for a tenant." })) {}
