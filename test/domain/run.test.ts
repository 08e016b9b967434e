import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { assert, describe, it } from "vitest"
import type { EffectClass } from "#domain/action-manifest.ts"
import type { ContentRef } from "#domain/content.ts"
import { fold } from "#domain/decider.ts"
import { ConnectorId, DeliveryId, FlowId, RunId, StepId } from "#domain/ids.ts"
import { interrupted, isEnded, RunCommand, RunEvent, resumesMax, run, type StepError, stepOf } from "#domain/run.ts"
import { given } from "../support/given.ts"
import { property } from "../support/property.ts"
import { replays } from "../support/replays.ts"

const cases = RunEvent.cases
const [map, send] = [StepId.make("map"), StepId.make("send")]
const deliveryId = DeliveryId.make("abcdefghijklmnopqrstuvwxyz")
const start: RunCommand = {
  _tag: "StartRun",
  runId: RunId.make("bcdefghijklmnopqrstuvwxyza"),
  flowId: FlowId.make("orders"),
  version: 1,
  purpose: "route",
  deliveryId,
  trigger: `delivery-${deliveryId}#event` as ContentRef,
  steps: [
    { id: map, kind: "transform" },
    { id: send, kind: "action" }
  ]
}
const started: RunEvent = { ...start, _tag: "RunStarted" }
const output = "run-b#send.1.out" as ContentRef
const startStep = (attempt: number, generation = 1, effect: EffectClass = "idempotent"): RunCommand => ({
  _tag: "StartStep",
  step: send,
  attempt,
  generation,
  effect,
  input: `run-b#send.${attempt}.in` as ContentRef,
  sendBy: 1_000,
  timeoutMillis: 500
})
const stepStarted = (attempt: number, generation = 1, effect: EffectClass = "idempotent"): RunEvent =>
  ({ ...startStep(attempt, generation, effect), _tag: "StepStarted" }) as RunEvent
const succeed = (attempt: number, more: { probe?: true } = {}): RunCommand => ({
  _tag: "SucceedStep",
  step: send,
  attempt,
  output,
  durationMillis: 1,
  ...more
})
const succeeded = (attempt: number, more: { probe?: true } = {}): RunEvent =>
  ({ ...succeed(attempt, more), _tag: "StepSucceeded" }) as RunEvent
const error: StepError = { kind: "permanent", code: "http-422", status: 422, message: "erp answered 422." }
interface Failing {
  readonly retryAt?: number
  readonly definitive?: boolean
  readonly probe?: true
  readonly error?: StepError
}
const fail = (attempt: number, more: Failing = {}): RunCommand => ({
  _tag: "FailStep",
  step: send,
  attempt,
  error,
  durationMillis: 1,
  definitive: true,
  continued: false,
  ...more
})
const failed = (attempt: number, more: Failing = {}): RunEvent => ({ ...fail(attempt, more), _tag: "StepFailed" }) as RunEvent
/** A verifiable call, and that nobody knows what came of it. */
const sent = stepStarted(1, 1, "verifiable")
const unknown = failed(1, { retryAt: 9_000, definitive: false })
const ask = (attempt: number): RunCommand => ({ _tag: "AskForDecision", step: send, attempt })
const asked = (attempt: number): RunEvent => cases.DecisionRequested.make({ step: send, attempt })
const runFailed = cases.RunFailed.make({ step: send, error })

