/** Runs, for people: cancel, retry, decide, and what each step saw and said. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { type ContentRef, contentRef } from "#domain/content.ts"
import type { RunId, StepId } from "#domain/ids.ts"
import type { Origin, Recorded } from "#domain/recorded.ts"
import { type Run, type RunCommand, type RunEvent, RunNotFound, type RunNotInState, run, type StepNotYours } from "#domain/run.ts"
import { streamName, type TenantScope } from "#domain/scope.ts"
import { Journal, type StoredEvent } from "./ports/journal.ts"
import { Payloads } from "./ports/payloads.ts"
import type { JournalUnavailable } from "./ports/unavailable.ts"
import { type Expecting, type RevisionMismatch, Transact, type TransactError, type Transacted } from "./transact.ts"

type RunChanged = Transacted<Run, RunEvent>
type ChangeFailure = RunNotFound | RunNotInState | RevisionMismatch | TransactError

/** One attempt of a step, with everything that was kept of it. */
export interface AttemptDetail {
  readonly attempt: number
  readonly status: "started" | "succeeded" | "failed" | "retrying" | "continued" | "undecided"
  /** Epoch milliseconds. */
  readonly startedAt: number
  readonly finishedAt?: number
  readonly durationMillis?: number
  readonly retryAt?: number
  readonly input?: unknown
  /** Method, URL and headers; credentials are masked. */
  readonly request?: unknown
  readonly output?: unknown
  readonly response?: unknown
  readonly error?: {
    readonly kind: string
    readonly code: string
    readonly status?: number
    readonly message: string
    readonly detail?: unknown
  }
}
export interface StepDetail {
  readonly step: string
  readonly attempts: ReadonlyArray<AttemptDetail>
}

/** The step is not part of the run. */
export class StepNotFound extends Schema.TaggedError<StepNotFound>()("StepNotFound", { runId: Schema.String, step: Schema.String }) {
  override get message() {
    return `The run ${this.runId} has no step ${this.step}. Get the run to see its steps.`
  }
}

export class Runs extends Context.Service<
  Runs,
  {
    readonly cancel: (
      scope: TenantScope,
      runId: string,
      reason: string | undefined,
      origin: Origin,
      expecting?: Expecting
    ) => Effect.Effect<RunChanged, ChangeFailure>
    /** Goes on from the failed steps; what succeeded is kept, and effects are repeated only under their own keys (R12). */
    readonly retry: (scope: TenantScope, runId: string, origin: Origin, expecting?: Expecting) => Effect.Effect<RunChanged, ChangeFailure>
    /** Says what became of a call whose outcome nobody knows (R13). */
    readonly decide: (
      scope: TenantScope,
      runId: string,
      step: StepId,
      decision: "succeeded" | "repeat" | "failed",
      output: unknown,
      origin: Origin,
      expecting?: Expecting
    ) => Effect.Effect<RunChanged, ChangeFailure>
    readonly get: (scope: TenantScope, runId: string) => Effect.Effect<Run, RunNotFound | JournalUnavailable | TransactError>
    /** The run's events in order. */
    readonly history: (
      scope: TenantScope,
      runId: string
    ) => Effect.Effect<ReadonlyArray<Recorded<RunEvent>>, RunNotFound | JournalUnavailable>
    /** Inputs, outputs, requests and errors of one step, opened for this request. */
    readonly step: (
      scope: TenantScope,
      runId: string,
      step: string
    ) => Effect.Effect<StepDetail, RunNotFound | StepNotFound | JournalUnavailable>
  }
