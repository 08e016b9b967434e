/** The audit log: who did what to what, when and from where. */

import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as OpenApi from "effect/http-api/OpenApi"
import * as Schema from "effect/Schema"
import { AuditEntry, audit as view } from "#projections/audit.ts"
import { listQuery, pageOf, tenantParams, timeQuery } from "./common.ts"
import { Authenticated, Described, InTenant, Needs, Permitted } from "./guards.ts"

const word = Schema.String.check(Schema.isPattern(/^[\x21-\x7e]{1,200}$/u))
const query = {
  ...listQuery(view),
  ...timeQuery("at"),
  by: Schema.optionalKey(word.annotate({ description: "`<kind>:<id>` of the actor." })),
  action: Schema.optionalKey(word.annotate({ description: "Type of the event." })),
  kind: Schema.optionalKey(word.annotate({ description: "What it was done to: `tenant`, `flow`, `connection` and so on." })),
  target: Schema.optionalKey(word)
}

/** Of the space itself: tenants have their own. */
export class AuditApi extends HttpApiGroup.make("audit")
  .add(
    HttpApiEndpoint.get("list", "/", { query, success: pageOf(AuditEntry) })
      .annotate(Needs, "audit:read")
      .annotateMerge(OpenApi.annotations({ summary: "List what was done in the space" }))
  )
  .prefix("/api/v1/audit")
  .middleware(Permitted)
  .middleware(Authenticated)
  .middleware(Described)
  .annotateMerge(OpenApi.annotations({ title: "Audit", description: "Who did what in the space." })) {}

export class TenantAuditApi extends HttpApiGroup.make("tenantAudit")
  .add(
    HttpApiEndpoint.get("list", "/", { params: tenantParams, query, success: pageOf(AuditEntry) })
      .annotate(Needs, "audit:read")
      .annotateMerge(OpenApi.annotations({ summary: "List what was done for a tenant" }))
  )
  .prefix("/api/v1/tenants/:tid/audit")
  .middleware(InTenant)
  .middleware(Permitted)
  .middleware(Authenticated)
  .middleware(Described)
  .annotateMerge(OpenApi.annotations({ title: "Tenant audit", description: "Who did what for one tenant." })) {}
