/** Connections: authorised links to apps, the space's fixed ones and each tenant's own. */

import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as HttpApiSchema from "effect/http-api/HttpApiSchema"
import * as OpenApi from "effect/http-api/OpenApi"
import * as Schema from "effect/Schema"
import { ConnectorNotFound } from "#domain/connector.ts"
import { ConnectionId, ConnectorId } from "#domain/ids.ts"
import { ConnectionExists, ConnectionNotFound, TooManyConnections } from "#domain/integration.ts"
import { ConnectionView, connections as view } from "#projections/connections.ts"
import { AccountTaken } from "#services/accounts.ts"
import { ConnectionInvalid } from "#services/connections.ts"
import { problem } from "../problems.ts"
import { listQuery, pageOf, tenantParams, timeQuery } from "./common.ts"
import { Authenticated, Described, InTenant, Needs, Permitted } from "./guards.ts"
import { answersRevision, expectsRevision, revisionMismatch } from "./revisions.ts"

/** Times are epoch milliseconds. Secrets are named and have a fingerprint, but are never shown. */
export const ConnectionBody = Schema.Struct({
  ...ConnectionView.fields,
  label: Schema.NullOr(Schema.String),
  variables: Schema.Record(Schema.String, Schema.String)
}).annotate({ identifier: "Connection" })

const Changed = Schema.Struct({ connectionId: ConnectionId }).annotate({ identifier: "ConnectionChanged" })
const Secret = Schema.RedactedFromValue(Schema.String.check(Schema.isMaxLength(16_384)))
const Secrets = Schema.Record(Schema.String, Secret).annotate({
  description: "By the field names of the auth method. Sealed at once, never returned."
})

const Account = Schema.NonEmptyString.check(Schema.isMaxLength(200)).annotate({
  description:
    "The vendor's own name of the tenant, as its webhooks write it: a shop's domain, a team's id. From then on shared endpoints take what names it for this tenant's."
})

/** Whose events come in is the space's to say: a tenant that could claim any account would be handed its neighbour's. */
export class AccountNotYours extends Schema.TaggedError<AccountNotYours>()("AccountNotYours", {}) {
  override get message() {
    return "An account decides whose events arrive by shared endpoints, so that a key of one tenant cannot claim it. Nothing was done. Leave it out, or connect with a key of the space."
  }
}

const notFound = problem(ConnectionNotFound, 404, "No such connection")
const noConnector = problem(ConnectorNotFound, 404, "No such connector")
const invalid = problem(ConnectionInvalid, 422, "This does not connect")

const endpoints = <Params extends Schema.Struct.Fields>(params: Params) => {
  const one = { ...params, id: ConnectionId }
  return [
    HttpApiEndpoint.get("list", "/", {
      params,
      query: {
        ...listQuery(view),
        ...timeQuery("connectedAt"),
        connector: Schema.optionalKey(ConnectorId),
        status: Schema.optionalKey(ConnectionBody.fields.status)
      },
      success: pageOf(ConnectionBody)
    })
      .annotate(Needs, "connections:read")
      .annotateMerge(OpenApi.annotations({ summary: "List connections" })),
    HttpApiEndpoint.get("get", "/:id", { params: one, success: ConnectionBody, error: notFound })
      .annotateMerge(answersRevision)
      .annotate(Needs, "connections:read")
      .annotateMerge(OpenApi.annotations({ summary: "Get a connection" })),
    HttpApiEndpoint.post("connect", "/", {
      params,
      payload: Schema.Struct({
        connector: ConnectorId,
        method: Schema.NonEmptyString,
        secrets: Secrets,
        variables: Schema.optionalKey(Schema.Record(Schema.String, Schema.String)),
        label: Schema.optionalKey(Schema.String.check(Schema.isMaxLength(200))),
        makeDefault: Schema.optionalKey(Schema.Boolean),
        account: Schema.optionalKey(Account)
      }),
      success: Changed.pipe(HttpApiSchema.status(201)),
      error: [
        noConnector,
        invalid,
        problem(AccountTaken, 409, "The account belongs to another tenant"),
        problem(AccountNotYours, 403, "A key of one tenant cannot claim an account"),
        problem(ConnectionExists, 409, "The connection exists already"),
        problem(TooManyConnections, 409, "Too many connections")
      ]
    })
      .annotate(Needs, "connections:write")
      .annotateMerge(OpenApi.annotations({ summary: "Connect an app", description: "Runs that wait for it go on." })),
    HttpApiEndpoint.post("rotate", "/:id/rotate", {
      params: one,
      payload: Schema.Struct({ secrets: Secrets }),
      success: Changed,
      error: [notFound, noConnector, invalid, revisionMismatch]
    })
      .annotateMerge(expectsRevision)
      .annotate(Needs, "connections:write")
      .annotateMerge(OpenApi.annotations({ summary: "Replace secrets", description: "A broken connection is active again after it." })),
    HttpApiEndpoint.post("makeDefault", "/:id/default", { params: one, success: Changed, error: [notFound, revisionMismatch] })
      .annotateMerge(expectsRevision)
      .annotate(Needs, "connections:write")
      .annotateMerge(OpenApi.annotations({ summary: "Make it the default" })),
    HttpApiEndpoint.delete("revoke", "/:id", {
      params: one,
      query: { reason: Schema.optionalKey(Schema.String.check(Schema.isMaxLength(300))) },
      success: Changed,
      error: [notFound, revisionMismatch]
    })
      .annotateMerge(expectsRevision)
      .annotate(Needs, "connections:write")
      .annotateMerge(OpenApi.annotations({ summary: "Revoke a connection", description: "Its secrets are removed." }))
  ] as const
}

/** The space's fixed ones. */
export class FixedConnectionsApi extends HttpApiGroup.make("fixedConnections")
  .add(...endpoints({}))
  .prefix("/api/v1/connections")
  .middleware(Permitted)
  .middleware(Authenticated)
  .middleware(Described)
  .annotateMerge(OpenApi.annotations({ title: "Fixed connections", description: "The space's own, used by every tenant's runs." })) {}

export class ConnectionsApi extends HttpApiGroup.make("connections")
  .add(...endpoints(tenantParams))
  .prefix("/api/v1/tenants/:tid/connections")
  .middleware(InTenant)
  .middleware(Permitted)
  .middleware(Authenticated)
  .middleware(Described)
  .annotateMerge(OpenApi.annotations({ title: "Connections", description: "A tenant's own authorised links to apps." })) {}

/** The older name of the same paths. */
export class CredentialsApi extends HttpApiGroup.make("credentials")
  .add(...endpoints(tenantParams))
  .prefix("/api/v1/tenants/:tid/credentials")
  .middleware(InTenant)
  .middleware(Permitted)
  .middleware(Authenticated)
  .middleware(Described)
  .annotate(OpenApi.Exclude, true) {}
