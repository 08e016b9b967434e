import * as Schema from "effect/Schema"
import { assert, describe, it } from "vitest"
import { fold } from "#domain/decider.ts"
import { DeliveryId, FlowId, RunId, type SpaceKey, StepId, type TenantKey } from "#domain/ids.ts"
import { RetentionEvent } from "#domain/retention.ts"
import { RunEvent, run, type StepError } from "#domain/run.ts"
import { tenantScope } from "#domain/scope.ts"
import { RunView, runs } from "#projections/runs.ts"
import { project, recorded } from "../support/project.ts"
import { property } from "../support/property.ts"

const scope = tenantScope("saaaabbbbccccddddeee" as SpaceKey, "tacmeacmeacmeacmeacm" as TenantKey)
const runId = RunId.make("abcdefghijklmnopqrstuvwxyz")
const flowId = FlowId.make("orders-to-erp")
const deliveryId = DeliveryId.make("zyxwvutsrqponmlkjihgfedcba")
const [map, send] = [StepId.make("map"), StepId.make("send")]
const { RunStarted, RunResumed, StepStarted, StepSucceeded, StepFailed, DecisionRequested, StepDecided, RunParked, RunReleased } =
  RunEvent.cases
const { RunSucceeded, RunFailed, RunCancelled, RunRetried, RunQuarantined } = RunEvent.cases

const started = RunStarted.make({
  runId,
  flowId,
  version: 3,
  purpose: "route",
  deliveryId,
  trigger: "delivery-a#body" as never,
  steps: [
    { id: map, kind: "transform" },
    { id: send, kind: "action" }
  ]
})
const mapped = StepSucceeded.make({ step: map, attempt: 1, durationMillis: 2.6 })
const sending = (attempt = 1) =>
  StepStarted.make({ step: send, attempt, generation: 1, effect: "idempotent", sendBy: 9_000, timeoutMillis: 30_000 })
const error: StepError = { kind: "transient", code: "http-503", status: 503, message: "The app answered 503.", detail: "run-a#x" as never }
const shownError = { kind: "transient", code: "http-503", status: 503, message: "The app answered 503." } as const
const failing = (retryAt?: number, continued = false) =>
  StepFailed.make({
    step: send,
    attempt: 1,
    error,
    durationMillis: 40,
    definitive: true,
    continued,
    ...(retryAt === undefined ? {} : { retryAt })
  })

/** Events are a millisecond apart, from 1000 on. */
const viewed = (...events: ReadonlyArray<RunEvent>): RunView | undefined =>
  project<RunEvent | RetentionEvent, RunView>(runs, recorded(scope, `run-${runId}`, events))[`${scope.key}/${runId}`]
const stepOf = (view: RunView | undefined, id: string) => view?.steps.find((step) => step.id === id)

