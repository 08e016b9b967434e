/** One call of an action step: getting it ready from the run's data, sending it, and reading what its answer means. */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import type { EffectClass } from "#domain/action-manifest.ts"
import type { ActionStep } from "#domain/flow-document.ts"
import type { StepId } from "#domain/ids.ts"
import { type CallInDoubt, type StepState, sendWithinMillis, stepOf } from "#domain/run.ts"
import type { TenantScope } from "#domain/scope.ts"
import { resolve, type SettingsChain } from "#domain/settings.ts"
import { buildProbe, buildRequest, type CompiledAction, type CompiledActions } from "./actions.ts"
import { classify, classifyProbe } from "./answers.ts"
import type { ConnectionChoice } from "./connection-choice.ts"
import { Connections, type ResolvedConnection } from "./connections.ts"
import { Connectors } from "./connectors.ts"
import { idempotencyKeyOf } from "./identities.ts"
import { Outbound, type OutboundRequest } from "./ports/outbound.ts"
import { Payloads } from "./ports/payloads.ts"
import type { Attempt, CallContext, Prepared, StepOutcome } from "./step-attempt.ts"
import type { TransactError } from "./transact.ts"

/** A parked run looks for its connection again this often, besides being released when the tenant connects. */
const parkedCheckMillis = 3_600_000
const dayMillis = 86_400_000

/** A request and what people see of it, or why there is none. */
type Made =
  | { readonly request: OutboundRequest; readonly content: object }
  | { readonly code: string; readonly message: string; readonly detail?: unknown }

/** The call of which it has to be found out first whether it was carried out; null: one may be made. */
const askedAbout = ({ absent, state }: CallContext, step: StepId, isVerifiable = false): CallInDoubt | null => {
  const { effect, inDoubt } = stepOf(state, step)
  return absent.has(step) || !(isVerifiable || effect === "verifiable") ? null : inDoubt
}

const whenUnknown = (action: CompiledAction | undefined): Attempt["whenUnknown"] => {
  if (action?.effect === "safe" || action?.effect === "idempotent") return "repeat"
  return action?.probe === undefined ? "ask" : "probe"
}

/** The request as people may see it: credentials are neither in the headers nor in the URL. */
const shown = (connector: CompiledActions, { credentials }: ResolvedConnection, request: OutboundRequest): object => {
  const placed = connector.placed(credentials)
  const mask = Result.isSuccess(placed) ? placed.success.mask : () => "***"
  const secretHeaders = Result.isSuccess(placed) ? placed.success.headers : request.headers
  const headers: Record<string, string> = {}
  for (const name in request.headers) headers[name] = Object.hasOwn(secretHeaders, name) ? "***" : request.headers[name]!
  return { method: request.method, url: mask(request.url), headers }
}

export class StepCalls extends Context.Service<
  StepCalls,
  {
    readonly prepare: (context: CallContext, index: number) => Effect.Effect<Prepared, TransactError>
    /** Whether the app can be asked what became of a call of the step. */
    readonly isProbed: (context: CallContext, index: number) => Effect.Effect<boolean, TransactError>
    /** Whether the step's connection can be used now. */
    readonly isConnected: (context: CallContext, index: number) => Effect.Effect<boolean, TransactError>
    /** Never fails: whatever happens is an outcome. */
    readonly send: (attempt: Attempt) => Effect.Effect<StepOutcome>
    /** Until when a run waits that was parked at `since` (epoch milliseconds); null: it has waited long enough. */
    readonly parkedUntil: (settings: SettingsChain, since: number, now: number) => number | null
    /** Tells the connection that its credentials were refused; declared once per generation of secrets. */
    readonly refused: (scope: TenantScope, attempt: Attempt, reason: string) => Effect.Effect<void>
  }
