/** A run: one execution of a flow version for one tenant, from its start to its outcome, step by step. */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { EffectClass } from "./action-manifest.ts"
import { ContentRef } from "./content.ts"
import type { Aggregate } from "./decider.ts"
import { eventFamily } from "./event-family.ts"
import { ConnectionId, ConnectorId, DeliveryId, FlowId, RunId, StepId } from "./ids.ts"

/** What kind of failure it is, and so what happens next (R15). The message is ours and safe to show; content is sealed apart. */
export type StepError = typeof StepError.Type
export const StepError = Schema.Struct({
  kind: Schema.Literals(["transient", "permanent", "credentials", "bug", "unknown-outcome"]),
  /** Stable and machine-readable, such as `http-503`, `timeout`, `expression`. */
  code: Schema.String,
  /** HTTP status of the vendor's answer, when there was one. */
  status: Schema.optionalKey(Schema.Int),
  message: Schema.String,
  /** What the vendor said, or the cause chain, sealed. */
  detail: Schema.optionalKey(ContentRef)
})

export const StepKind = Schema.Literals(["transform", "action"])
const runStarted = {
  runId: RunId,
  flowId: FlowId,
  version: Schema.Int,
  purpose: Schema.Literals(["route", "rerun"]),
  deliveryId: DeliveryId,
  trigger: ContentRef,
  /** The connection of the event that set it off, where there is one. */
  connectionId: Schema.optionalKey(ConnectionId),
  steps: Schema.Array(Schema.Struct({ id: StepId, kind: StepKind })),
  /** The run that this one repeats. */
  causedBy: Schema.optionalKey(RunId)
}
const stepStarted = {
  step: StepId,
  /** From 1, over the life of the run. */
  attempt: Schema.Int,
  /** Part of the idempotency key; rises only after a recorded definitive failure (R12). */
  generation: Schema.Int,
  effect: EffectClass,
  connectionId: Schema.optionalKey(ConnectionId),
  input: Schema.optionalKey(ContentRef),
  request: Schema.optionalKey(ContentRef),
  /** Epoch milliseconds, by the sender's clock, after which this attempt does not send any more (R11). */
  sendBy: Schema.Int,
  timeoutMillis: Schema.Int
}
/** A probe told it, not the call itself. */
const told = Schema.optionalKey(Schema.Literal(true))
const stepSucceeded = {
  step: StepId,
  attempt: Schema.Int,
  input: Schema.optionalKey(ContentRef),
  output: Schema.optionalKey(ContentRef),
  durationMillis: Schema.Finite,
  status: Schema.optionalKey(Schema.Int),
  probe: told
}
const stepFailed = {
  step: StepId,
  attempt: Schema.Int,
  input: Schema.optionalKey(ContentRef),
  error: StepError,
  durationMillis: Schema.Finite,
  /** Epoch milliseconds of the next attempt; absent: no further one. */
  retryAt: Schema.optionalKey(Schema.Int),
  /** The vendor has surely answered or surely not been reached: the effect did not happen under this key. */
  definitive: Schema.Boolean,
  /** The flow says to go on without this step's output. */
  continued: Schema.Boolean,
  probe: told
}

export type RunCommand = typeof RunCommand.Type
export const RunCommand = Schema.TaggedUnion({
  StartRun: runStarted,
  /** Found open and in nobody's hands: recorded before anything is tried again (R14). */
  ResumeRun: {},
  StartStep: stepStarted,
  SucceedStep: stepSucceeded,
  FailStep: stepFailed,
  /** A call that must not be repeated, and of which neither its answer nor a probe tells the outcome: a person decides. */
  AskForDecision: { step: StepId, attempt: Schema.Int },
  DecideStep: { step: StepId, decision: Schema.Literals(["succeeded", "repeat", "failed"]), output: Schema.optionalKey(ContentRef) },
  ParkRun: { step: StepId, connectorId: ConnectorId, since: Schema.Int, until: Schema.Int },
  ReleaseRun: {},
  FinishRun: {},
  FailRun: { step: Schema.optionalKey(StepId), error: StepError },
  CancelRun: { reason: Schema.optionalKey(Schema.String) },
  /** Goes on from the failed steps: what succeeded is kept. */
  RetryRun: {},
  QuarantineRun: { reason: Schema.String }
})

