/** One attempt of an action step: what it is made from, what was made ready, and what came of it. */
import type { EffectClass } from "#domain/action-manifest.ts"
import type { ContentRef } from "#domain/content.ts"
import type { Bindings } from "#domain/enablement.ts"
import type { ConnectionId, ConnectorId, RunId, StepId } from "#domain/ids.ts"
import type { Run, StepError } from "#domain/run.ts"
import type { TenantScope } from "#domain/scope.ts"
import type { SettingsChain } from "#domain/settings.ts"
import type { CompiledActions, CompiledProbe } from "./actions.ts"
import type { ResolvedConnection } from "./connections.ts"
import type { CompiledFlow } from "./flows.ts"
import type { OutboundRequest } from "./ports/outbound.ts"

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
  /** Steps of whose last call a probe has just told that it was not carried out. */
  readonly absent: ReadonlySet<string>
}

export interface Attempt {
  readonly step: StepId
  readonly index: number
  readonly attempt: number
  readonly generation: number
  readonly effect: EffectClass
  /** What happens when nobody knows whether it had its effect (R13). */
  readonly whenUnknown: "repeat" | "probe" | "ask"
  /** It asks what became of the call in doubt, and makes none. */
  readonly probe: CompiledProbe | undefined
  readonly connector: CompiledActions
  /** The action's name. */
  readonly action: string
  readonly connection: ResolvedConnection
  readonly request: OutboundRequest
  readonly sendByEpochMillis: number
  readonly attemptsMax: number
  readonly backoff: { readonly backoffMillis: number; readonly backoffMaxMillis: number }
  /** What people see of it: the input of a call, and the request without credentials. */
  readonly content: object
  /** Where its input is kept, for the event that records the outcome. */
  readonly input?: ContentRef | undefined
}

/** Why nothing could be sent. */
interface Unsent {
  readonly step: StepId
  readonly error: Omit<StepError, "detail">
  readonly detail: unknown
}
export type Prepared =
  | { readonly _tag: "Ready"; readonly attempt: Attempt }
  /** No connection yet: the run waits for the tenant. */
  | { readonly _tag: "Parks"; readonly step: StepId; readonly connectorId: ConnectorId; readonly until: number }
  | ({ readonly _tag: "Fails" } & Unsent)
  /** Nobody can be asked any more what became of the call in doubt: a person decides. */
  | ({ readonly _tag: "Asks" } & Unsent)

export type StepOutcome =
  | {
      readonly _tag: "Succeeded"
      readonly output: unknown
      readonly response: { readonly status: number; readonly probe?: true }
      readonly durationMillis: number
    }
  /** Of a probe: the call in doubt was not carried out. */
  | { readonly _tag: "Absent"; readonly durationMillis: number }
  | {
      readonly _tag: "Failed"
      readonly error: Omit<StepError, "detail">
      readonly detail: unknown
      readonly durationMillis: number
      readonly definitive: boolean
      readonly outcomeUnknown: boolean
      readonly retryAfterMillis: number | undefined
    }