>()("tributary/services/StepCalls") {
  static readonly layer = Layer.effect(
    StepCalls,
    Effect.gen(function* () {
      const outbound = yield* Outbound
      const connections = yield* Connections
      const connectors = yield* Connectors
      const payloads = yield* Payloads

      const unsent = (step: StepId, inDoubt: CallInDoubt | null, code: string, message: string, detail?: unknown): Prepared =>
        inDoubt === null
          ? { _tag: "Fails", step, error: { kind: "permanent", code, message }, detail }
          : { _tag: "Asks", step, error: { kind: "unknown-outcome", code, message }, detail }

      const parkedUntil = (settings: SettingsChain, since: number, now: number): number | null => {
        const end = since + resolve("runs.connectionWaitDays", settings) * dayMillis
        return now >= end ? null : Math.min(end, now + parkedCheckMillis)
      }

      const choiceFor = (context: CallContext, definition: ActionStep): ConnectionChoice => {
        const name = definition.connection ?? definition.connector
        const binding = Object.hasOwn(context.bindings, name) ? context.bindings[name] : undefined
        const triggering = context.flow.document.trigger.connector === definition.connector ? context.triggering : undefined
        // Another account would know nothing of the call.
        const explicit = askedAbout(context, definition.id)?.connectionId
        return {
          ...(explicit === undefined || explicit === null ? {} : { explicit }),
          ...(binding === undefined ? {} : { binding }),
          ...(triggering === undefined ? {} : { triggering })
        }
      }
      const isConnected = (context: CallContext, index: number) => {
        const definition = context.flow.document.steps[index] as ActionStep
        return connections.outlook(context.scope, definition.connector, choiceFor(context, definition)).pipe(
          Effect.as(true),
          Effect.catchTag(["ConnectionRequired", "ConnectionAmbiguous"], () => Effect.succeed(false))
        )
      }

      const compiled = (context: CallContext, { connector }: ActionStep) =>
        Effect.map(connectors.compiled(context.scope, connector), ({ actions }) => actions)
      const isProbed = Effect.fnUntraced(function* (context: CallContext, index: number) {
        const definition = context.flow.document.steps[index] as ActionStep
        const connector = yield* Effect.catchTag(compiled(context, definition), "ConnectorNotFound", () => Effect.undefined)
        return connector?.actions.get(definition.action)?.probe !== undefined
      })

      /** A new call, from the run's data as they are now. */
      const makeCall = Effect.fnUntraced(function* (
        context: CallContext,
        index: number,
        connector: CompiledActions,
        connection: ResolvedConnection
      ) {
        const definition = context.flow.document.steps[index] as ActionStep
        const input = yield* Effect.result(context.flow.steps[index]!.evaluate(context.data))
        if (Result.isFailure(input))
          return { code: "expression", message: "The input's expression failed.", detail: input.failure.message } as Made
        const key = idempotencyKeyOf(context.runId, definition.id, stepOf(context.state, definition.id).generation)
        const built = buildRequest(connector, definition.action, input.success, connection.credentials, key)
        return (
          Result.isFailure(built)
            ? { code: "request-refused", message: "The request could not be built from the input.", detail: built.failure.message }
            : { request: built.success, content: { input: input.success, request: shown(connector, connection, built.success) } }
        ) as Made
      })

      /** The question what became of a call, from the input that the call was made from: evaluated anew, it could be another. */
      const makeProbe = Effect.fnUntraced(function* (
        { scope }: CallContext,
        action: CompiledAction | undefined,
        inDoubt: CallInDoubt,
        connector: CompiledActions,
        connection: ResolvedConnection
      ) {
        if (action?.probe === undefined)
          return { code: "probe-gone", message: "The action has no probe any more, so the app cannot be asked about the call." } as Made
        const kept = yield* inDoubt.input === null
          ? Effect.undefined
          : Effect.catchTag(payloads.open(scope, [inDoubt.input]), "ContentGone", () => Effect.undefined)
        if (kept === undefined)
          return { code: "input-gone", message: "The call's input is not kept any more, so the app cannot be asked about it." } as Made
        const { input } = JSON.parse(Buffer.from(kept[0]!).toString()) as { readonly input: unknown }
        const built = buildProbe(connector, action.name, action.probe, input, connection.credentials)
        return (
          Result.isFailure(built)
            ? { code: "probe-refused", message: "The probe could not be built from the call's input.", detail: built.failure.message }
            : { request: built.success, content: { request: shown(connector, connection, built.success) } }
        ) as Made
      })

      const connect = Effect.fnUntraced(function* (context: CallContext, definition: ActionStep, now: number) {
        const connected = yield* Effect.result(connections.resolve(context.scope, definition.connector, choiceFor(context, definition)))
        if (Result.isSuccess(connected)) return connected.success
        const problem = connected.failure
        const step = definition.id
        const inDoubt = askedAbout(context, step)
        if (problem._tag === "ConnectionRequired") {
          // A revoked one does not come back, and no other was called.
          const isLost = inDoubt !== null && problem.why === "revoked"
          const until = isLost ? null : parkedUntil(context.settings, context.state.parkedSince ?? now, now)
          if (until !== null) return { _tag: "Parks", step, connectorId: definition.connector, until } as Prepared
          const message = isLost
            ? `The ${definition.connector} connection of the call was revoked, so the app cannot be asked about it.`
            : `No ${definition.connector} connection came within the time to wait for it.`
          return unsent(step, inDoubt, "connection-required", message)
        }
        if (problem._tag === "ConnectionAmbiguous") return unsent(step, inDoubt, "connection-ambiguous", problem.message)
        if (problem._tag === "SecretGone") return unsent(step, inDoubt, "secret-gone", problem.message)
        return yield* Effect.fail(problem as TransactError)
      })

      const prepare = Effect.fnUntraced(function* (context: CallContext, index: number) {
        const definition = context.flow.document.steps[index] as ActionStep
        const step = definition.id
        const now = yield* Clock.currentTimeMillis
        const connection = yield* connect(context, definition, now)
        if ("_tag" in connection) return connection
        const found = yield* Effect.result(compiled(context, definition))
        if (Result.isFailure(found)) {
          if (found.failure._tag !== "ConnectorNotFound") return yield* Effect.fail(found.failure as TransactError)
          return unsent(step, askedAbout(context, step), "connector-gone", found.failure.message)
        }
        const connector = found.success
        const action = connector.actions.get(definition.action)
        const inDoubt = askedAbout(context, step, action?.effect === "verifiable")
        const made = yield* inDoubt === null
          ? makeCall(context, index, connector, connection)
          : makeProbe(context, action, inDoubt, connector, connection)
        if ("code" in made) return unsent(step, inDoubt, made.code, made.message, made.detail)
        const state: StepState = stepOf(context.state, step)
        const effect: EffectClass = inDoubt === null ? (action?.effect ?? "unsafe") : "safe"
        const timeoutMs =
          definition.timeoutMillis ?? action?.definition.timeoutMillis ?? resolve("runs.stepTimeoutMillis", context.settings)
        const attempt: Attempt = {
          step,
          index,
          attempt: state.attempt + 1,
          generation: state.generation,
          effect,
          whenUnknown: inDoubt === null ? whenUnknown(action) : "repeat",
          probe: inDoubt === null ? undefined : action?.probe,
          connector,
          action: definition.action,
          connection,
          request: { ...made.request, timeoutMs, sendBy: outbound.now() + sendWithinMillis },
          sendByEpochMillis: now + sendWithinMillis,
          attemptsMax: definition.retry?.attemptsMax ?? resolve("runs.attemptsMax", context.settings),
          backoff: {
            backoffMillis: definition.retry?.backoffMillis ?? resolve("runs.backoffMillis", context.settings),
            backoffMaxMillis: definition.retry?.backoffMaxMillis ?? resolve("runs.backoffMaxMillis", context.settings)
          },
          content: made.content
        }
        return { _tag: "Ready", attempt } as Prepared
      })

      const send = Effect.fnUntraced(function* (attempt: Attempt) {
        const before = outbound.now()
        const called = yield* Effect.result(outbound.call(attempt.request))
        const durationMillis = Math.round((outbound.now() - before) * 1000) / 1000
        const { action, connection, connector, probe } = attempt
        const heard = Result.isSuccess(called) ? called.success : called.failure
        const now = yield* Clock.currentTimeMillis
        const answer =
          probe === undefined
            ? classify(connector, action, heard, connection.credentials, now)
            : classifyProbe(connector, action, probe, heard, connection.credentials, now)
        if (answer.kind === "absent") return { _tag: "Absent", durationMillis } as StepOutcome
        if (answer.kind === "succeeded") {
          const response = { status: answer.status, ...(probe === undefined ? {} : { probe: true }) }
          return { _tag: "Succeeded", output: answer.output, response, durationMillis } as StepOutcome
        }
        return {
          _tag: "Failed",
          error: {
            kind: probe === undefined || answer.kind === "credentials" ? answer.kind : "unknown-outcome",
            code: answer.code,
            message: answer.message,
            ...(answer.status === undefined ? {} : { status: answer.status })
          },
          detail: answer.detail,
          durationMillis,
          definitive: !answer.outcomeUnknown,
          outcomeUnknown: answer.outcomeUnknown,
          retryAfterMillis: answer.retryAfterMillis
        } as StepOutcome
      })

      return StepCalls.of({
        prepare,
        isProbed,
        isConnected,
        send,
        parkedUntil,
        refused: (scope, attempt, reason) => Effect.ignore(connections.refused(scope, attempt.connection, reason))
      })
    })
  )
}
