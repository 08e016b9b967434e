/** Workflows: the space's flows, drafted, published in immutable versions, archived. */

import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as HttpApiSchema from "effect/http-api/HttpApiSchema"
import * as OpenApi from "effect/http-api/OpenApi"
import * as Schema from "effect/Schema"
import { Finding } from "#domain/finding.ts"
import { FlowDraftChanged, FlowNotFound, FlowNotPublished, TooManyFlowVersions } from "#domain/flow.ts"
import { FlowId } from "#domain/ids.ts"
import { FlowView, flows as view } from "#projections/flows.ts"
import { FlowInvalid } from "#services/flows.ts"
import { problem } from "../problems.ts"
import { listQuery, pageOf, timeQuery } from "./common.ts"
import { documentPayload } from "./documents.ts"
import { Authenticated, Described, Needs, Permitted } from "./guards.ts"
import { answersRevision, expectsRevision, revisionMismatch } from "./revisions.ts"

const Drafted = Schema.Struct({
  id: FlowId,
  contentHash: Schema.String,
  /** What would keep it from being published as things are. */
  findings: Schema.Array(Finding)
}).annotate({ identifier: "DraftedWorkflow" })
const Published = Schema.Struct({ id: FlowId, version: Schema.Int, contentHash: Schema.String }).annotate({
  identifier: "PublishedWorkflow"
})
const Details = Schema.Struct({
  id: FlowId,
  /** The document as it was sent, YAML or JSON. */
  text: Schema.String,
  contentHash: Schema.String,
  /** Null: the draft. */
  version: Schema.NullOr(Schema.Int),
  /** How many there are. */
  versions: Schema.Int,
  archived: Schema.Boolean
}).annotate({ identifier: "Workflow" })

const changed = Schema.FiniteFromString.check(Schema.isInt())
const flowParams = { id: FlowId }
const notFound = problem(FlowNotFound, 404, "No such workflow")
const notPublished = problem(FlowNotPublished, 404, "No such version")
const invalid = problem(FlowInvalid, 422, "The workflow is not valid")

export class WorkflowsApi extends HttpApiGroup.make("workflows")
  .add(
    HttpApiEndpoint.get("list", "/", {
      query: {
        ...listQuery(view),
        ...timeQuery("createdAt"),
        changedSince: Schema.optionalKey(changed.annotate({ description: "`changedAt` from this time on, epoch milliseconds." })),
        changedUntil: Schema.optionalKey(changed.annotate({ description: "`changedAt` before this time, epoch milliseconds." })),
        status: Schema.optionalKey(FlowView.fields.status)
      },
      success: pageOf(FlowView)
    })
      .annotate(Needs, "flows:read")
      .annotateMerge(OpenApi.annotations({ summary: "List workflows" })),
    HttpApiEndpoint.post("draft", "/", {
      payload: documentPayload,
      success: Drafted.pipe(HttpApiSchema.status(201)),
      error: [invalid, revisionMismatch]
    })
      .annotateMerge(expectsRevision)
      .annotate(Needs, "flows:write")
      .annotateMerge(
        OpenApi.annotations({
          summary: "Draft a workflow",
          description: "YAML or JSON. Its shape has to be right; what else would keep it from being published is reported."
        })
      ),
    HttpApiEndpoint.get("get", "/:id", { params: flowParams, success: Details, error: [notFound, notPublished] })
      .annotateMerge(answersRevision)
      .annotate(Needs, "flows:read")
      .annotateMerge(OpenApi.annotations({ summary: "Get a workflow's draft" })),
    HttpApiEndpoint.get("version", "/:id/versions/:version", {
      params: { ...flowParams, version: Schema.FiniteFromString.check(Schema.isInt(), Schema.isGreaterThan(0)) },
      success: Details,
      error: [notFound, notPublished]
    })
      .annotate(Needs, "flows:read")
      .annotateMerge(OpenApi.annotations({ summary: "Get a published version", description: "Versions never change." })),
    HttpApiEndpoint.post("publish", "/:id/publish", {
      params: flowParams,
      success: Published,
      error: [
        notFound,
        invalid,
        problem(FlowDraftChanged, 409, "The draft has changed"),
        problem(TooManyFlowVersions, 409, "Too many versions"),
        revisionMismatch
      ]
    })
      .annotateMerge(expectsRevision)
      .annotate(Needs, "flows:publish")
      .annotateMerge(OpenApi.annotations({ summary: "Publish the draft", description: "Checked completely; becomes the next version." })),
    HttpApiEndpoint.post("archive", "/:id/archive", {
      params: flowParams,
      success: HttpApiSchema.NoContent,
      error: [notFound, revisionMismatch]
    })
      .annotateMerge(expectsRevision)
      .annotate(Needs, "flows:publish")
      .annotateMerge(OpenApi.annotations({ summary: "Archive a workflow", description: "No new runs; what runs goes on." }))
  )
  .prefix("/api/v1/workflows")
  .middleware(Permitted)
  .middleware(Authenticated)
  .middleware(Described)
  .annotateMerge(OpenApi.annotations({ title: "Workflows", description: "The space's flows." })) {}