export type RunEvent = typeof RunEvent.Type
export const RunEvent = Schema.TaggedUnion({
  RunStarted: runStarted,
  RunResumed: { times: Schema.Int },
  StepStarted: stepStarted,
  StepSucceeded: stepSucceeded,
  StepFailed: stepFailed,
  DecisionRequested: { step: StepId, attempt: Schema.Int },
  StepDecided: {
    step: StepId,
    decision: Schema.Literals(["succeeded", "repeat", "failed"]),
    output: Schema.optionalKey(ContentRef)
  },
  /** `until`: when it looks for the connection again by itself. */
  RunParked: { step: StepId, connectorId: ConnectorId, since: Schema.Int, until: Schema.Int },
  RunReleased: {},
  RunSucceeded: { durationMillis: Schema.optionalKey(Schema.Finite) },
  RunFailed: { step: Schema.optionalKey(StepId), error: StepError },
  RunCancelled: { reason: Schema.optionalKey(Schema.String) },
  RunRetried: { steps: Schema.Array(StepId) },
  RunQuarantined: { reason: Schema.String }
})
const cases = RunEvent.cases

export type StepStatus = "pending" | "started" | "retrying" | "succeeded" | "failed" | "continued" | "undecided"
export interface StepState {
  readonly status: StepStatus
  readonly attempt: number
  readonly generation: number
  /** No call under this key had its effect: a new attempt after a retry takes a new one. */
  readonly definitive: boolean
  /** Of an earlier call under this key nobody knows whether it had its effect. */
  readonly doubted: boolean
  readonly output: ContentRef | null
  readonly retryAt: number | null
  readonly effect: EffectClass | null
  /** Attempts since the run was started or retried: what the retry policy counts. */
  readonly tries: number
  /** Of an announced attempt without outcome: milliseconds from its announcement until none can come any more (R11). */
  readonly openFor: number | null
  /** The last call that was announced, until it is known what came of it. */
  readonly inDoubt: CallInDoubt | null
}
export interface CallInDoubt {
  /** Where the input that it was made from is kept. */
  readonly input: ContentRef | null
  readonly connectionId: ConnectionId | null
}

/** A call that was announced is sent within so long, or never: measured by its sender on a monotonic clock. */
export const sendWithinMillis = 10_000

export type RunStatus =
  | "absent"
  | "running"
  | "waiting"
  | "parked"
  | "needs-decision"
  | "succeeded"
  | "failed"
  | "cancelled"
  | "quarantined"
export interface Run {
  readonly status: RunStatus
  readonly started: Omit<typeof RunEvent.cases.RunStarted.Type, "_tag"> | null
  readonly steps: Readonly<Record<string, StepState>>
  /** Resumptions since the last recorded outcome. */
  readonly resumes: number
  readonly parked: { readonly step: StepId; readonly connectorId: ConnectorId; readonly until: number } | null
  /** Epoch milliseconds since when it has waited for a connection, also between two looks; null once a step went on. */
  readonly parkedSince: number | null
}

/** Resumptions without an outcome in between before the run is quarantined (R14). */
export const resumesMax = 5
/** The code of a call of which its process recorded no outcome before it ended. */
export const interrupted = "interrupted"

export class RunNotFound extends Schema.TaggedError<RunNotFound>()("RunNotFound", { runId: Schema.String }) {
  override get message() {
    return `There is no run ${this.runId} for this tenant. It may have been retired by the retention policy. Check the id.`
  }
}
export class RunNotInState extends Schema.TaggedError<RunNotInState>()("RunNotInState", {
  wanted: Schema.String,
  status: Schema.String
}) {
  override get message() {
    return `The run is ${this.status}, so it cannot ${this.wanted}. Nothing was changed.`
  }
}
/** Somebody else has this step in hand, or it is further on already: whoever reads this does not act (R4). */
export class StepNotYours extends Schema.TaggedError<StepNotYours>()("StepNotYours", {
  step: StepId,
  attempt: Schema.Int,
  status: Schema.String
}) {
  override get message() {
    return `Attempt ${this.attempt} of step ${this.step} cannot be recorded: the step is ${this.status}. Nothing was changed.`
  }
}
export type RunRejection = RunNotFound | RunNotInState | StepNotYours

export const pendingStep: StepState = {
  status: "pending",
  attempt: 0,
  generation: 1,
  definitive: false,
  doubted: false,
  output: null,
  retryAt: null,
  effect: null,
  tries: 0,
  openFor: null,
  inDoubt: null
}
/** Own steps alone: one may be called `constructor`. */
export const stepOf = ({ steps }: Run, step: string): StepState => (Object.hasOwn(steps, step) ? steps[step]! : pendingStep)
export const isEnded = (status: RunStatus): boolean =>
  status === "succeeded" || status === "failed" || status === "cancelled" || status === "quarantined"

/** Running while a call is out or something can be begun, else needs-decision when a person is asked, else waiting for a time. */
const liveStatus = (steps: Readonly<Record<string, StepState>>): RunStatus => {
  const has = (status: StepStatus) => {
    for (const id in steps) if (steps[id]!.status === status) return true
    return false
  }
  if (has("started")) return "running"
  if (has("undecided")) return "needs-decision"
  return has("retrying") ? "waiting" : "running"
}

