/** Endpoints for webhooks: where an outside app delivers for the space or one tenant. */

import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as HttpApiSchema from "effect/http-api/HttpApiSchema"
import * as OpenApi from "effect/http-api/OpenApi"
import * as Schema from "effect/Schema"
import { ConnectorNotFound } from "#domain/connector.ts"
import { EndpointExists, EndpointNotFound, EndpointSecretsExhausted, LastEndpointSecret } from "#domain/endpoint.ts"
import { ConnectionId, ConnectorId, EndpointId } from "#domain/ids.ts"
import { EndpointView, endpoints as view } from "#projections/endpoints.ts"
import { ConnectionInvalid } from "#services/connections.ts"
import { problem } from "../problems.ts"
import { listQuery, pageOf, tenantParams, timeQuery } from "./common.ts"
import { Authenticated, Described, InTenant, Needs, Permitted } from "./guards.ts"
import { answersRevision, expectsRevision, revisionMismatch } from "./revisions.ts"

/** `url` is what the app is to call. Secrets by fingerprint alone. */
export const EndpointBody = Schema.Struct({ ...EndpointView.fields, url: Schema.String }).annotate({ identifier: "Endpoint" })

/** `secret` is shown here and never again, and only when it was made here; null when it was given, or on a repeat. */
const Created = Schema.Struct({ endpointId: EndpointId, url: Schema.String, secret: Schema.NullOr(Schema.String) }).annotate({
  identifier: "CreatedEndpoint"
})
const Rotated = Schema.Struct({ endpointId: EndpointId, field: Schema.String, secret: Schema.NullOr(Schema.String) }).annotate({
  identifier: "RotatedEndpoint"
})
const Secret = Schema.RedactedFromValue(Schema.NonEmptyString.check(Schema.isMaxLength(16_384))).annotate({
  description: "The app's own signing secret; one is made when it is left out."
})

const notFound = problem(EndpointNotFound, 404, "No such endpoint")
const noConnector = problem(ConnectorNotFound, 404, "No such connector")

const endpoints = <Params extends Schema.Struct.Fields>(params: Params) => {
  const one = { ...params, id: EndpointId }
  return [
    HttpApiEndpoint.get("list", "/", {
      params,
      query: {
        ...listQuery(view),
        ...timeQuery("createdAt"),
        connector: Schema.optionalKey(ConnectorId),
        status: Schema.optionalKey(EndpointView.fields.status)
      },
      success: pageOf(EndpointBody)
    })
      .annotate(Needs, "endpoints:read")
      .annotateMerge(OpenApi.annotations({ summary: "List endpoints" })),
    HttpApiEndpoint.get("get", "/:id", { params: one, success: EndpointBody, error: notFound })
      .annotateMerge(answersRevision)
      .annotate(Needs, "endpoints:read")
      .annotateMerge(OpenApi.annotations({ summary: "Get an endpoint", description: "Its secrets by fingerprint alone." })),
    HttpApiEndpoint.post("create", "/", {
      params,
      payload: Schema.Struct({
        connector: ConnectorId,
        connectionId: Schema.optionalKey(ConnectionId),
        secret: Schema.optionalKey(Secret)
      }),
      success: Created.pipe(HttpApiSchema.status(201)),
      error: [
        noConnector,
        problem(ConnectionInvalid, 422, "This does not connect"),
        problem(EndpointExists, 409, "The endpoint exists already")
      ]
    })
      .annotate(Needs, "endpoints:write")
      .annotateMerge(OpenApi.annotations({ summary: "Create an endpoint", description: "Answers the URL to give to the app." })),
    HttpApiEndpoint.post("rotate", "/:id/secrets", {
      params: one,
      payload: Schema.Struct({ secret: Schema.optionalKey(Secret) }),
      success: Rotated.pipe(HttpApiSchema.status(201)),
      error: [notFound, noConnector, problem(EndpointSecretsExhausted, 409, "Too many valid secrets"), revisionMismatch]
    })
      .annotateMerge(expectsRevision)
      .annotate(Needs, "endpoints:write")
      .annotateMerge(
        OpenApi.annotations({ summary: "Add a signing secret", description: "Those before it stay valid until they are removed." })
      ),
    HttpApiEndpoint.delete("removeSecret", "/:id/secrets/:field", {
      params: { ...one, field: Schema.String },
      success: HttpApiSchema.NoContent,
      error: [notFound, problem(LastEndpointSecret, 409, "The only secret"), revisionMismatch]
    })
      .annotateMerge(expectsRevision)
      .annotate(Needs, "endpoints:write")
      .annotateMerge(OpenApi.annotations({ summary: "Remove a signing secret" })),
    HttpApiEndpoint.delete("remove", "/:id", { params: one, success: HttpApiSchema.NoContent, error: [notFound, revisionMismatch] })
      .annotateMerge(expectsRevision)
      .annotate(Needs, "endpoints:write")
      .annotateMerge(OpenApi.annotations({ summary: "Remove an endpoint", description: "Its URL answers 404 from then on." }))
  ] as const
}

/** Of the space: one URL for the webhooks of all tenants. */
export class SpaceHooksApi extends HttpApiGroup.make("spaceHooks")
  .add(...endpoints({}))
  .prefix("/api/v1/hooks")
  .middleware(Permitted)
  .middleware(Authenticated)
  .middleware(Described)
  .annotateMerge(OpenApi.annotations({ title: "Shared endpoints", description: "One URL for the webhooks of all tenants." })) {}

export class HooksApi extends HttpApiGroup.make("hooks")
  .add(...endpoints(tenantParams))
  .prefix("/api/v1/tenants/:tid/hooks")
  .middleware(InTenant)
  .middleware(Permitted)
  .middleware(Authenticated)
  .middleware(Described)
  .annotateMerge(OpenApi.annotations({ title: "Endpoints", description: "Where apps deliver their webhooks for one tenant." })) {}
