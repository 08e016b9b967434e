/** One call of an action step: getting it ready from the run's data, sending it, and reading what its answer means. */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import type { ContentRef } from "#domain/content.ts"
import type { Bindings } from "#domain/enablement.ts"
import type { ActionStep } from "#domain/flow-document.ts"
import type { ConnectionId, ConnectorId, RunId, StepId } from "#domain/ids.ts"
import type { EffectClass } from "#domain/manifest.ts"
import { type Run, type StepError, sendWithinMillis, stepOf } from "#domain/run.ts"
import type { TenantScope } from "#domain/scope.ts"
import { resolve, type SettingsChain } from "#domain/settings.ts"
import { buildRequest, type CompiledActions } from "./actions.ts"
import { classify } from "./answers.ts"
import type { ConnectionChoice } from "./connection-choice.ts"
import { Connections, type ResolvedConnection } from "./connections.ts"
import { Connectors } from "./connectors.ts"
import type { CompiledFlow } from "./flows.ts"
import { idempotencyKeyOf } from "./identities.ts"
import { Outbound, type OutboundRequest } from "./ports/outbound.ts"
import type { TransactError } from "./transact.ts"

/** What a call is made from: the run and everything that its expressions may read. */
export interface CallContext {
  readonly scope: TenantScope
  readonly runId: RunId
  readonly flow: CompiledFlow
  readonly settings: SettingsChain
  readonly bindings: Bindings
  /** The connection of the event that set the run off, where its endpoint is bound to one. */
  readonly triggering: ConnectionId | undefined
  readonly data: Readonly<Record<string, unknown>>
  readonly state: Run
}

export interface Attempt {
  readonly step: StepId
  readonly index: number
  readonly attempt: number
  readonly generation: number
  readonly effect: EffectClass
  /** May be sent again when nobody knows whether it had its effect. */
  readonly repeatable: boolean
  readonly connector: CompiledActions
  /** The action's name. */
  readonly action: string
  readonly connection: ResolvedConnection
  readonly request: OutboundRequest
  readonly sendByEpochMillis: number
  readonly attemptsMax: number
  readonly backoff: { readonly backoffMillis: number; readonly backoffMaxMillis: number }
  /** Where its input is kept, for the event that records the outcome. */
  readonly input?: ContentRef | undefined
}

export type Prepared =
  | {
      readonly _tag: "Ready"
      readonly attempt: Attempt
      /** What people see of it: the input and the request without credentials. */
      readonly content: object
    }
  /** No connection yet: the run waits for the tenant. */
  | { readonly _tag: "Parks"; readonly step: StepId; readonly connectorId: ConnectorId; readonly until: number }
  | { readonly _tag: "Fails"; readonly step: StepId; readonly error: Omit<StepError, "detail">; readonly detail: unknown }

export type StepOutcome =
  | {
      readonly _tag: "Succeeded"
      readonly output: unknown
      readonly response: { readonly status: number }
      readonly durationMillis: number
    }
  | {
      readonly _tag: "Failed"
      readonly error: Omit<StepError, "detail">
      readonly detail: unknown
      readonly durationMillis: number
      readonly definitive: boolean
      readonly outcomeUnknown: boolean
      readonly retryAfterMillis: number | undefined
    }

/** A parked run looks for its connection again this often, besides being released when the tenant connects. */
const parkedCheckMillis = 3_600_000
const dayMillis = 86_400_000

