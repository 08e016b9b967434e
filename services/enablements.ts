/** Enablements: turning flows of the space on and off for a tenant, and telling what is still missing. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { type Bindings, type Enablement, enablement, enablementId, type TooManyFlowsEnabled } from "#domain/enablement.ts"
import { Finding, listed } from "#domain/finding.ts"
import type { FlowNotPublished } from "#domain/flow.ts"
import { type ConnectorId, FlowId, type Position } from "#domain/ids.ts"
import { connectorOf } from "#domain/integration.ts"
import type { Origin } from "#domain/recorded.ts"
import type { TenantScope } from "#domain/scope.ts"
import type { ConnectionAmbiguous, ConnectionRequired } from "./connection-choice.ts"
import { Connections } from "./connections.ts"
import { type CompiledFlow, Flows } from "./flows.ts"
import { Transact, type TransactError } from "./transact.ts"

/** The bindings do not fit the flow. */
export class BindingsInvalid extends Schema.TaggedError<BindingsInvalid>()("BindingsInvalid", {
  flowId: FlowId,
  findings: Schema.Array(Finding)
}) {
  override get message() {
    return `These bindings do not fit the flow "${this.flowId}". Nothing was changed. ${listed(this.findings)}`
  }
}

export interface EnableOptions {
  /** Null or left out: the newest published one, also later. */
  readonly version?: number | null | undefined
  /** Which connection serves which name of the flow; the name is the connector's id unless its steps say otherwise. */
  readonly bindings?: Bindings | undefined
}
/** A connection that the flow needs and cannot have yet: its runs wait for it. */
export interface MissingConnection {
  readonly connectorId: ConnectorId
  readonly binding: string
  readonly problem: ConnectionRequired | ConnectionAmbiguous
}
export interface EnabledResult {
  readonly flowId: FlowId
  /** The version that holds now. */
  readonly version: number
  readonly missing: ReadonlyArray<MissingConnection>
  readonly position: Position | null
}

interface Needed {
  readonly connectorId: ConnectorId
  readonly binding: string
}

/** The connections that a flow's steps use, each once. */
const neededBy = ({ document }: CompiledFlow): ReadonlyArray<Needed> => {
  const needed = new Map<string, Needed>()
  for (const step of document.steps) {
    if (step.kind !== "action") continue
    const binding = step.connection ?? step.connector
    needed.set(`${binding}/${step.connector}`, { connectorId: step.connector, binding })
  }
  return [...needed.values()]
}

const bindingFindings = (needed: ReadonlyArray<Needed>, bindings: Bindings): ReadonlyArray<Finding> =>
  Object.entries(bindings).flatMap(([name, connectionId]) => {
    const pointer = `/bindings/${name}`
    const wanting = needed.filter(({ binding }) => binding === name)
    if (wanting.length === 0) {
      const names = needed.map(({ binding }) => binding).join(", ") || "none"
      return [{ pointer, message: `The flow has no connection of this name. Its names: ${names}.` }]
    }
    return wanting.flatMap(({ connectorId }) =>
      connectorOf(connectionId) === connectorId
        ? []
        : [{ pointer, message: `The flow needs a connection of ${connectorId} here. Choose one.` }]
    )
  })

export class Enablements extends Context.Service<
  Enablements,
  {
    /** Turns a published flow on, or changes its version or bindings. Connections that are missing are reported, not refused. */
    readonly enable: (
      scope: TenantScope,
      flowId: FlowId,
      options: EnableOptions,
      origin: Origin
    ) => Effect.Effect<EnabledResult, FlowNotPublished | BindingsInvalid | TooManyFlowsEnabled | TransactError>
    /** Turns it off; one that is off stays off. */
    readonly disable: (
      scope: TenantScope,
      flowId: FlowId,
      origin: Origin
    ) => Effect.Effect<{ readonly position: Position | null }, TransactError>
    /** What the tenant has on: from memory, else one short stream. */
    readonly enabled: (scope: TenantScope) => Effect.Effect<Enablement, TransactError>
    /** What a flow would have to wait for with these bindings. */
    readonly missing: (
      scope: TenantScope,
      flow: CompiledFlow,
      bindings: Bindings
    ) => Effect.Effect<ReadonlyArray<MissingConnection>, TransactError>
  }
>()("tributary/services/Enablements") {
  static readonly layer = Layer.effect(
    Enablements,
    Effect.gen(function* () {
      const { peek, read, transact } = yield* Transact
      const connections = yield* Connections
      const flows = yield* Flows

      const missing = Effect.fnUntraced(function* (scope: TenantScope, flow: CompiledFlow, bindings: Bindings) {
        const found: Array<MissingConnection> = []
        for (const { connectorId, binding } of neededBy(flow)) {
          const bound = Object.hasOwn(bindings, binding) ? bindings[binding] : undefined
          const outlook = yield* Effect.result(connections.outlook(scope, connectorId, bound === undefined ? {} : { binding: bound }))
          if (Result.isSuccess(outlook)) continue
          const problem = outlook.failure
          if (problem._tag !== "ConnectionRequired" && problem._tag !== "ConnectionAmbiguous") return yield* Effect.fail(problem)
          found.push({ connectorId, binding, problem })
        }
        return found
      })

      const enable = Effect.fn("Enablements.enable")(function* (
        scope: TenantScope,
        flowId: FlowId,
        options: EnableOptions,
        origin: Origin
      ) {
        const { version = null, bindings = {} } = options
        const flow = yield* flows.live(scope, flowId, version)
        const findings = bindingFindings(neededBy(flow), bindings)
        if (findings.length > 0) return yield* new BindingsInvalid({ flowId, findings })
        const command = { _tag: "EnableFlow" as const, flowId, version, bindings }
        const { position } = yield* transact(enablement, scope, enablementId, command, { origin })
        return { flowId, version: flow.version, missing: yield* missing(scope, flow, bindings), position }
      })

      const disable = Effect.fn("Enablements.disable")(function* (scope: TenantScope, flowId: FlowId, origin: Origin) {
        const { position } = yield* transact(enablement, scope, enablementId, { _tag: "DisableFlow", flowId }, { origin }).pipe(
          // Only turning on rejects.
          Effect.catchTag("TooManyFlowsEnabled", Effect.die)
        )
        return { position }
      })

      const enabled = (scope: TenantScope): Effect.Effect<Enablement, TransactError> => {
        const known = peek(enablement, scope, enablementId)
        return known === undefined ? Effect.map(read(enablement, scope, enablementId), ({ state }) => state) : Effect.succeed(known)
      }

      return Enablements.of({ enable, disable, enabled, missing })
    })
  )
}
