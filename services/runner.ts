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
import type { ConnectionId, DeliveryId, FlowId, RunId, StepId } from "#domain/ids.ts"
import { type Origin, systemActor } from "#domain/recorded.ts"
import { type Run, type RunRejection, run, type StepError } from "#domain/run.ts"
import { readySteps, standing } from "#domain/run-plan.ts"
import type { TenantScope } from "#domain/scope.ts"
import { BoundedCache } from "./bounded-cache.ts"
import { type TriggerData, triggerOf } from "./delivery-content.ts"
import { Enablements } from "./enablements.ts"
import { type CompiledFlow, Flows } from "./flows.ts"
import { Entropy } from "./ports/entropy.ts"
import { Journal } from "./ports/journal.ts"
import { Outbound } from "./ports/outbound.ts"
import { Payloads } from "./ports/payloads.ts"
import { type Drive, decide, flushWith, type Joining, keptMax, newDrive } from "./run-drive.ts"
import { runSteps } from "./run-steps.ts"
import { Settings } from "./settings.ts"
import type { Attempt, StepOutcome } from "./step-attempt.ts"
import { StepCalls } from "./step-calls.ts"
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
  /** Left out: the run is recorded on its own. */
  readonly joining?: Joining
  /** Called once the run is on record, by us or by somebody else before. */
  readonly onRecord: () => void
}

const actor = systemActor("runner")
/** Recovered runs in hand. */
const resumedMax = 65_536

/** The calls that a run has announced and not settled. */
interface OpenCalls {
  /** Steps and attempts: another call is another name. */
  readonly name: string
  /** Milliseconds from their announcement until none is sent or answered any more. */
  readonly openFor: number
}
const openCallsOf = ({ steps }: Run): OpenCalls | undefined => {
  const open = Object.entries(steps).filter(([, { status }]) => status === "started")
  if (open.length === 0) return undefined
  return {
    name: open.map(([step, { attempt }]) => `${step}@${attempt}`).join(" "),
    openFor: Math.max(...open.map(([, { openFor }]) => openFor ?? 0))
  }
}

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
      /** Calls of others, and since when we know of them: monotonic milliseconds, as two processes' wall clocks may be hours apart (R30). */
      const seen = new BoundedCache<string, { readonly name: string; readonly since: number }>(resumedMax)
      const figures = { started: 0, succeeded: 0, failed: 0, parked: 0, retried: 0, quarantined: 0 }

      const { prepare, record, settleUnknown, transform } = runSteps(calls, outbound, entropy, figures)

      /** Writes what was decided, in one append. */
      const flush = flushWith(transact)

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
              if (drive.kept > keptMax || (drive.joining !== undefined && outbound.now() > drive.joining.by)) yield* flush(drive)
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
        seen.delete(drive.runId)
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

      /** Not a generator of each run's own: V8 would keep what it closes over until the next full collection (bench/README.md). */
      const toTheEnd = Effect.fnUntraced(function* (drive: Drive) {
        do yield* advance(drive)
        while (yield* conclude(drive))
      })

      const carryOut = (drive: Drive) => Effect.catch(toTheEnd(drive), overtaken(drive))

      const begin = Effect.fnUntraced(function* (scope: TenantScope, start: RunStart) {
        const chain = yield* settings.chain(scope, { flowId: start.flow.flowId })
        const { joining, reserved, runId } = start
        const onRecord = () => {
          figures.started++
          resumedHere.set(runId, true)
          start.onRecord()
        }
        const drive = newDrive(scope, actor, start, chain, run.initialState, { joining, reserved, onRecord })
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

      const resume = Effect.fnUntraced(function* (scope: TenantScope, id: string, recovered: boolean) {
        const runId = id as RunId
        const { state } = yield* read(run, scope, runId)
        const goingOn = goOn(scope, runId, recovered)
        return yield* recovered && state.resumes > 0 ? suspects.alone(state.resumes, goingOn) : goingOn
      })

      /** Milliseconds for which calls of another process may still be under way: counted from when we came to know of them (R11). */
      const waitFor = (runId: RunId, { name, openFor }: OpenCalls): number => {
        const known = seen.get(runId)
        const since = known?.name === name ? known.since : outbound.now()
        if (known?.name !== name) seen.set(runId, { name, since })
        return Math.ceil(since + openFor - outbound.now())
      }

      const goOn = Effect.fnUntraced(function* (scope: TenantScope, runId: RunId, recovered: boolean) {
        const found = yield* read(run, scope, runId)
        const now = yield* Clock.currentTimeMillis
        const due = run.workDue!(found.state)
        if (found.state.started === null || due === null || due > now) {
          // Who looked too early must not remember it: another process may go on with it.
          if (!soleWriter) forget(scope, `run-${runId}`)
          return null
        }
        const open = openCallsOf(found.state)
        const left = soleWriter || open === undefined ? 0 : waitFor(runId, open)
        if (left > 0) {
          // Whoever has it may go on with it: it is looked at afresh.
          forget(scope, `run-${runId}`)
          return now + left
        }
        // A timer of ours may come upon a call that another process has announced since.
        const inOthersHands = recovered || open !== undefined
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
