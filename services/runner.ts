/** The run engine: drives one run from step to step, records every intent and outcome, and survives any interruption between them. */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import * as Result from "effect/Result"
import type { ContentRef } from "#domain/content.ts"
import type { Bindings } from "#domain/enablement.ts"
import type { ConnectionId, ConnectorId, DeliveryId, FlowId, RunId, StepId } from "#domain/ids.ts"
import { type Origin, systemActor } from "#domain/recorded.ts"
import { type Run, type RunCommand, type RunRejection, run, type StepError, stepOf } from "#domain/run.ts"
import { backoffMillis, readySteps, standing } from "#domain/run-plan.ts"
import type { TenantScope } from "#domain/scope.ts"
import { BoundedCache } from "./bounded-cache.ts"
import { type TriggerData, triggerOf } from "./delivery-content.ts"
import { Enablements } from "./enablements.ts"
import { type CompiledFlow, Flows } from "./flows.ts"
import { Entropy } from "./ports/entropy.ts"
import { Journal } from "./ports/journal.ts"
import { Outbound } from "./ports/outbound.ts"
import { Payloads } from "./ports/payloads.ts"
import { type Drive, decide, errorOf, flushWith, keep, keptMax, newDrive } from "./run-drive.ts"
import { Settings } from "./settings.ts"
import { type Attempt, StepCalls, type StepOutcome } from "./step-calls.ts"
import { Suspects } from "./suspects.ts"
import { Transact, type TransactError } from "./transact.ts"

export interface RunStart {
  readonly runId: RunId
  readonly flow: CompiledFlow
  readonly deliveryId: DeliveryId
  readonly content: ContentRef
  readonly trigger: TriggerData
  readonly purpose: "route" | "rerun"
  readonly causedBy?: RunId
  /** The event's own connection, where its endpoint is bound to one. */
  readonly connectionId: ConnectionId | undefined
  /** Connections that the tenant's enablement binds. */
  readonly bindings: Bindings
  /** The event's unit of the quota is on its way to the disk: waited for before the first call. */
  readonly reserved: Effect.Effect<unknown, TransactError | RunRejection>
  /** Called once the run is on record, by us or by somebody else before. */
  readonly onRecord: () => void
}

const actor = systemActor("runner")
/** Recovered runs in hand. */
const resumedMax = 65_536

/** Until when calls that were announced may be sent or answered, epoch milliseconds; 0: none was. */
const callsUntil = (state: Run): number => Math.max(0, ...Object.values(state.steps).map(({ openUntil }) => openUntil ?? 0))

export class Runner extends Context.Service<
  Runner,
  {
    /** Starts a run and drives it until it ends or has to wait. */
    readonly begin: (scope: TenantScope, start: RunStart) => Effect.Effect<void, TransactError | RunRejection>
    /**
     * Goes on with a recorded run; `recovered`: nobody had it in hand here. Gives the time, epoch milliseconds, until which a call of
     * another process may still be under way: before it, nothing was done (R11). Else null.
     */
    readonly resume: (scope: TenantScope, runId: string, recovered: boolean) => Effect.Effect<number | null, TransactError | RunRejection>
    /** Takes it out of circulation after repeated defects. */
    readonly quarantine: (
      scope: TenantScope,
      runId: string,
      cause: Cause.Cause<unknown>
    ) => Effect.Effect<void, TransactError | RunRejection>
    readonly figures: () => Readonly<Record<"started" | "succeeded" | "failed" | "parked" | "retried" | "quarantined", number>>
  }
