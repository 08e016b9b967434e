/** Tenants: the customers of the space. */

import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as HttpApiSchema from "effect/http-api/HttpApiSchema"
import * as OpenApi from "effect/http-api/OpenApi"
import * as Schema from "effect/Schema"
import { PlanName, PlanNotFound } from "#domain/plan.ts"
import { DisplayName, ExternalTenantId, Region, TenantErased, TenantExists, TenantNotFound, TenantStatus, Tier } from "#domain/tenant.ts"
import { tenants as view } from "#projections/tenants.ts"
import { ProblemMember, problem } from "../problems.ts"
import { listQuery, pageOf, tenantParams, timeQuery } from "./common.ts"
import { Authenticated, Described, InTenant, Needs, Permitted } from "./guards.ts"
import { answersRevision, expectsRevision, revisionMismatch } from "./revisions.ts"

export const TenantBody = Schema.Struct({
  /** The space's own id. */
  id: ExternalTenantId,
  displayName: Schema.String,
  plan: PlanName,
  region: Region,
  tier: Tier,
  status: TenantStatus,
  /** Epoch milliseconds; only in lists. */
  createdAt: Schema.optionalKey(Schema.Int)
}).annotate({ identifier: "Tenant" })

const planNotFound = problem(PlanNotFound, 422, "No such plan")
const erased = problem(TenantErased, 410, "The tenant was erased")
const notFound = problem(TenantNotFound, 404, "No such tenant")

export const NewTenantBody = Schema.Struct({
  id: ExternalTenantId,
  displayName: Schema.optionalKey(DisplayName),
  plan: Schema.optionalKey(PlanName),
  region: Schema.optionalKey(Region),
  tier: Schema.optionalKey(Tier)
}).annotate({ identifier: "NewTenant" })

/** Tenants of one request. */
export const bulkMax = 1_000
const bulkPayload = [
  Schema.Array(Schema.Json).check(Schema.isMinLength(1), Schema.isMaxLength(bulkMax)),
  Schema.String.pipe(HttpApiSchema.asText({ contentType: "application/x-ndjson" }))
] as const
const Bulk = Schema.Struct({
  created: Schema.Int,
  /** There before, by another request or an earlier try of this one. */
  existing: Schema.Int,
  refused: Schema.Int,
  /** In the order of the request. */
  items: Schema.Array(
    Schema.Struct({
      index: Schema.Int,
      /** Null where none could be read. */
      id: Schema.NullOr(Schema.String),
      outcome: Schema.Literals(["created", "exists", "refused"]),
      problem: Schema.optionalKey(ProblemMember)
    })
  )
}).annotate({ identifier: "TenantsCreated" })

/** All of the space's tenants. */
export class TenantsApi extends HttpApiGroup.make("tenants")
  .add(
    HttpApiEndpoint.get("list", "/", {
      query: {
        ...listQuery(view),
        ...timeQuery("createdAt"),
        status: Schema.optionalKey(TenantStatus),
        plan: Schema.optionalKey(PlanName),
        region: Schema.optionalKey(Region),
        tier: Schema.optionalKey(Tier)
      },
      success: pageOf(TenantBody)
    })
      .annotate(Needs, "tenants:read")
      .annotateMerge(OpenApi.annotations({ summary: "List tenants", description: "By the time of their creation." })),
    HttpApiEndpoint.post("create", "/", {
      payload: NewTenantBody.annotate({ examples: [{ id: "acme-corp", displayName: "Acme Corp", plan: "growth" } as never] }),
      success: TenantBody.pipe(HttpApiSchema.status(201)),
      error: [problem(TenantExists, 409, "The tenant exists already"), planNotFound, erased, notFound]
    })
      .annotate(Needs, "tenants:write")
      .annotateMerge(OpenApi.annotations({ summary: "Create a tenant", description: "Under any printable id of up to 128 bytes." })),
    HttpApiEndpoint.post("createAll", "/bulk", { payload: bulkPayload, success: Bulk })
      .annotate(Needs, "tenants:write")
      .annotateMerge(
        OpenApi.annotations({
          summary: "Create many tenants",
          description: `1 to ${bulkMax} of them, each as for one, in a JSON array or as NDJSON with one a line. Each has an outcome of its own: what is wrong with one keeps none of the others back. Repeating the request makes nothing twice.`
        })
      )
  )
  .prefix("/api/v1/tenants")
  .middleware(Permitted)
  .middleware(Authenticated)
  .middleware(Described)
  .annotateMerge(OpenApi.annotations({ title: "Tenants", description: "The customers of the space." })) {}

/** One tenant. */
export class TenantApi extends HttpApiGroup.make("tenant")
  .add(
    HttpApiEndpoint.get("get", "/", { params: tenantParams, success: TenantBody })
      .annotateMerge(answersRevision)
      .annotate(Needs, "tenants:read")
      .annotateMerge(OpenApi.annotations({ summary: "Get a tenant" })),
    HttpApiEndpoint.patch("change", "/", {
      params: tenantParams,
      payload: Schema.Struct({ displayName: Schema.optionalKey(DisplayName), plan: Schema.optionalKey(PlanName) }),
      success: TenantBody,
      error: [planNotFound, erased, revisionMismatch]
    })
      .annotateMerge(expectsRevision)
      .annotate(Needs, "tenants:write")
      .annotateMerge(OpenApi.annotations({ summary: "Change name or plan", description: "Both or neither." })),
    HttpApiEndpoint.post("suspend", "/suspend", { params: tenantParams, success: TenantBody, error: [erased, revisionMismatch] })
      .annotateMerge(expectsRevision)
      .annotate(Needs, "tenants:suspend")
      .annotateMerge(
        OpenApi.annotations({ summary: "Suspend a tenant", description: "Nothing is taken or run for it until it is activated." })
      ),
    HttpApiEndpoint.post("activate", "/activate", { params: tenantParams, success: TenantBody, error: [erased, revisionMismatch] })
      .annotateMerge(expectsRevision)
      .annotate(Needs, "tenants:suspend")
      .annotateMerge(OpenApi.annotations({ summary: "Activate a suspended tenant" }))
  )
  .prefix("/api/v1/tenants/:tid")
  .middleware(InTenant)
  .middleware(Permitted)
  .middleware(Authenticated)
  .middleware(Described)
  .annotateMerge(OpenApi.annotations({ title: "Tenant", description: "One customer of the space." })) {}