>()("tributary/services/Runs") {
  static readonly layer = Layer.effect(
    Runs,
    Effect.gen(function* () {
      const journal = yield* Journal
      const payloads = yield* Payloads
      const { forget, read, transact } = yield* Transact
      /** Runs are not kept fresh (see `remembered`): where others write too, people are answered from the log. */
      const afresh = (scope: TenantScope, runId: string) =>
        Effect.sync(() => {
          if (!journal.facts.soleWriter) forget(scope, `run-${runId}`)
        })

      const change = (
        scope: TenantScope,
        runId: string,
        command: RunCommand,
        origin: Origin,
        expecting: Expecting = {},
        contents: ReadonlyArray<{ slot: string; bytes: string }> = []
      ) =>
        Effect.andThen(afresh(scope, runId), transact(run, scope, runId, command, { origin, contents, ...expecting })).pipe(
          Effect.catchTag("RunNotFound", () => Effect.fail(new RunNotFound({ runId }))),
          Effect.catchTag("StepNotYours", (error: StepNotYours) => Effect.die(error))
        )

      const recorded = (event: StoredEvent): Recorded<RunEvent> => ({
        ...event,
        event: run.events.decode(event.type, event.version, event.data)
      })

      const history = Effect.fnUntraced(function* (scope: TenantScope, runId: string) {
        const events = yield* journal.readStream(scope, streamName(scope, `run-${runId}`))
        if (events.length === 0) return yield* new RunNotFound({ runId })
        return events.map(recorded)
      })

      /** What is gone (retired, or never kept) is left out; the rest is shown. */
      const openJson = (scope: TenantScope, ref: ContentRef | undefined) =>
        ref === undefined
          ? Effect.succeed<Record<string, unknown>>({})
          : Effect.map(Effect.result(payloads.open(scope, [ref])), (opened) =>
              Result.isSuccess(opened) ? (JSON.parse(Buffer.from(opened.success[0]!).toString()) as Record<string, unknown>) : {}
            )

      const step = Effect.fn("Runs.step")(function* (scope: TenantScope, runId: string, name: string) {
        const events = yield* history(scope, runId)
        const started = events[0]!.event
        if (started._tag !== "RunStarted" || !started.steps.some(({ id }) => id === name))
          return yield* new StepNotFound({ runId, step: name })
        const attempts = new Map<number, AttemptDetail>()
        for (const { event, at } of events) {
          if (!("step" in event) || event.step !== name || !("attempt" in event)) continue
          const known = attempts.get(event.attempt)
          if (event._tag === "StepStarted") {
            const { input, request } = yield* openJson(scope, event.input)
            attempts.set(event.attempt, { attempt: event.attempt, status: "started", startedAt: at, input, request })
          } else if (event._tag === "StepSucceeded") {
            const before = { startedAt: at - event.durationMillis, ...known, ...(yield* openJson(scope, event.input)) }
            const { output, response } = yield* openJson(scope, event.output)
            attempts.set(event.attempt, {
              ...before,
              attempt: event.attempt,
              status: "succeeded",
              finishedAt: at,
              durationMillis: event.durationMillis,
              output,
              response
            })
          } else if (event._tag === "StepFailed") {
            const before = { startedAt: at - event.durationMillis, ...known, ...(yield* openJson(scope, event.input)) }
            const { detail, ...error } = event.error
            const opened = yield* openJson(scope, detail)
            attempts.set(event.attempt, {
              ...before,
              attempt: event.attempt,
              status: event.retryAt !== undefined ? "retrying" : event.continued ? "continued" : "failed",
              finishedAt: at,
              durationMillis: event.durationMillis,
              ...(event.retryAt === undefined ? {} : { retryAt: event.retryAt }),
              error: { ...error, ...(opened["error"] === undefined ? {} : { detail: opened["error"] }) }
            })
          } else if (event._tag === "DecisionRequested" && known !== undefined) {
            const { retryAt: _, ...before } = known
            attempts.set(event.attempt, { ...before, status: "undecided" })
          }
        }
        return { step: name, attempts: [...attempts.values()] }
      })

      return Runs.of({
        cancel: (scope, runId, reason, origin, expecting) =>
          change(scope, runId, { _tag: "CancelRun", ...(reason === undefined ? {} : { reason }) }, origin, expecting),
        retry: (scope, runId, origin, expecting) => change(scope, runId, { _tag: "RetryRun" }, origin, expecting),
        decide: Effect.fnUntraced(function* (scope, runId, step, decision, output, origin, expecting) {
          yield* afresh(scope, runId)
          const { state } = yield* read(run, scope, runId)
          const slot = `${step}.${(state.steps[step]?.attempt ?? 0) + 1}.out`
          const contents = decision === "succeeded" ? [{ slot, bytes: JSON.stringify({ output: output ?? null }) }] : []
          const found = decision === "succeeded" ? { output: contentRef(`run-${runId}`, slot) } : {}
          return yield* change(scope, runId, { _tag: "DecideStep", step, decision, ...found }, origin, expecting, contents)
        }),
        get: Effect.fnUntraced(function* (scope, runId) {
          yield* afresh(scope, runId)
          const { state } = yield* read(run, scope, runId as RunId)
          return state.status === "absent" ? yield* new RunNotFound({ runId }) : state
        }),
        history,
        step
      })
    })
  )
}