export class StepCalls extends Context.Service<
  StepCalls,
  {
    readonly prepare: (context: CallContext, index: number) => Effect.Effect<Prepared, TransactError>
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

      const fails = (step: StepId, code: string, message: string, detail?: unknown): Prepared => ({
        _tag: "Fails",
        step,
        error: { kind: "permanent", code, message },
        detail
      })

      const parkedUntil = (settings: SettingsChain, since: number, now: number): number | null => {
        const end = since + resolve("runs.connectionWaitDays", settings) * dayMillis
        return now >= end ? null : Math.min(end, now + parkedCheckMillis)
      }

      const choiceFor = (context: CallContext, definition: ActionStep): ConnectionChoice => {
        const name = definition.connection ?? definition.connector
        const binding = Object.hasOwn(context.bindings, name) ? context.bindings[name] : undefined
        const triggering = context.flow.document.trigger.connector === definition.connector ? context.triggering : undefined
        return { ...(binding === undefined ? {} : { binding }), ...(triggering === undefined ? {} : { triggering }) }
      }
      const isConnected = (context: CallContext, index: number) => {
        const definition = context.flow.document.steps[index] as ActionStep
        return connections.outlook(context.scope, definition.connector, choiceFor(context, definition)).pipe(
          Effect.as(true),
          Effect.catchTag(["ConnectionRequired", "ConnectionAmbiguous"], () => Effect.succeed(false))
        )
      }

      const prepare = Effect.fnUntraced(function* (context: CallContext, index: number) {
        const definition = context.flow.document.steps[index] as ActionStep
        const step = definition.id
        const now = yield* Clock.currentTimeMillis
        const connected = yield* Effect.result(connections.resolve(context.scope, definition.connector, choiceFor(context, definition)))
        if (Result.isFailure(connected)) {
          const problem = connected.failure
          if (problem._tag === "ConnectionRequired") {
            const until = parkedUntil(context.settings, context.state.parkedSince ?? now, now)
            if (until !== null) return { _tag: "Parks", step, connectorId: definition.connector, until } as Prepared
            return fails(step, "connection-required", `No ${definition.connector} connection came within the time to wait for it.`)
          }
          if (problem._tag === "ConnectionAmbiguous") return fails(step, "connection-ambiguous", problem.message)
          if (problem._tag === "SecretGone") return fails(step, "secret-gone", problem.message)
          return yield* Effect.fail(problem as TransactError)
        }
        const connection = connected.success
        const connector = yield* Effect.result(connectors.compiled(context.scope, definition.connector))
        if (Result.isFailure(connector)) {
          if (connector.failure._tag !== "ConnectorNotFound") return yield* Effect.fail(connector.failure as TransactError)
          return fails(step, "connector-gone", connector.failure.message)
        }
        const input = yield* Effect.result(context.flow.steps[index]!.evaluate(context.data))
        if (Result.isFailure(input)) return fails(step, "expression", "The input's expression failed.", input.failure.message)
        const { actions } = connector.success
        const action = actions.actions.get(definition.action)
        const state = stepOf(context.state, step)
        const effect: EffectClass = action?.effect ?? "unsafe"
        const key = idempotencyKeyOf(context.runId, step, state.generation)
        const built = buildRequest(actions, definition.action, input.success, connection.credentials, key)
        if (Result.isFailure(built))
          return fails(step, "request-refused", "The request could not be built from the input.", built.failure.message)
        const timeoutMs =
          definition.timeoutMillis ?? action?.definition.timeoutMillis ?? resolve("runs.stepTimeoutMillis", context.settings)
        const attempt: Attempt = {
          step,
          index,
          attempt: state.attempt + 1,
          generation: state.generation,
          effect,
          repeatable: effect === "safe" || effect === "idempotent",
          connector: actions,
          action: definition.action,
          connection,
          request: { ...built.success, timeoutMs, sendBy: outbound.now() + sendWithinMillis },
          sendByEpochMillis: now + sendWithinMillis,
          attemptsMax: definition.retry?.attemptsMax ?? resolve("runs.attemptsMax", context.settings),
          backoff: {
            backoffMillis: definition.retry?.backoffMillis ?? resolve("runs.backoffMillis", context.settings),
            backoffMaxMillis: definition.retry?.backoffMaxMillis ?? resolve("runs.backoffMaxMillis", context.settings)
          }
        }
        return { _tag: "Ready", attempt, content: { input: input.success, request: shown(attempt, built.success) } } as Prepared
      })

      /** The request as people may see it: credentials are neither in the headers nor in the URL. */
      const shown = (attempt: Attempt, request: OutboundRequest): object => {
        const placed = attempt.connector.placed(attempt.connection.credentials)
        const mask = Result.isSuccess(placed) ? placed.success.mask : () => "***"
        const secretHeaders = Result.isSuccess(placed) ? placed.success.headers : request.headers
        const headers: Record<string, string> = {}
        for (const name in request.headers) headers[name] = Object.hasOwn(secretHeaders, name) ? "***" : request.headers[name]!
        return { method: request.method, url: mask(request.url), headers }
      }

      const send = Effect.fnUntraced(function* (attempt: Attempt) {
        const before = outbound.now()
        const called = yield* Effect.result(outbound.call(attempt.request))
        const durationMillis = Math.round((outbound.now() - before) * 1000) / 1000
        const answer = classify(
          attempt.connector,
          attempt.action,
          Result.isSuccess(called) ? called.success : called.failure,
          attempt.connection.credentials,
          yield* Clock.currentTimeMillis
        )
        if (answer.kind === "succeeded")
          return { _tag: "Succeeded", output: answer.output, response: { status: answer.status }, durationMillis } as StepOutcome
        return {
          _tag: "Failed",
          error: {
            kind: answer.kind,
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
        isConnected,
        send,
        parkedUntil,
        refused: (scope, attempt, reason) => Effect.ignore(connections.refused(scope, attempt.connection, reason))
      })
    })
  )
}
