/** Executions: the runs of a tenant's flows, their steps and what went through them. */

import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as HttpApiSchema from "effect/http-api/HttpApiSchema"
import * as OpenApi from "effect/http-api/OpenApi"
import * as Schema from "effect/Schema"
import { DeliveryId, FlowId, RunId, StepId } from "#domain/ids.ts"
import { RunNotFound, RunNotInState } from "#domain/run.ts"
import { RunView, RunViewStatus, runs as view } from "#projections/runs.ts"
import { StepNotFound } from "#services/runs.ts"
import { problem } from "../problems.ts"
import { listQuery, pageOf, tenantParams, timeQuery } from "./common.ts"
import { Authenticated, Described, InTenant, Needs, Permitted } from "./guards.ts"
import { answersRevision, expectsRevision, revisionMismatch } from "./revisions.ts"

/** One recorded event of a run: `id` is its position in the journal, as `x-position` gives it, to resume after. */
export const RunStreamEvent = Schema.Struct({
  id: Schema.optional(Schema.String),
  event: Schema.String,
  data: Schema.fromJsonString(
    Schema.Struct({
      executionId: Schema.optionalKey(Schema.String),
      revision: Schema.optionalKey(Schema.Int),
      at: Schema.optionalKey(Schema.Int),
      /** The event's own fields; content is named, never shown. */
      fields: Schema.optionalKey(Schema.Record(Schema.String, Schema.Unknown))
    })
  )
})
const stream = HttpApiSchema.StreamSse({ events: RunStreamEvent })

const Attempt = Schema.Struct({
  attempt: Schema.Int,
  status: Schema.Literals(["started", "succeeded", "failed", "retrying", "continued", "undecided"]),
  /** Epoch milliseconds. */
  startedAt: Schema.Finite,
  finishedAt: Schema.optional(Schema.Finite),
  durationMillis: Schema.optional(Schema.Finite),
  retryAt: Schema.optional(Schema.Finite),
  input: Schema.optional(Schema.Unknown),
  /** Method, URL and headers; credentials are masked. */
  request: Schema.optional(Schema.Unknown),
  output: Schema.optional(Schema.Unknown),
  response: Schema.optional(Schema.Unknown),
  error: Schema.optional(
    Schema.Struct({
      kind: Schema.String,
      code: Schema.String,
      status: Schema.optional(Schema.Int),
      message: Schema.String,
      detail: Schema.optional(Schema.Unknown)
    })
  )
})
/** Every attempt of a step with what went through it, as far as it is still kept. */
export const StepContent = Schema.Struct({ step: Schema.String, attempts: Schema.Array(Attempt) }).annotate({ identifier: "StepContent" })

const runParams = { ...tenantParams, id: RunId }
const notFound = problem(RunNotFound, 404, "No such execution")
const refused = [notFound, problem(RunNotInState, 409, "The execution is not in a state for this"), revisionMismatch]
/** What a change answers; the views follow: read them with `x-min-position`. */
const Changed = Schema.Struct({ id: RunId, status: Schema.String, revision: Schema.Int }).annotate({ identifier: "ExecutionChanged" })
const resume = {
  headers: { "last-event-id": Schema.optionalKey(Schema.String.check(Schema.isMaxLength(130))) },
  success: stream
}

export class ExecutionsApi extends HttpApiGroup.make("executions")
  .add(
    HttpApiEndpoint.get("list", "/", {
      params: tenantParams,
      query: {
        ...listQuery(view),
        ...timeQuery("startedAt"),
        status: Schema.optionalKey(RunViewStatus),
        workflow: Schema.optionalKey(FlowId),
        delivery: Schema.optionalKey(DeliveryId)
      },
      success: pageOf(RunView)
    })
      .annotate(Needs, "runs:read")
      .annotateMerge(OpenApi.annotations({ summary: "List executions", description: "By the time they started." })),
    HttpApiEndpoint.get("stream", "/stream", { params: tenantParams, ...resume })
      .annotate(Needs, "runs:read")
      .annotateMerge(
        OpenApi.annotations({
          summary: "Follow all executions live",
          description: "Server-sent events, one per recorded event. Resumes after Last-Event-ID; without it, begins now."
        })
      ),
    HttpApiEndpoint.get("get", "/:id", { params: runParams, success: RunView, error: notFound })
      .annotateMerge(answersRevision)
      .annotate(Needs, "runs:read")
      .annotateMerge(OpenApi.annotations({ summary: "Get an execution with its steps" })),
    HttpApiEndpoint.get("streamOne", "/:id/stream", { params: runParams, ...resume, error: notFound })
      .annotate(Needs, "runs:read")
      .annotateMerge(
        OpenApi.annotations({
          summary: "Follow one execution live",
          description: "From its first event, or after Last-Event-ID."
        })
      ),
    HttpApiEndpoint.get("step", "/:id/steps/:step", {
      params: { ...runParams, step: StepId },
      success: StepContent,
      error: [notFound, problem(StepNotFound, 404, "No such step")]
    })
      .annotate(Needs, "runs:content")
      .annotateMerge(OpenApi.annotations({ summary: "Open what went through a step", description: "Opened for this request alone." })),
    HttpApiEndpoint.post("cancel", "/:id/cancel", {
      params: runParams,
      payload: Schema.Struct({ reason: Schema.optionalKey(Schema.String.check(Schema.isMaxLength(300))) }),
      success: Changed,
      error: refused
    })
      .annotateMerge(expectsRevision)
      .annotate(Needs, "runs:operate")
      .annotateMerge(OpenApi.annotations({ summary: "Cancel an execution", description: "What was done stays done." })),
    HttpApiEndpoint.post("retry", "/:id/retry", { params: runParams, success: Changed, error: refused })
      .annotateMerge(expectsRevision)
      .annotate(Needs, "runs:operate")
      .annotateMerge(OpenApi.annotations({ summary: "Go on from the failed steps", description: "What succeeded is kept." })),
    HttpApiEndpoint.post("decide", "/:id/steps/:step/decide", {
      params: { ...runParams, step: StepId },
      payload: Schema.Struct({ decision: Schema.Literals(["succeeded", "repeat", "failed"]), output: Schema.optionalKey(Schema.Json) }),
      success: Changed,
      error: refused
    })
      .annotateMerge(expectsRevision)
      .annotate(Needs, "runs:operate")
      .annotateMerge(
        OpenApi.annotations({
          summary: "Decide about a call of unknown outcome",
          description: "For a step that must not be repeated blindly."
        })
      )
  )
  .prefix("/api/v1/tenants/:tid/executions")
  .middleware(InTenant)
  .middleware(Permitted)
  .middleware(Authenticated)
  .middleware(Described)
  .annotateMerge(OpenApi.annotations({ title: "Executions", description: "The runs of a tenant's flows." })) {}
