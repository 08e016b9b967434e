/** A tenant's workflows: which of the space's flows it has on, and with which connections. */

import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as HttpApiSchema from "effect/http-api/HttpApiSchema"
import * as OpenApi from "effect/http-api/OpenApi"
import * as Schema from "effect/Schema"
import { Bindings, TooManyFlowsEnabled } from "#domain/enablement.ts"
import { FlowNotPublished } from "#domain/flow.ts"
import { ConnectorId, FlowId } from "#domain/ids.ts"
import { EnablementView, enablements as view } from "#projections/enablements.ts"
import { BindingsInvalid } from "#services/enablements.ts"
import { problem } from "../problems.ts"
import { listQuery, pageOf, tenantParams, timeQuery } from "./common.ts"
import { Authenticated, Described, InTenant, Needs, Permitted } from "./guards.ts"

const Enabled = Schema.Struct({
  id: FlowId,
  /** The version that holds now. */
  version: Schema.Int,
  /** Connections that it needs and cannot have yet: its runs wait for them. */
  missing: Schema.Array(
    Schema.Struct({
      connectorId: ConnectorId,
      binding: Schema.String,
      problem: Schema.Literals(["ConnectionRequired", "ConnectionAmbiguous"]),
      detail: Schema.String
    })
  )
}).annotate({ identifier: "EnabledWorkflow" })

const flowParams = { ...tenantParams, id: FlowId }

export class TenantWorkflowsApi extends HttpApiGroup.make("tenantWorkflows")
  .add(
    HttpApiEndpoint.get("list", "/", {
      params: tenantParams,
      query: { ...listQuery(view), ...timeQuery("changedAt"), status: Schema.optionalKey(EnablementView.fields.status) },
      success: pageOf(EnablementView)
    })
      .annotate(Needs, "flows:read")
      .annotateMerge(OpenApi.annotations({ summary: "List the tenant's workflows" })),
    HttpApiEndpoint.put("enable", "/:id", {
      params: flowParams,
      payload: Schema.Struct({ version: Schema.optionalKey(Schema.NullOr(Schema.Int)), bindings: Schema.optionalKey(Bindings) }),
      success: Enabled,
      error: [
        problem(FlowNotPublished, 404, "No such published workflow"),
        problem(BindingsInvalid, 422, "The bindings do not fit"),
        problem(TooManyFlowsEnabled, 409, "Too many workflows are on")
      ]
    })
      .annotate(Needs, "flows:enable")
      .annotateMerge(
        OpenApi.annotations({
          summary: "Turn a workflow on",
          description: "Or change its version or bindings. Without a version it follows the newest published one."
        })
      ),
    HttpApiEndpoint.delete("disable", "/:id", { params: flowParams, success: HttpApiSchema.NoContent })
      .annotate(Needs, "flows:enable")
      .annotateMerge(OpenApi.annotations({ summary: "Turn a workflow off", description: "What runs goes on." }))
  )
  .prefix("/api/v1/tenants/:tid/workflows")
  .middleware(InTenant)
  .middleware(Permitted)
  .middleware(Authenticated)
  .middleware(Described)
  .annotateMerge(OpenApi.annotations({ title: "Tenant workflows", description: "Which flows a tenant has on." })) {}
