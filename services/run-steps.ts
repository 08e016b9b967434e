/** One step of a run: a mapping evaluated, a call made ready, its outcome recorded. What was decided is written with the run's next append. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { ConnectorId, StepId } from "#domain/ids.ts"
import { type RunCommand, stepOf } from "#domain/run.ts"
import { backoffMillis } from "#domain/run-plan.ts"
import type { Entropy } from "./ports/entropy.ts"
import type { Outbound } from "./ports/outbound.ts"
import { type Drive, decide, errorOf, keep } from "./run-drive.ts"
import type { Attempt, StepCalls, StepOutcome } from "./step-calls.ts"

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

  return { transform, prepare, record, settleUnknown }
}
