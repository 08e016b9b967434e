/** Which connection a call uses, of all that its tenant and the space have (PRODUCT 3). */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { ConnectionId, ConnectorId } from "#domain/ids.ts"
import { type ConnectionState, chosen, connectionOf, type Integration } from "#domain/integration.ts"
import { type SpaceScope, spaceOf, type TenantScope } from "#domain/scope.ts"
import type { TransactError } from "./transact.ts"

/** A run has to wait until the tenant connects. */
export class ConnectionRequired extends Schema.TaggedError<ConnectionRequired>()("ConnectionRequired", {
  connectorId: ConnectorId,
  /** The one that cannot be used; null: there is none at all. */
  connectionId: Schema.NullOr(ConnectionId),
  why: Schema.Literals(["absent", "broken", "revoked"])
}) {
  override get message() {
    const what = {
      absent: `No connection to ${this.connectorId} exists. Connect it`,
      broken: `The connection ${this.connectionId} is broken. Enter its credentials again`,
      revoked: `The connection ${this.connectionId} was revoked or never existed. Connect again, or choose another`
    }
    return `${what[this.why]}; what waits for it goes on then.`
  }
}
/** Several would do, and nothing says which. */
export class ConnectionAmbiguous extends Schema.TaggedError<ConnectionAmbiguous>()("ConnectionAmbiguous", {
  connectorId: ConnectorId,
  connectionIds: Schema.Array(ConnectionId)
}) {
  override get message() {
    return `Several connections to ${this.connectorId} exist (${this.connectionIds.join(", ")}) and none is the default. Make one the default, or bind one when enabling the flow.`
  }
}

/** What names a connection besides the tenant's default, in the order in which they count (PRODUCT 3). */
export interface ConnectionChoice {
  /** The run's own. */
  readonly explicit?: ConnectionId
  /** The enablement's. */
  readonly binding?: ConnectionId
  /** The event's. */
  readonly triggering?: ConnectionId
}
/** The connection that a call uses, and the scope that it lives in: the tenant's, or the space's for a fixed one. */
export interface Picked {
  readonly scope: SpaceScope | TenantScope
  readonly connectionId: ConnectionId
  readonly found: ConnectionState
}
/** How an integration of a scope is read. */
export type ReadIntegration = (scope: SpaceScope | TenantScope, connectorId: ConnectorId) => Effect.Effect<Integration, TransactError>

/** Picks by the order of the choice, then the tenant's default or only one, then the space's. A broken one is not replaced by another. */
export const connectionPicker = (read: ReadIntegration) => {
  const scopesOf = (scope: TenantScope): ReadonlyArray<SpaceScope | TenantScope> => [scope, spaceOf(scope)]

  /** The scope and state of a connection that was named: the tenant's, else the space's. */
  const named = Effect.fnUntraced(function* (scope: TenantScope, connectorId: ConnectorId, connectionId: ConnectionId) {
    for (const where of scopesOf(scope)) {
      const state = yield* read(where, connectorId)
      const found = connectionOf(state, connectionId)
      if (found !== undefined) return { scope: where, connectionId, found }
    }
    return yield* new ConnectionRequired({ connectorId, connectionId, why: "revoked" })
  })

  /** The default or only one of the tenant, else of the space. */
  const unnamed = Effect.fnUntraced(function* (scope: TenantScope, connectorId: ConnectorId) {
    for (const where of scopesOf(scope)) {
      const state = yield* read(where, connectorId)
      const choice = chosen(state)
      if (choice.kind === "ambiguous") return yield* new ConnectionAmbiguous({ connectorId, connectionIds: choice.connectionIds })
      if (choice.kind === "one") return { scope: where, connectionId: choice.connectionId, found: state.connections[choice.connectionId]! }
    }
    return yield* new ConnectionRequired({ connectorId, connectionId: null, why: "absent" })
  })

  return Effect.fnUntraced(function* (scope: TenantScope, connectorId: ConnectorId, choice: ConnectionChoice) {
    const connectionId = choice.explicit ?? choice.binding ?? choice.triggering
    const picked: Picked = yield* connectionId === undefined ? unnamed(scope, connectorId) : named(scope, connectorId, connectionId)
    if (picked.found.status === "broken") {
      return yield* new ConnectionRequired({ connectorId, connectionId: picked.connectionId, why: "broken" })
    }
    return picked
  })
}