const withStep = (run: Run, id: string, step: StepState): Run => {
  const steps = { ...run.steps, [id]: step }
  return { ...run, steps, status: isEnded(run.status) || run.status === "parked" ? run.status : liveStatus(steps) }
}

const earliestRetry = (run: Run): number => {
  let earliest = Number.MAX_SAFE_INTEGER
  for (const step of Object.values(run.steps)) if (step.retryAt !== null && step.retryAt < earliest) earliest = step.retryAt
  return earliest === Number.MAX_SAFE_INTEGER ? 0 : earliest
}

const accept = (...events: ReadonlyArray<RunEvent>) => Result.succeed(events)
const live = (run: Run, wanted: string, then: () => Result.Result<ReadonlyArray<RunEvent>, RunRejection>) =>
  isEnded(run.status) ? Result.fail(new RunNotInState({ wanted, status: run.status })) : then()

/**
 * The outcome of an attempt is a fact even when the run was cancelled in the meantime; an outcome is recorded once. What a probe told
 * of an earlier call says nothing of one that was announced since.
 */
const outcome = (
  run: Run,
  command: { readonly step: StepId; readonly attempt: number; readonly probe?: true },
  event: RunEvent
): Result.Result<ReadonlyArray<RunEvent>, RunRejection> => {
  const step = stepOf(run, command.step)
  const mine =
    step.openFor !== null
      ? step.attempt === command.attempt && command.probe === undefined
      : (step.status === "pending" || step.status === "retrying") && step.attempt + 1 === command.attempt
  return mine ? accept(event) : Result.fail(new StepNotYours({ step: command.step, attempt: command.attempt, status: step.status }))
}

/** The vendor's own no, or a probe's: it holds for every call under the key. That this one was not sent, or came at a bad time, does not. */
const isFinal = ({ definitive, error, probe }: Omit<typeof RunEvent.cases.StepFailed.Type, "_tag">): boolean =>
  definitive && (probe === true || (error.kind === "permanent" && error.status !== undefined))

/** Nothing may be sent before it is known what became of the last call; idempotent ones find that out by being repeated. */
const waitsForProbe = ({ effect, inDoubt, status }: StepState): boolean =>
  status === "retrying" && effect === "verifiable" && inDoubt !== null

