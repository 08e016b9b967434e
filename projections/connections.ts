/** The connections of a tenant or the space: what each connects and how it stands. Names stay sealed; secrets are not here at all. */
import * as Schema from "effect/Schema"
import { ConnectionId, ConnectorId } from "#domain/ids.ts"
import { connectorOf, IntegrationEvent } from "#domain/integration.ts"
import { SecretVersion } from "#domain/secret-version.ts"
import type { Projection } from "./projection.ts"

export type ConnectionView = typeof ConnectionView.Type
export const ConnectionView = Schema.Struct({
  connectionId: ConnectionId,
  connectorId: ConnectorId,
  method: Schema.String,
  /** Sealed. */
  label: Schema.NullOr(Schema.String),
  /** Sealed JSON. */
  variables: Schema.NullOr(Schema.String),
  status: Schema.Literals(["active", "broken", "revoked"]),
  /** Chosen when nothing names another. */
  isDefault: Schema.Boolean,
  /** Why it is broken or was revoked. */
  reason: Schema.NullOr(Schema.String),
  secrets: Schema.Array(SecretVersion),
  /** Counts what happened to this connection, from 0. */
  revision: Schema.Int,
  /** Epoch milliseconds. */
  connectedAt: Schema.Int,
  changedAt: Schema.Int
})

const changed = ({ revision }: ConnectionView, at: number) => ({ revision: revision + 1, changedAt: at })

export const connections: Projection<IntegrationEvent, ConnectionView> = {
  name: "connections",
  version: 2,
  events: [
    "ConnectionAuthorized",
    "ConnectionSecretsRotated",
    "ConnectionMadeDefault",
    "ConnectionBroken",
    "ConnectionRepaired",
    "ConnectionRevoked"
  ],
  fields: { connectorId: "text", status: "text", connectedAt: "time" },
  sorts: [["connectedAt"], ["connectorId", "connectedAt"]],
  key: ({ event }) => {
    if (event._tag === "WaitingRunsReleased") return undefined
    return event._tag === "ConnectionMadeDefault" && event.previous !== undefined
      ? [event.connectionId, event.previous]
      : event.connectionId
  },
  evolve: (view, { event, at }, key) =>
    IntegrationEvent.match(event, {
      ConnectionAuthorized: ({ connectionId, method, secrets, variables, label }): ConnectionView | undefined => ({
        connectionId,
        connectorId: connectorOf(connectionId),
        method,
        label: label ?? null,
        variables: variables ?? null,
        status: "active",
        isDefault: false,
        reason: null,
        secrets,
        revision: 0,
        connectedAt: at,
        changedAt: at
      }),
      ConnectionSecretsRotated: ({ secrets }) =>
        view && {
          ...view,
          secrets: [...view.secrets.filter(({ field }) => !secrets.some((rotated) => rotated.field === field)), ...secrets],
          ...changed(view, at)
        },
      ConnectionMadeDefault: ({ connectionId }) => view && { ...view, isDefault: key === connectionId, ...changed(view, at) },
      ConnectionBroken: ({ reason }) => view && { ...view, status: "broken" as const, reason, ...changed(view, at) },
      ConnectionRepaired: () => view && { ...view, status: "active" as const, reason: null, ...changed(view, at) },
      // About runs, not about a connection.
      WaitingRunsReleased: () => view,
      // Kept, for the audit.
      ConnectionRevoked: ({ reason }) =>
        view && { ...view, status: "revoked" as const, reason, secrets: [], isDefault: false, ...changed(view, at) }
    })
}