describe("the runs view", () => {
  it("shows a run from its start, with the steps that it will take", () =>
    assert.deepStrictEqual(viewed(started), {
      id: runId,
      flowId,
      version: 3,
      status: "running",
      deliveryId,
      startedAt: 1_000,
      steps: [
        { id: map, kind: "transform", status: "pending", attempts: 0 },
        { id: send, kind: "action", status: "pending", attempts: 0 }
      ],
      revision: 0,
      updatedAt: 1_000
    }))
  it("shows when a step began, ended and how long it took", () => {
    const view = viewed(
      started,
      mapped,
      sending(),
      StepSucceeded.make({ step: send, attempt: 1, durationMillis: 31 }),
      RunSucceeded.make({})
    )
    assert.deepInclude(stepOf(view, "map"), { status: "succeeded", attempts: 1, startedAt: 1_000, finishedAt: 1_001, durationMillis: 2.6 })
    assert.deepInclude(stepOf(view, "send"), { status: "succeeded", startedAt: 1_002, finishedAt: 1_003, durationMillis: 31 })
    assert.deepInclude(view, { status: "succeeded", finishedAt: 1_004, durationMillis: 4, revision: 4, updatedAt: 1_004 })
  })
  it("waits while a failed step will be tried again, and says of what it failed without the sealed detail", () => {
    const view = viewed(started, sending(), failing(5_000))
    assert.deepInclude(view, { status: "waiting" })
    assert.deepInclude(stepOf(view, "send"), { status: "retrying", attempts: 1, retryAt: 5_000, error: shownError })
    assert.strictEqual(viewed(started, sending(), failing(5_000), sending(2))?.status, "running")
    assert.notProperty(stepOf(viewed(started, sending(), failing(5_000), sending(2)), "send"), "retryAt")
  })
  it("fails with the error, and goes on without what the flow can do without", () => {
    const failed = viewed(started, sending(), failing(), RunFailed.make({ step: send, error }))
    assert.deepInclude(failed, { status: "failed", error: shownError, finishedAt: 1_003 })
    assert.strictEqual(stepOf(viewed(started, sending(), failing(undefined, true)), "send")?.status, "continued")
  })
  it("forgets the end of a run that is retried, and keeps what succeeded", () => {
    const view = viewed(started, mapped, sending(), failing(), RunFailed.make({ error }), RunRetried.make({ steps: [send] }))
    assert.deepInclude(view, { status: "running", updatedAt: 1_005 })
    for (const gone of ["error", "finishedAt", "durationMillis"]) assert.notProperty(view, gone)
    assert.strictEqual(stepOf(view, "map")?.status, "succeeded")
    assert.strictEqual(stepOf(view, "send")?.status, "pending")
  })
  it("asks for a decision and takes it", () => {
    const asked = [started, sending(), DecisionRequested.make({ step: send, attempt: 1 })]
    assert.strictEqual(viewed(...asked)?.status, "needs-decision")
    for (const [decision, status] of [
      ["succeeded", "succeeded"],
      ["failed", "failed"],
      ["repeat", "pending"]
    ] as const)
      assert.strictEqual(stepOf(viewed(...asked, StepDecided.make({ step: send, decision })), "send")?.status, status)
  })
  it("waits for no time any more once a person is asked about a call that no probe could tell of", () => {
    const view = viewed(started, sending(), failing(5_000), DecisionRequested.make({ step: send, attempt: 1 }))
    assert.strictEqual(view?.status, "needs-decision")
    assert.notProperty(stepOf(view, "send"), "retryAt")
  })
  it("says what a parked run waits for, until it is released", () => {
    const parked = RunParked.make({ step: send, connectorId: "erp" as never, since: 1_001, until: 9_999 })
    assert.deepInclude(viewed(started, parked), { status: "parked", reason: "Step send waits for a connection to erp." })
    const released = viewed(started, parked, RunReleased.make({}))
    assert.strictEqual(released?.status, "running")
    assert.notProperty(released, "reason")
  })
  it("says why it was cancelled or put aside", () => {
    assert.deepInclude(viewed(started, RunCancelled.make({ reason: "by hand" })), { status: "cancelled", reason: "by hand" })
    assert.deepInclude(viewed(started, RunQuarantined.make({ reason: "a bug" })), { status: "quarantined", reason: "a bug" })
  })
  it("names the run that it repeats", () => assert.strictEqual(viewed({ ...started, causedBy: runId })?.causedBy, runId))
  it("drops a run whose events were retired", () => {
    const retired = RetentionEvent.cases.StreamsRetired.make({
      streams: [{ stream: `run-${runId}` }, { stream: "run-other" }],
      olderThan: 1
    })
    const events = [...recorded(scope, `run-${runId}`, [started]), ...recorded(scope, "retention-20261120", [retired], 2_000)]
    assert.deepStrictEqual(project<RunEvent | RetentionEvent, RunView>(runs, events), {})
  })
  it("makes nothing of events whose start is gone", () => assert.isUndefined(viewed(mapped, RunResumed.make({ times: 1 }))))

  property("has the aggregate's own status, and a shape that the API can show, after any events", Schema.Array(RunEvent), (events) => {
    const later = events.filter(({ _tag }) => _tag !== "RunStarted").map(ours)
    const view = viewed(started, ...later)
    const state = fold(run, run.initialState, [started, ...later])
    const statuses = new Set(Object.values(state.steps).map(({ status }) => status))
    if (!(statuses.has("started") && statuses.has("undecided"))) assert.strictEqual(view?.status as string, state.status)
    assert.doesNotThrow(() => Schema.decodeUnknownSync(RunView)(JSON.parse(JSON.stringify(view))))
  })
})

/** Arbitrary events name arbitrary steps; here they mean the run's own. */
const ours = (event: RunEvent): RunEvent => {
  if (event._tag === "RunRetried") return { ...event, steps: [send] }
  return "step" in event && event.step !== undefined ? { ...event, step: event.step.length % 2 === 0 ? map : send } : event
}
