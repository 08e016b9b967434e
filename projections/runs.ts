/** Runs: one view per run, with its steps, for lists and for the detail of one. Content is opened elsewhere, per request. */
import * as Schema from "effect/Schema"
import { DeliveryId, FlowId, RunId, StepId } from "#domain/ids.ts"
import type { Recorded } from "#domain/recorded.ts"
import { type RetentionEvent, retiredIds } from "#domain/retention.ts"
import { isEnded, type RunEvent, StepError, StepKind } from "#domain/run.ts"
import type { Projection } from "./projection.ts"

/** What is shown of an error; what the vendor said stays sealed. */
export type ErrorView = typeof ErrorView.Type
export const ErrorView = Schema.Struct({
  kind: StepError.fields.kind,
  code: Schema.String,
  status: Schema.optionalKey(Schema.Int),
  message: Schema.String
})

export const StepViewStatus = Schema.Literals(["pending", "started", "retrying", "succeeded", "failed", "continued", "undecided"])
export type StepView = typeof StepView.Type
export const StepView = Schema.Struct({
  id: StepId,
  kind: StepKind,
  status: StepViewStatus,
  /** Over the life of the run. */
  attempts: Schema.Int,
  /** Epoch milliseconds, as all times here: of the first attempt. */
  startedAt: Schema.optionalKey(Schema.Int),
  finishedAt: Schema.optionalKey(Schema.Int),
  /** Of the last attempt. */
  durationMillis: Schema.optionalKey(Schema.Finite),
  /** Of the last failed attempt, also when a later one succeeded. */
  error: Schema.optionalKey(ErrorView),
  /** When the next attempt is due. */
  retryAt: Schema.optionalKey(Schema.Int)
})

export type RunViewStatus = typeof RunViewStatus.Type
export const RunViewStatus = Schema.Literals([
  "running",
  "waiting",
  "parked",
  "needs-decision",
  "succeeded",
  "failed",
  "cancelled",
  "quarantined"
])
export type RunView = typeof RunView.Type
export const RunView = Schema.Struct({
  id: RunId,
  flowId: FlowId,
  version: Schema.Int,
  status: RunViewStatus,
  deliveryId: DeliveryId,
  startedAt: Schema.Int,
  finishedAt: Schema.optionalKey(Schema.Int),
  durationMillis: Schema.optionalKey(Schema.Finite),
  steps: Schema.Array(StepView),
  /** What it failed of. */
  error: Schema.optionalKey(ErrorView),
  /** Why it was cancelled, put aside or parked. */
  reason: Schema.optionalKey(Schema.String),
  /** The run that this one repeats. */
  causedBy: Schema.optionalKey(RunId),
  /** Of the run's stream: which of its events this is as of. */
  revision: Schema.Int,
  updatedAt: Schema.Int
})

/** Running while a step is, needs-decision when a person is asked, waiting when all that is left waits for a time. */
const liveStatus = (steps: ReadonlyArray<StepView>): RunViewStatus => {
  const has = (status: StepView["status"]) => steps.some((step) => step.status === status)
  return has("started") ? "running" : has("undecided") ? "needs-decision" : has("retrying") ? "waiting" : "running"
}

const errorView = ({ kind, code, status, message }: StepError): ErrorView =>
  status === undefined ? { kind, code, message } : { kind, code, status, message }

/** The run after one of its steps changed. A step that the start did not name is none of ours. */
const withStep = (view: RunView, id: StepId, at: number, change: (step: StepView) => StepView): RunView => {
  const steps = view.steps.map((step) => (step.id === id ? change(step) : step))
  const kept = isEnded(view.status) || view.status === "parked"
  return { ...view, steps, status: kept ? view.status : liveStatus(steps), updatedAt: at }
}

/** An attempt that was not announced began its duration before it was recorded, but not before its run. */
const beganAt = (view: RunView, step: StepView, at: number, durationMillis: number) =>
  step.startedAt ?? Math.min(at, Math.max(view.startedAt, at - Math.round(durationMillis)))

const ended = ({ reason: _, ...view }: RunView, status: RunViewStatus, at: number): RunView => ({
  ...view,
  status,
  finishedAt: at,
  durationMillis: at - view.startedAt,
  updatedAt: at
})