export const run: Aggregate<Run, RunCommand, RunEvent, RunRejection> = {
  kind: "run",
  version: 3,
  events: eventFamily(RunEvent),
  initialState: { status: "absent", started: null, steps: {}, resumes: 0, parked: null, parkedSince: null },
  workDue: (state) => {
    switch (state.status) {
      case "running":
        return 0
      case "waiting":
        return earliestRetry(state)
      case "parked":
        return state.parked?.until ?? 0
      default:
        return null
    }
  },
  decide: (command, state) => {
    if (command._tag === "StartRun") return accept(...(state.status === "absent" ? [{ ...command, _tag: "RunStarted" as const }] : []))
    if (state.status === "absent") return Result.fail(new RunNotFound({ runId: "(unknown)" }))
    switch (command._tag) {
      case "ResumeRun":
        return live(state, "be resumed", () =>
          accept(
            state.resumes < resumesMax
              ? cases.RunResumed.make({ times: state.resumes + 1 })
              : cases.RunQuarantined.make({ reason: `It was resumed ${state.resumes} times without getting any further.` })
          )
        )
      case "StartStep": {
        const step = stepOf(state, command.step)
        const next = (step.status === "pending" || step.status === "retrying") && command.attempt === step.attempt + 1
        if (isEnded(state.status)) return Result.fail(new RunNotInState({ wanted: "start a step", status: state.status }))
        return next
          ? accept({ ...command, _tag: "StepStarted" })
          : Result.fail(new StepNotYours({ step: command.step, attempt: command.attempt, status: step.status }))
      }
      case "SucceedStep":
        return outcome(state, command, { ...command, _tag: "StepSucceeded" })
      case "FailStep":
        return outcome(state, command, { ...command, _tag: "StepFailed" })
      case "AskForDecision": {
        const step = stepOf(state, command.step)
        const open = step.status === "started" || (step.status === "retrying" && step.inDoubt !== null)
        return open && step.attempt === command.attempt && !isEnded(state.status)
          ? accept({ ...command, _tag: "DecisionRequested" })
          : accept()
      }
      case "DecideStep":
        return stepOf(state, command.step).status === "undecided"
          ? accept({ ...command, _tag: "StepDecided" })
          : Result.fail(new RunNotInState({ wanted: `take a decision on step ${command.step}`, status: state.status }))
      case "ParkRun":
        return live(state, "be parked", () => accept(...(state.status === "parked" ? [] : [{ ...command, _tag: "RunParked" as const }])))
      case "ReleaseRun":
        return accept(...(state.status === "parked" ? [cases.RunReleased.make({})] : []))
      case "FinishRun":
        return live(state, "succeed", () => accept(cases.RunSucceeded.make({})))
      case "FailRun":
        return live(state, "fail", () => accept({ ...command, _tag: "RunFailed" }))
      case "CancelRun":
        if (state.status === "cancelled") return accept()
        return live(state, "be cancelled", () => accept({ ...command, _tag: "RunCancelled" }))
      case "RetryRun": {
        if (!isEnded(state.status)) return accept()
        if (state.status === "succeeded") return Result.fail(new RunNotInState({ wanted: "be retried", status: state.status }))
        // A call in doubt keeps the time before which a probe would come too early.
        const again = Object.keys(state.steps).filter(
          (id) => ["failed", "started", "retrying"].includes(stepOf(state, id).status) && !waitsForProbe(stepOf(state, id))
        )
        return accept(cases.RunRetried.make({ steps: again as Array<StepId> }))
      }
      case "QuarantineRun":
        return live(state, "be quarantined", () => accept(cases.RunQuarantined.make({ reason: command.reason })))
    }
  },
  evolve: (state, event) => {
    switch (event._tag) {
      case "RunStarted": {
        const { _tag: _, ...started } = event
        return { ...state, status: "running", started }
      }
      case "RunResumed":
        return { ...state, resumes: event.times }
      case "StepStarted": {
        const step = stepOf(state, event.step)
        return withStep(state, event.step, {
          ...step,
          status: "started",
          attempt: event.attempt,
          generation: event.generation,
          effect: event.effect,
          retryAt: null,
          openFor: sendWithinMillis + event.timeoutMillis,
          inDoubt: { input: event.input ?? null, connectionId: event.connectionId ?? null }
        })
      }
      case "StepSucceeded": {
        const step = stepOf(state, event.step)
        const next = withStep(state, event.step, {
          ...step,
          status: "succeeded",
          attempt: event.attempt,
          output: event.output ?? null,
          retryAt: null,
          openFor: null,
          inDoubt: null
        })
        return next.resumes === 0 && next.parkedSince === null ? next : { ...next, resumes: 0, parkedSince: null }
      }
      case "StepFailed": {
        const step = stepOf(state, event.step)
        const doubted = !event.definitive || (step.doubted && !isFinal(event))
        const next = withStep(state, event.step, {
          ...step,
          status: event.retryAt !== undefined ? "retrying" : event.continued ? "continued" : "failed",
          attempt: event.attempt,
          tries: step.tries + 1,
          definitive: !doubted,
          doubted,
          retryAt: event.retryAt ?? null,
          openFor: null,
          inDoubt: event.definitive ? null : step.inDoubt
        })
        // That a process ended is no outcome: a call that ends them all is put aside in the end (R14).
        return event.error.code === interrupted ? next : { ...next, resumes: 0 }
      }
      case "DecisionRequested":
        return withStep(state, event.step, { ...stepOf(state, event.step), status: "undecided", retryAt: null })
      case "StepDecided": {
        const step: StepState = { ...stepOf(state, event.step), openFor: null, inDoubt: null }
        if (event.decision === "succeeded")
          return withStep(state, event.step, { ...step, status: "succeeded", output: event.output ?? null })
        if (event.decision === "failed") return withStep(state, event.step, { ...step, status: "failed" })
        return withStep(state, event.step, { ...step, status: "pending" })
      }
      case "RunParked":
        return {
          ...state,
          status: "parked",
          parked: { step: event.step, connectorId: event.connectorId, until: event.until },
          parkedSince: event.since
        }
      case "RunReleased":
        return { ...state, status: liveStatus(state.steps), parked: null }
      case "RunSucceeded":
        return { ...state, status: "succeeded" }
      case "RunFailed":
        return { ...state, status: "failed" }
      case "RunCancelled":
        return { ...state, status: "cancelled" }
      case "RunQuarantined":
        return { ...state, status: "quarantined" }
      case "RunRetried": {
        const steps: Record<string, StepState> = { ...state.steps }
        for (const id of event.steps) {
          const step = stepOf(state, id)
          // A call that was started and never answered keeps its key: its outcome is found out first.
          if (step.status === "started") continue
          steps[id] = {
            ...step,
            status: "pending",
            generation: step.generation + (step.definitive ? 1 : 0),
            definitive: false,
            retryAt: null,
            tries: 0,
            openFor: null
          }
        }
        return { ...state, steps, status: liveStatus(steps), resumes: 0, parked: null, parkedSince: null }
      }
    }
  }
}