describe("a run", () => {
  it("is started once: who comes second changes nothing", () => {
    given(run).when(start).decides(started)
    given(run, started).when(start).decides()
  })
  it("knows no step before it is started", () => given(run).when(startStep(1)).rejects("RunNotFound"))
  it("lets one worker have an attempt: the next one learns that it lost", () => {
    given(run, started).when(startStep(1)).decides(stepStarted(1))
    given(run, started, stepStarted(1)).when(startStep(1)).rejects("StepNotYours")
    given(run, started, stepStarted(1)).when(startStep(2)).rejects("StepNotYours")
  })
  it("has begun no step whose name every object has", () => {
    for (const name of ["constructor", "toString", "__proto__"])
      assert.strictEqual(stepOf(given(run, started).state, name).status, "pending")
  })
  it("records one outcome for an attempt", () => {
    given(run, started, stepStarted(1)).when(succeed(1)).decides(succeeded(1))
    given(run, started, stepStarted(1), succeeded(1)).when(succeed(1)).rejects("StepNotYours")
    given(run, started, stepStarted(1), succeeded(1)).when(fail(1)).rejects("StepNotYours")
  })
  it("records the outcome of a safe step that was never announced", () => given(run, started).when(succeed(1)).decides(succeeded(1)))
  it("waits for the time of the next attempt", () => {
    const then = given(run, started, stepStarted(1)).when(fail(1, { retryAt: 9_000 }))
    assert.strictEqual(then.state.status, "waiting")
    assert.strictEqual(run.workDue!(then.state), 9_000)
  })
  it("keeps its key over retries, and takes a new one after a definitive failure that a person retries", () => {
    const retrying = given(run, started, stepStarted(1), failed(1, { retryAt: 9_000 }))
    assert.strictEqual(stepOf(retrying.state, send).generation, 1)
    const retried = given(run, started, stepStarted(1), failed(1), runFailed).when({ _tag: "RetryRun" })
    retried.decides(cases.RunRetried.make({ steps: [send] }))
    assert.strictEqual(stepOf(retried.state, send).generation, 2)
    assert.strictEqual(stepOf(retried.state, send).tries, 0)
  })
  it("keeps its key when a retried failure may have had its effect", () => {
    const retried = given(run, started, stepStarted(1), failed(1, { definitive: false }), runFailed).when({ _tag: "RetryRun" })
    assert.strictEqual(stepOf(retried.state, send).generation, 1)
  })
  it("keeps its key after an unknown outcome until the vendor itself says no", () => {
    const doubted = [started, stepStarted(1), failed(1, { retryAt: 9_000, definitive: false }), stepStarted(2)]
    const generationAfter = (last: RunEvent) =>
      stepOf(given(run, ...doubted, last, runFailed).when({ _tag: "RetryRun" }).state, send).generation
    const notSent: StepError = { kind: "transient", code: "connect", message: "erp could not be reached." }
    const busy: StepError = { kind: "transient", code: "http-503", status: 503, message: "erp answered 503." }
    const locked: StepError = { kind: "credentials", code: "http-401", status: 401, message: "erp answered 401." }
    for (const said of [notSent, busy, locked]) assert.strictEqual(generationAfter(failed(2, { error: said })), 1, said.code)
    assert.strictEqual(generationAfter(failed(2)), 2)
  })
  it("keeps what succeeded when it is retried", () => {
    const mapped: RunEvent = { _tag: "StepSucceeded", step: map, attempt: 1, output, durationMillis: 1 }
    const retried = given(run, started, mapped, stepStarted(1), failed(1), runFailed).when({ _tag: "RetryRun" })
    assert.strictEqual(stepOf(retried.state, map).status, "succeeded")
    assert.strictEqual(stepOf(retried.state, send).status, "pending")
    assert.strictEqual(run.workDue!(retried.state), 0)
  })
  it("is not retried while it goes on, nor after it succeeded", () => {
    given(run, started).when({ _tag: "RetryRun" }).decides()
    given(run, started, cases.RunSucceeded.make({})).when({ _tag: "RetryRun" }).rejects("RunNotInState")
  })
  it("asks a person about a call that nobody knows the outcome of", () => {
    const asked = given(run, started, stepStarted(1)).when({ _tag: "AskForDecision", step: send, attempt: 1 })
    assert.strictEqual(asked.state.status, "needs-decision")
    assert.isNull(run.workDue!(asked.state))
    const requested = cases.DecisionRequested.make({ step: send, attempt: 1 })
    const repeat = given(run, started, stepStarted(1), requested).when({ _tag: "DecideStep", step: send, decision: "repeat" })
    assert.strictEqual(repeat.state.status, "running")
    given(run, started).when({ _tag: "DecideStep", step: send, decision: "repeat" }).rejects("RunNotInState")
  })
  it("takes a late outcome instead of the decision", () => {
    const requested = cases.DecisionRequested.make({ step: send, attempt: 1 })
    given(run, started, stepStarted(1), requested).when(succeed(1)).decides(succeeded(1))
  })
  it("keeps what a call in doubt was made from until it is known what came of it, whatever its probes say meanwhile", () => {
    const inDoubt = { input: "run-b#send.1.in" as ContentRef, connectionId: null }
    const of = (...past: ReadonlyArray<RunEvent>) => stepOf(given(run, started, sent, ...past).state, send).inDoubt
    assert.deepStrictEqual(of(), inDoubt)
    assert.deepStrictEqual(of(unknown), inDoubt)
    assert.deepStrictEqual(of(unknown, failed(2, { retryAt: 9_500, definitive: false, probe: true })), inDoubt)
    assert.deepStrictEqual(of(unknown, stepStarted(2, 1, "verifiable")), { ...inDoubt, input: "run-b#send.2.in" as ContentRef })
    for (const known of [succeeded(2, { probe: true }), failed(2, { probe: true })]) assert.isNull(of(unknown, known))
    for (const decision of ["succeeded", "repeat", "failed"] as const)
      assert.isNull(of(unknown, asked(1), cases.StepDecided.make({ step: send, decision })))
  })
  it("takes a probe's word for the call in doubt, and for none that was announced since", () => {
    given(run, started, sent, unknown)
      .when(succeed(2, { probe: true }))
      .decides(succeeded(2, { probe: true }))
    const since = stepStarted(2, 1, "verifiable")
    given(run, started, sent, unknown, since)
      .when(succeed(2, { probe: true }))
      .rejects("StepNotYours")
    given(run, started, sent, unknown, since)
      .when(fail(2, { definitive: false, probe: true }))
      .rejects("StepNotYours")
    given(run, started, sent, unknown, since).when(succeed(2)).decides(succeeded(2))
  })
  it("asks a person about a call in doubt that no probe could tell of, and waits for no time then", () => {
    const then = given(run, started, sent, unknown).when(ask(1))
    then.decides(asked(1))
    assert.strictEqual(then.state.status, "needs-decision")
    assert.isNull(run.workDue!(then.state))
    assert.isNull(stepOf(then.state, send).retryAt)
    given(run, started, sent, unknown).when(ask(2)).decides()
    given(run, started, sent, failed(1, { retryAt: 9_000 }))
      .when(ask(1))
      .decides()
    // Its failure is on record already.
    given(run, started, sent, unknown, asked(1)).when(succeed(1)).rejects("StepNotYours")
  })
  it("keeps the time before which a probe would come too early when a person retries it", () => {
    const cancelled = cases.RunCancelled.make({})
    const retried = given(run, started, sent, unknown, cancelled).when({ _tag: "RetryRun" })
    retried.decides(cases.RunRetried.make({ steps: [] }))
    assert.strictEqual(run.workDue!(retried.state), 9_000)
  })
  it("is cancelled once; a call that was under way is still recorded, and nothing new begins", () => {
    const cancelled = cases.RunCancelled.make({})
    given(run, started, stepStarted(1)).when({ _tag: "CancelRun" }).decides(cancelled)
    given(run, started, cancelled).when({ _tag: "CancelRun" }).decides()
    given(run, started, stepStarted(1), cancelled).when(succeed(1)).decides(succeeded(1))
    given(run, started, cancelled).when(startStep(1)).rejects("RunNotInState")
    assert.strictEqual(given(run, started, stepStarted(1), cancelled, succeeded(1)).state.status, "cancelled")
  })
  it("is quarantined when it is resumed again and again without getting further, and not when it does", () => {
    const resumed = Array.from({ length: resumesMax }, (_, index) => cases.RunResumed.make({ times: index + 1 }))
    assert.strictEqual(given(run, started, ...resumed).when({ _tag: "ResumeRun" }).state.status, "quarantined")
    assert.strictEqual(given(run, started, ...resumed, succeeded(1)).when({ _tag: "ResumeRun" }).state.status, "running")
  })
  it("is quarantined when one call ends the process each time, however often it is repeated", () => {
    const ended: StepError = { kind: "unknown-outcome", code: interrupted, message: "The process ended." }
    const past = Array.from({ length: resumesMax }, (_, index) => [
      stepStarted(index + 1),
      cases.RunResumed.make({ times: index + 1 }),
      failed(index + 1, { error: ended, definitive: false, retryAt: 0 })
    ]).flat()
    assert.strictEqual(given(run, started, ...past).when({ _tag: "ResumeRun" }).state.status, "quarantined")
    const timedOut = failed(resumesMax, { error: { ...ended, code: "timeout" }, definitive: false, retryAt: 0 })
    assert.strictEqual(given(run, started, ...past.slice(0, -1), timedOut).when({ _tag: "ResumeRun" }).state.status, "waiting")
  })
  it("parks for a connection, remembers since when, and goes on when released", () => {
    const park: RunCommand = { _tag: "ParkRun", step: send, connectorId: ConnectorId.make("erp"), since: 5, until: 50 }
    const parked = given(run, started).when(park)
    assert.strictEqual(run.workDue!(parked.state), 50)
    const released = given(run, started, { ...park, _tag: "RunParked" }).when({ _tag: "ReleaseRun" })
    assert.strictEqual(released.state.status, "running")
    assert.strictEqual(released.state.parkedSince, 5)
    given(run, started).when({ _tag: "ReleaseRun" }).decides()
  })

  property("has no open work once it has ended, and some until then unless a person is asked", Schema.Array(RunEvent), (past) => {
    const { state } = given(run, started, ...past)
    const due = run.workDue!(state)
    if (isEnded(state.status) || state.status === "needs-decision") assert.isNull(due)
    else assert.isNotNull(due)
  })
  property("accepts each attempt's outcome at most once, whatever the order of commands", Schema.Array(RunCommand), (commands) => {
    let state = given(run, started).state
    const outcomes = new Set<string>()
    for (const command of commands) {
      const decided = run.decide(command, state)
      if (Result.isFailure(decided)) continue
      for (const event of decided.success) {
        if (event._tag === "StepSucceeded" || event._tag === "StepFailed") {
          const key = `${event.step}/${event.attempt}`
          assert.isFalse(outcomes.has(key))
          outcomes.add(key)
        }
      }
      state = fold(run, state, decided.success)
    }
  })
  replays(run, RunEvent)
})
