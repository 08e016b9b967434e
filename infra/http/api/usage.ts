/** Usage: what a tenant has used of its quotas, and what each unit went to. */

import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as OpenApi from "effect/http-api/OpenApi"
import * as Schema from "effect/Schema"
import { CountedDimension } from "#domain/plan.ts"
import { QuotaMode } from "#domain/setting-catalogue.ts"
import { UsageView, usage as view } from "#projections/usage.ts"
import { listOf, listQuery, pageOf, tenantParams } from "./common.ts"
import { Authenticated, Described, InTenant, Needs, Permitted } from "./guards.ts"

const Standing = Schema.Struct({
  dimension: CountedDimension,
  window: Schema.String,
  reserved: Schema.Int,
  /** Null: unlimited. */
  limit: Schema.NullOr(Schema.Int),
  mode: QuotaMode,
  windowEndsAt: Schema.Int
}).annotate({ identifier: "QuotaStanding" })
const Entry = Schema.Struct({
  /** The delivery, session or call that used the unit. */
  consumer: Schema.String,
  decision: Schema.Literals(["granted", "refused", "postponed"]),
  at: Schema.Int
}).annotate({ identifier: "LedgerEntry" })
const Window = Schema.String.check(Schema.isPattern(/^\d{8}(?:\d{4})?$/u, { expected: "a day or a minute, as 20261120 or 202611201437" }))

export class UsageApi extends HttpApiGroup.make("usage")
  .add(
    HttpApiEndpoint.get("standing", "/", { params: tenantParams, success: listOf(Standing) })
      .annotate(Needs, "usage:read")
      .annotateMerge(OpenApi.annotations({ summary: "Where the quotas stand", description: "The windows of now, exact." })),
    HttpApiEndpoint.get("history", "/windows", {
      params: tenantParams,
      query: {
        ...listQuery(view),
        dimension: Schema.optionalKey(CountedDimension),
        window: Schema.optionalKey(
          Schema.String.check(Schema.isPattern(/^\d{1,12}$/u, { expected: "the beginning of a window, as 202611" })).annotate({
            description: "Windows that begin so: `2026`, `202611`, `20261120`."
          })
        ),
        reservedMin: Schema.optionalKey(
          Schema.FiniteFromString.check(Schema.isInt()).annotate({ description: "With so many units used, or more." })
        )
      },
      success: pageOf(UsageView)
    })
      .annotate(Needs, "usage:read")
      .annotateMerge(OpenApi.annotations({ summary: "List past windows" })),
    HttpApiEndpoint.get("ledger", "/:dimension/:window", {
      params: { ...tenantParams, dimension: CountedDimension, window: Window },
      query: { cursor: Schema.optionalKey(Schema.FiniteFromString.check(Schema.isInt(), Schema.isGreaterThanOrEqualTo(0))) },
      success: pageOf(Entry)
    })
      .annotate(Needs, "usage:read")
      .annotateMerge(OpenApi.annotations({ summary: "What used the units of a window", description: "In the order of the decisions." }))
  )
  .prefix("/api/v1/tenants/:tid/usage")
  .middleware(InTenant)
  .middleware(Permitted)
  .middleware(Authenticated)
  .middleware(Described)
  .annotateMerge(OpenApi.annotations({ title: "Usage", description: "What a tenant has used of its quotas." })) {}