>()("tributary/services/Runner") {
  static readonly layer = Layer.effect(
    Runner,
    Effect.gen(function* () {
      const { forget, read, transact } = yield* Transact
      const { soleWriter } = (yield* Journal).facts
      const entropy = yield* Entropy
      const enablements = yield* Enablements
      const flows = yield* Flows
      const payloads = yield* Payloads
      const settings = yield* Settings
      const outbound = yield* Outbound
      const calls = yield* StepCalls
      const suspects = yield* Suspects
      /** Resumptions that are on record already: a failure on our side afterwards is no further death (R14). */
      const resumedHere = new BoundedCache<string, true>(resumedMax)
      const figures = { started: 0, succeeded: 0, failed: 0, parked: 0, retried: 0, quarantined: 0 }

      /** Writes what was decided, in one append. */
      const flush = flushWith(transact)

      const transform = Effect.fnUntraced(function* (drive: Drive, index: number) {
        const definition = drive.flow.document.steps[index]!
        const step = definition.id as StepId
        const attempt = stepOf(drive.state, step).attempt + 1
        const before = outbound.now()
        const evaluated = yield* Effect.result(drive.flow.steps[index]!.evaluate(drive.data))
        const durationMillis = Math.round((outbound.now() - before) * 1000) / 1000
        if (Result.isSuccess(evaluated)) {
          drive.data.steps[step] = { output: evaluated.success }
          const output = keep(drive, step, attempt, "out", { output: evaluated.success })
          return yield* decide(drive, { _tag: "SucceedStep", step, attempt, output, durationMillis })
        }
        const error = errorOf(
          drive,
          step,
          attempt,
          { kind: "permanent", code: "expression", message: "The expression failed on this input." },
          evaluated.failure.message
        )
        const continued = definition.onError === "continue"
        if (continued) drive.data.steps[step] = { output: null }
        return yield* decide(drive, { _tag: "FailStep", step, attempt, error, durationMillis, definitive: true, continued })
      })

      const park = (drive: Drive, step: StepId, connectorId: ConnectorId, since: number, until: number) => {
        figures.parked++
        return decide(drive, { _tag: "ParkRun", step, connectorId, since, until })
      }

      /** The vendor refused the credentials: the connection is broken, and the run waits for it to be repaired (R15). */
      const parkForCredentials = Effect.fnUntraced(function* (drive: Drive, attempt: Attempt, failed: RunCommand, message: string) {
        const now = yield* Clock.currentTimeMillis
        const since = drive.state.parkedSince ?? now
        const until = calls.parkedUntil(drive.settings, since, now)
        yield* calls.refused(drive.scope, attempt, message)
        if (until === null) return yield* decide(drive, failed)
        yield* decide(drive, { ...failed, retryAt: now } as RunCommand)
        yield* park(drive, attempt.step, attempt.connector.manifest.id, since, until)
      })

      /** Records what came of a call, with the next append. */
      const record = Effect.fnUntraced(function* (drive: Drive, attempt: Attempt, outcome: StepOutcome) {
        const { step, index } = attempt
        const definition = drive.flow.document.steps[index]!
        const shared = { step, attempt: attempt.attempt, durationMillis: outcome.durationMillis }
        const input = attempt.input === undefined ? {} : { input: attempt.input }
        if (outcome._tag === "Succeeded") {
          drive.data.steps[step] = { output: outcome.output }
          const output = keep(drive, step, attempt.attempt, "out", { output: outcome.output, response: outcome.response })
          return yield* decide(drive, { _tag: "SucceedStep", ...shared, ...input, output, status: outcome.response.status })
        }
        const tries = stepOf(drive.state, step).tries
        const error = errorOf(drive, step, attempt.attempt, outcome.error, outcome.detail)
        const failed: Omit<typeof RunCommand.cases.FailStep.Type, "continued"> = {
          _tag: "FailStep",
          ...shared,
          ...input,
          error,
          definitive: outcome.definitive
        }
        if (outcome.outcomeUnknown && !attempt.repeatable)
          return yield* decide(drive, { _tag: "AskForDecision", step, attempt: attempt.attempt })
        if (error.kind === "credentials")
          return yield* parkForCredentials(drive, attempt, { ...failed, continued: false }, outcome.error.message)
        const retries = error.kind === "transient" || error.kind === "unknown-outcome"
        if (retries && tries + 1 < attempt.attemptsMax) {
          figures.retried++
          const now = yield* Clock.currentTimeMillis
          const retryAt = now + backoffMillis(attempt.backoff, tries, entropy.fraction(), outcome.retryAfterMillis)
          return yield* decide(drive, { ...failed, retryAt, continued: false })
        }
        const continued = definition.onError === "continue"
        if (continued) drive.data.steps[step] = { output: null }
        return yield* decide(drive, { ...failed, continued })
      })

      /** Gets one call ready: its input, connection and request. What cannot be sent is recorded as failed, or parks the run. */
      const prepare = Effect.fnUntraced(function* (drive: Drive, index: number) {
        const prepared = yield* calls.prepare(drive, index)
        if (prepared._tag === "Ready") {
          const { attempt } = prepared
          const input = keep(drive, attempt.step, attempt.attempt, "in", prepared.content)
          if (attempt.effect !== "safe")
            yield* decide(drive, {
              _tag: "StartStep",
              step: attempt.step,
              attempt: attempt.attempt,
              generation: attempt.generation,
              effect: attempt.effect,
              connectionId: attempt.connection.connectionId,
              input,
              sendBy: attempt.sendByEpochMillis,
              timeoutMillis: attempt.request.timeoutMs
            })
          return { ...attempt, input: attempt.effect === "safe" ? input : undefined } as Attempt
        }
        if (prepared._tag === "Parks") {
          const since = drive.state.parkedSince ?? (yield* Clock.currentTimeMillis)
          yield* park(drive, prepared.step, prepared.connectorId, since, prepared.until)
          return undefined
        }
        const attempt = stepOf(drive.state, prepared.step).attempt + 1
        const error = errorOf(drive, prepared.step, attempt, prepared.error, prepared.detail)
        const continued = drive.flow.document.steps[index]!.onError === "continue"
        if (continued) drive.data.steps[prepared.step] = { output: null }
        yield* decide(drive, { _tag: "FailStep", step: prepared.step, attempt, error, durationMillis: 0, definitive: true, continued })
        return undefined
      })

      /** Pure steps at once, calls all together; every intent is durable before its call, every outcome soon after. */
      const advance = Effect.fnUntraced(function* (drive: Drive) {
        let outcomes: Queue.Queue<readonly [Attempt, StepOutcome]> | undefined
        /** Steps whose calls are out: of a safe one, nothing else says so. */
        const inFlight = new Set<number>()
        for (;;) {
          const attempts: Array<Attempt> = []
          let again = false
          if (drive.state.status === "running" || drive.state.status === "waiting") {
            const now = yield* Clock.currentTimeMillis
            const stop = standing(drive.flow.graph, drive.state)._tag === "Failed"
            for (const index of stop ? [] : readySteps(drive.flow.graph, drive.state, now)) {
              if (inFlight.has(index)) continue
              if (drive.flow.document.steps[index]!.kind === "transform") {
                yield* transform(drive, index)
                again = true
              } else {
                const attempt = yield* prepare(drive, index)
                if (attempt === undefined) again = true
                else attempts.push(attempt)
              }
              if (drive.kept > keptMax) yield* flush(drive)
            }
          }
          if (attempts.length === 0 && again) continue
          if (attempts.length === 0 && inFlight.size === 0) return
          yield* flush(drive)
          yield* drive.reserved
          if (attempts.length === 1 && inFlight.size === 0) {
            yield* record(drive, attempts[0]!, yield* calls.send(attempts[0]!))
            continue
          }
          outcomes ??= yield* Queue.unbounded<readonly [Attempt, StepOutcome]>()
          const arrived = outcomes
          for (const attempt of attempts) {
            inFlight.add(attempt.index)
            yield* Effect.forkChild(Effect.flatMap(calls.send(attempt), (outcome) => Queue.offer(arrived, [attempt, outcome] as const)))
          }
          const [attempt, outcome] = yield* Queue.take(arrived)
          inFlight.delete(attempt.index)
          yield* record(drive, attempt, outcome)
        }
      })

      const conclude = Effect.fnUntraced(function* (drive: Drive) {
        if (drive.state.status === "running" || drive.state.status === "waiting") {
          const stands = standing(drive.flow.graph, drive.state)
          if (stands._tag === "Done") yield* decide(drive, { _tag: "FinishRun" })
          if (stands._tag === "Failed") {
            const step = drive.flow.document.steps[stands.index]!.id as StepId
            yield* decide(drive, {
              _tag: "FailRun",
              step,
              error: { kind: "permanent", code: "step-failed", message: `Step ${step} failed; its error says why.` }
            })
          }
        }
        yield* flush(drive)
        if (drive.state.status === "parked") return yield* lookAgain(drive)
        if (drive.state.status === "succeeded") figures.succeeded++
        if (drive.state.status === "failed") figures.failed++
        resumedHere.delete(drive.runId)
        forget(drive.scope, `run-${drive.runId}`)
        return false
      })

      /**
       * The connection may have come between our look and our record: whoever releases waiting runs has not seen this one then. After
       * the record, one of us sees the other. True: it goes on.
       */
      const lookAgain = Effect.fnUntraced(function* (drive: Drive) {
        const index = drive.flow.document.steps.findIndex(({ id }) => id === drive.state.parked?.step)
        if (index === -1 || !(yield* calls.isConnected(drive, index))) {
          forget(drive.scope, `run-${drive.runId}`)
          return false
        }
        yield* decide(drive, { _tag: "ReleaseRun" })
        return true
      })

      /** Whoever lost the run, or finds it cancelled, stops without a word: the record is right as it is. */
      const overtaken = (drive: Drive) => (rejection: RunRejection | TransactError) =>
        rejection._tag === "StepNotYours" || rejection._tag === "RunNotInState"
          ? Effect.sync(() => {
              drive.onRecord?.()
              resumedHere.delete(drive.runId)
              forget(drive.scope, `run-${drive.runId}`)
            })
          : Effect.fail(rejection)

      const carryOut = (drive: Drive) =>
        Effect.catch(
          Effect.gen(function* () {
            do yield* advance(drive)
            while (yield* conclude(drive))
          }),
          overtaken(drive)
        )

      const begin = Effect.fnUntraced(function* (scope: TenantScope, start: RunStart) {
        const chain = yield* settings.chain(scope, { flowId: start.flow.flowId })
        const drive = newDrive(scope, actor, start, chain, run.initialState)
        drive.presumeAbsent = true
        drive.onRecord = () => {
          resumedHere.set(start.runId, true)
          start.onRecord()
        }
        drive.reserved = start.reserved
        figures.started++
        yield* decide(drive, {
          _tag: "StartRun",
          runId: start.runId,
          flowId: start.flow.flowId as FlowId,
          version: start.flow.version,
          purpose: start.purpose,
          deliveryId: start.deliveryId,
          trigger: start.content,
          steps: start.flow.stepList,
          ...(start.connectionId === undefined ? {} : { connectionId: start.connectionId }),
          ...(start.causedBy === undefined ? {} : { causedBy: start.causedBy })
        })
        yield* carryOut(drive)
      })

      /** Opens what the rest of the run reads: the trigger and the outputs of the steps that are done. */
      const reopen = Effect.fnUntraced(function* (scope: TenantScope, state: Run) {
        const { started } = state
        const done = Object.entries(state.steps).flatMap(([id, step]) => (step.output === null ? [] : [[id, step.output] as const]))
        const [first, ...rest] = yield* payloads.open(scope, [started!.trigger, ...done.map(([, ref]) => ref)])
        const trigger = triggerOf(first!)
        const outputs = rest.map(
          (bytes, index) => [done[index]![0], JSON.parse(Buffer.from(bytes).toString()) as { output: unknown }] as const
        )
        return { trigger, outputs }
      })

      /** A started call whose outcome nobody recorded: repeated where that is harmless, else put before a person (R13). */
      const settleUnknown = Effect.fnUntraced(function* (drive: Drive) {
        const now = yield* Clock.currentTimeMillis
        for (const [id, step] of Object.entries(drive.state.steps)) {
          if (step.status !== "started") continue
          const shared = { step: id as StepId, attempt: step.attempt }
          if (step.effect === "unsafe" || step.effect === "verifiable") yield* decide(drive, { _tag: "AskForDecision", ...shared })
          else
            yield* decide(drive, {
              _tag: "FailStep",
              ...shared,
              error: {
                kind: "unknown-outcome",
                code: "interrupted",
                message: "The process ended before the outcome was recorded; the call is repeated under the same key."
              },
              durationMillis: 0,
              retryAt: now,
              definitive: false,
              continued: false
            })
        }
      })

      const resume = Effect.fnUntraced(function* (scope: TenantScope, id: string, recovered: boolean) {
        const runId = id as RunId
        const { state } = yield* read(run, scope, runId)
        const goingOn = goOn(scope, runId, recovered)
        return yield* recovered && state.resumes > 0 ? suspects.alone(state.resumes, goingOn) : goingOn
      })

      const goOn = Effect.fnUntraced(function* (scope: TenantScope, runId: RunId, recovered: boolean) {
        const found = yield* read(run, scope, runId)
        const now = yield* Clock.currentTimeMillis
        const due = run.workDue!(found.state)
        if (found.state.started === null || due === null || due > now) {
          // Who looked too early must not remember it: another process may go on with it.
          if (!soleWriter) forget(scope, `run-${runId}`)
          return null
        }
        // A timer of ours may come upon a call that another process has announced since.
        const inOthersHands = recovered || Object.values(found.state.steps).some(({ status }) => status === "started")
        const until = inOthersHands && !soleWriter ? callsUntil(found.state) : 0
        if (until > now) {
          // Whoever has it may go on with it: it is looked at afresh.
          forget(scope, `run-${runId}`)
          return until
        }
        const { flowId, version, deliveryId, connectionId } = found.state.started
        const origin: Origin = { actor, correlationId: deliveryId }
        if (inOthersHands && found.state.status === "running" && resumedHere.get(runId) === undefined) {
          // At the very state that was looked at: another process may have announced a call since (R4).
          const claim = { origin, ifRevision: found.revision }
          const resumed = yield* transact(run, scope, runId, { _tag: "ResumeRun" }, claim).pipe(
            Effect.catchTag("RevisionMismatch", () => Effect.succeed(null))
          )
          if (resumed === null) {
            forget(scope, `run-${runId}`)
            return null
          }
          resumedHere.set(runId, true)
          if (resumed.state.status === "quarantined") {
            figures.quarantined++
            return null
          }
        }
        if (found.state.status === "parked") yield* transact(run, scope, runId, { _tag: "ReleaseRun" }, { origin })
        const readied = yield* Effect.result(Effect.all([flows.published(scope, flowId, version), reopen(scope, found.state)]))
        if (Result.isFailure(readied)) {
          const failure = readied.failure
          if (failure._tag !== "FlowNotPublished" && failure._tag !== "ContentGone") return yield* Effect.fail(failure)
          const error: StepError = { kind: "permanent", code: "unreadable", message: failure.message }
          yield* transact(run, scope, runId, { _tag: "FailRun", error }, { origin })
          return null
        }
        const [flow, { trigger, outputs }] = readied.success
        const chain = yield* settings.chain(scope, { flowId })
        const state = (yield* read(run, scope, runId)).state
        const bindings = (yield* enablements.enabled(scope)).flows[flowId]?.bindings ?? {}
        const drive = newDrive(scope, actor, { runId, flow, deliveryId, trigger, bindings, connectionId }, chain, state)
        for (const [step, content] of outputs) drive.data.steps[step] = { output: content.output }
        yield* Effect.catch(settleUnknown(drive), overtaken(drive))
        yield* carryOut(drive)
        return null
      })

      const quarantine = Effect.fnUntraced(function* (scope: TenantScope, runId: string, cause: Cause.Cause<unknown>) {
        figures.quarantined++
        const reason = `A defect repeated itself: ${Cause.pretty(cause).split("\n")[0] ?? "unknown"}`.slice(0, 300)
        yield* transact(run, scope, runId, { _tag: "QuarantineRun", reason }, { origin: { actor } })
      })

      return Runner.of({ begin, resume, quarantine, figures: () => figures })
    })
  )
}
