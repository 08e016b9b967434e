/** One step of a run: a mapping evaluated, a call made ready, its outcome recorded. What was decided is written with the run's next append. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { ConnectorId, StepId } from "#domain/ids.ts"
import { interrupted, type RunCommand, stepOf } from "#domain/run.ts"
import { backoffMillis } from "#domain/run-plan.ts"
import type { Entropy } from "./ports/entropy.ts"
import type { Outbound } from "./ports/outbound.ts"
import { type Drive, decide, errorOf, keep } from "./run-drive.ts"
import type { Attempt, StepOutcome } from "./step-attempt.ts"
import type { StepCalls } from "./step-calls.ts"

/** How often runs were parked, and calls put off to be tried again. */
export interface StepFigures {
  parked: number
  retried: number
}

export const runSteps = (calls: StepCalls["Service"], outbound: Outbound["Service"], entropy: Entropy["Service"], figures: StepFigures) => {
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

  type Failure = Omit<typeof RunCommand.cases.FailStep.Type, "continued">

  /** Goes on to the next try at that time. */
  const putOff = (drive: Drive, failed: Failure, retryAt: number) => {
    figures.retried++
    return decide(drive, { ...failed, retryAt, continued: false })
  }
  const giveUp = (drive: Drive, index: number, failed: Failure) => {
    const continued = drive.flow.document.steps[index]!.onError === "continue"
    if (continued) drive.data.steps[failed.step] = { output: null }
    return decide(drive, { ...failed, continued })
  }
  /** Nobody else can tell what became of the call; why, is recorded as well. */
  const askPerson = Effect.fnUntraced(function* (drive: Drive, failed: Failure) {
    const { step, attempt } = failed
    yield* decide(drive, { ...failed, retryAt: yield* Clock.currentTimeMillis, continued: false })
    yield* decide(drive, { _tag: "AskForDecision", step, attempt })
  })

  /** The vendor refused the credentials: the connection is broken, and the run waits for it to be repaired (R15). */
  const parkForCredentials = Effect.fnUntraced(function* (drive: Drive, attempt: Attempt, failed: Failure, message: string) {
    const now = yield* Clock.currentTimeMillis
    const since = drive.state.parkedSince ?? now
    const until = calls.parkedUntil(drive.settings, since, now)
    yield* calls.refused(drive.scope, attempt, message)
    if (until === null)
      return yield* attempt.probe === undefined ? decide(drive, { ...failed, continued: false }) : askPerson(drive, failed)
    yield* decide(drive, { ...failed, retryAt: now, continued: false })
    yield* park(drive, attempt.step, attempt.connector.manifest.id, since, until)
  })

  /** When to try again, and no earlier than the vendor says. */
  const nextTry = Effect.fnUntraced(function* ({ backoff }: Attempt, tries: number, retryAfterMillis?: number) {
    return (yield* Clock.currentTimeMillis) + backoffMillis(backoff, tries, entropy.fraction(), retryAfterMillis)
  })

  /** Nobody knows whether the vendor acted, and it may be busy with it still: asked too early, it would know of nothing. */
  const putOffProbe = Effect.fnUntraced(function* (drive: Drive, attempt: Attempt, failed: Failure, tries: number, after?: number) {
    const { action, connector, request } = attempt
    const message = `${connector.manifest.id} may have carried out ${action}, or not. It is asked before the call is made again.`
    const error = { ...failed.error, kind: "unknown-outcome" as const, message }
    const callIsOver = (yield* Clock.currentTimeMillis) + request.timeoutMs
    yield* putOff(drive, { ...failed, error }, Math.max(callIsOver, yield* nextTry(attempt, tries, after)))
  })

  /** The call in doubt was not carried out: it is made again, unless that was its last attempt. */
  const recordAbsent = Effect.fnUntraced(function* (drive: Drive, attempt: Attempt, durationMillis: number) {
    const { action, connector, index, step } = attempt
    if (stepOf(drive.state, step).tries < attempt.attemptsMax) {
      drive.absent.add(step)
      return
    }
    const message = `${connector.manifest.id} did not carry out ${action}, and no attempt is left.`
    const input = keep(drive, step, attempt.attempt, "in", attempt.content)
    const error = { kind: "transient", code: "absent", message } as const
    yield* giveUp(drive, index, {
      _tag: "FailStep",
      step,
      attempt: attempt.attempt,
      input,
      error,
      durationMillis,
      definitive: true,
      probe: true
    })
  })

  /** Records what came of a call or a probe, with the next append. */
  const record = Effect.fnUntraced(function* (drive: Drive, attempt: Attempt, outcome: StepOutcome) {
    const { step, index, probe } = attempt
    if (outcome._tag === "Absent") return yield* recordAbsent(drive, attempt, outcome.durationMillis)
    const input = probe === undefined ? attempt.input : keep(drive, step, attempt.attempt, "in", attempt.content)
    const shared = {
      step,
      attempt: attempt.attempt,
      durationMillis: outcome.durationMillis,
      ...(input === undefined ? {} : { input }),
      ...(probe === undefined ? {} : { probe: true as const })
    }
    if (outcome._tag === "Succeeded") {
      drive.data.steps[step] = { output: outcome.output }
      const output = keep(drive, step, attempt.attempt, "out", { output: outcome.output, response: outcome.response })
      return yield* decide(drive, { _tag: "SucceedStep", ...shared, output, status: outcome.response.status })
    }
    const isUnknownCall = outcome.outcomeUnknown && probe === undefined
    if (isUnknownCall && attempt.whenUnknown === "ask")
      return yield* decide(drive, { _tag: "AskForDecision", step, attempt: attempt.attempt })
    const { tries } = stepOf(drive.state, step)
    const error = errorOf(drive, step, attempt.attempt, outcome.error, outcome.detail)
    const failed: Failure = { _tag: "FailStep", ...shared, error, definitive: outcome.definitive }
    if (isUnknownCall && attempt.whenUnknown === "probe") return yield* putOffProbe(drive, attempt, failed, tries, outcome.retryAfterMillis)
    if (error.kind === "credentials") return yield* parkForCredentials(drive, attempt, failed, outcome.error.message)
    const retries = error.kind === "transient" || error.kind === "unknown-outcome"
    if (retries && tries + 1 < attempt.attemptsMax)
      return yield* putOff(drive, failed, yield* nextTry(attempt, tries, outcome.retryAfterMillis))
    yield* probe === undefined ? giveUp(drive, index, failed) : askPerson(drive, failed)
  })

  /** Gets one call or probe ready. What cannot be sent is recorded as failed, parks the run, or is put before a person. */
  const prepare = Effect.fnUntraced(function* (drive: Drive, index: number) {
    const prepared = yield* calls.prepare(drive, index)
    const step = drive.flow.document.steps[index]!.id
    const isAbsent = drive.absent.delete(step)
    if (prepared._tag === "Ready") {
      const { attempt } = prepared
      // Where it tells that there was no call, nothing of it is recorded.
      if (attempt.probe !== undefined) return attempt
      const input = keep(drive, attempt.step, attempt.attempt, "in", attempt.content)
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
    const { attempt, inDoubt } = stepOf(drive.state, step)
    const error = errorOf(drive, step, attempt + 1, prepared.error, prepared.detail)
    const failed = { _tag: "FailStep", step, attempt: attempt + 1, error, durationMillis: 0 } as const
    if (prepared._tag === "Asks") yield* askPerson(drive, { ...failed, definitive: false, probe: true })
    else yield* giveUp(drive, index, { ...failed, definitive: isAbsent || inDoubt === null })
    return undefined
  })

  /** A started call whose outcome nobody recorded: repeated where that is harmless, asked about, or put before a person (R13). */
  const settleUnknown = Effect.fnUntraced(function* (drive: Drive) {
    const now = yield* Clock.currentTimeMillis
    for (const [id, { attempt, effect, openFor, status }] of Object.entries(drive.state.steps)) {
      if (status !== "started") continue
      const shared = { step: id as StepId, attempt }
      const index = drive.flow.document.steps.findIndex((step) => step.id === id)
      const isProbed = effect === "verifiable" && (yield* calls.isProbed(drive, index))
      if (effect === "unsafe" || (effect === "verifiable" && !isProbed)) yield* decide(drive, { _tag: "AskForDecision", ...shared })
      else
        yield* decide(drive, {
          _tag: "FailStep",
          ...shared,
          error: {
            kind: "unknown-outcome",
            code: interrupted,
            message: `The process ended before the outcome was recorded; ${isProbed ? "the app is asked whether it carried out the call" : "the call is repeated under the same key"}.`
          },
          durationMillis: 0,
          // Until then the vendor may be busy with it, and would know of nothing.
          retryAt: isProbed ? now + (openFor ?? 0) : now,
          definitive: false,
          continued: false
        })
    }
  })

  return { transform, prepare, record, settleUnknown }
}