const live = ({ finishedAt: _, durationMillis: __, error: ___, reason: ____, ...view }: RunView, at: number): RunView => ({
  ...view,
  status: liveStatus(view.steps),
  updatedAt: at
})

const evolve = (view: RunView | undefined, recorded: Recorded<RunEvent | RetentionEvent>): RunView | undefined => {
  const next = after(view, recorded)
  return next && { ...next, revision: recorded.revision }
}

const after = (view: RunView | undefined, { event, at, revision }: Recorded<RunEvent | RetentionEvent>): RunView | undefined => {
  if (event._tag === "RunStarted") {
    const { runId, flowId, version, deliveryId, causedBy, steps } = event
    return {
      id: runId,
      flowId,
      version,
      status: "running",
      deliveryId,
      startedAt: at,
      steps: steps.map(({ id, kind }) => ({ id, kind, status: "pending", attempts: 0 })),
      ...(causedBy === undefined ? {} : { causedBy }),
      revision,
      updatedAt: at
    }
  }
  if (view === undefined) return undefined
  switch (event._tag) {
    case "RunResumed":
      return { ...view, updatedAt: at }
    case "StepStarted":
      return withStep(view, event.step, at, ({ retryAt: _, finishedAt: __, ...step }) => ({
        ...step,
        status: "started",
        attempts: event.attempt,
        startedAt: step.startedAt ?? at
      }))
    case "StepSucceeded":
      return withStep(view, event.step, at, ({ retryAt: _, ...step }) => ({
        ...step,
        status: "succeeded",
        attempts: event.attempt,
        startedAt: beganAt(view, step, at, event.durationMillis),
        finishedAt: at,
        durationMillis: event.durationMillis
      }))
    case "StepFailed":
      return withStep(view, event.step, at, ({ retryAt: _, ...step }) => ({
        ...step,
        status: event.retryAt !== undefined ? "retrying" : event.continued ? "continued" : "failed",
        attempts: event.attempt,
        startedAt: beganAt(view, step, at, event.durationMillis),
        finishedAt: at,
        durationMillis: event.durationMillis,
        error: errorView(event.error),
        ...(event.retryAt === undefined ? {} : { retryAt: event.retryAt })
      }))
    case "DecisionRequested":
      return withStep(view, event.step, at, ({ retryAt: _, ...step }) => ({ ...step, status: "undecided" }))
    case "StepDecided":
      return withStep(view, event.step, at, (step) => ({ ...step, status: event.decision === "repeat" ? "pending" : event.decision }))
    case "RunParked":
      return { ...view, status: "parked", reason: `Step ${event.step} waits for a connection to ${event.connectorId}.`, updatedAt: at }
    case "RunReleased":
      return live(view, at)
    case "RunSucceeded":
      return ended(view, "succeeded", at)
    case "RunFailed":
      return { ...ended(view, "failed", at), error: errorView(event.error) }
    case "RunCancelled":
      return { ...ended(view, "cancelled", at), ...(event.reason === undefined ? {} : { reason: event.reason }) }
    case "RunQuarantined":
      return { ...ended(view, "quarantined", at), reason: event.reason }
    case "RunRetried": {
      const again = new Set(event.steps)
      const steps = view.steps.map((step): StepView => {
        if (!again.has(step.id) || step.status === "started") return step
        const { retryAt: _, finishedAt: __, ...rest } = step
        return { ...rest, status: "pending" }
      })
      return live({ ...view, steps }, at)
    }
    case "StreamsRetired":
      return undefined
  }
}

export const runs: Projection<RunEvent | RetentionEvent, RunView> = {
  name: "runs",
  version: 2,
  events: [
    "RunStarted",
    "RunResumed",
    "StepStarted",
    "StepSucceeded",
    "StepFailed",
    "DecisionRequested",
    "StepDecided",
    "RunParked",
    "RunReleased",
    "RunSucceeded",
    "RunFailed",
    "RunCancelled",
    "RunRetried",
    "RunQuarantined",
    "StreamsRetired"
  ],
  fields: { flowId: "text", status: "text", startedAt: "time", deliveryId: "text" },
  sorts: [["startedAt"], ["status", "startedAt"], ["flowId", "startedAt"]],
  perStream: true,
  key: ({ stream, event }) => (event._tag === "StreamsRetired" ? retiredIds(event, "run") : stream.slice(stream.lastIndexOf("/run-") + 5)),
  evolve
}
