/** The endpoints of a tenant or the space, with their secrets by fingerprint alone. */
import * as Schema from "effect/Schema"
import { EndpointEvent } from "#domain/endpoint.ts"
import { ConnectionId, ConnectorId, EndpointId } from "#domain/ids.ts"
import { SecretVersion } from "#domain/secret-version.ts"
import type { Projection } from "./projection.ts"

export type EndpointView = typeof EndpointView.Type
export const EndpointView = Schema.Struct({
  endpointId: EndpointId,
  connectorId: ConnectorId,
  connectionId: Schema.NullOr(ConnectionId),
  status: Schema.Literals(["active", "removed"]),
  secrets: Schema.Array(SecretVersion),
  /** Of the endpoint's stream: which of its events this is as of. */
  revision: Schema.Int,
  /** Epoch milliseconds. */
  createdAt: Schema.Int,
  changedAt: Schema.Int
})

export const endpoints: Projection<EndpointEvent, EndpointView> = {
  name: "endpoints",
  version: 2,
  events: ["EndpointCreated", "EndpointSecretRotated", "EndpointSecretRemoved", "EndpointRemoved"],
  fields: { connectorId: "text", status: "text", createdAt: "time" },
  sorts: [["createdAt"]],
  key: ({ event }) => event.endpointId,
  evolve: (view, { event, at, revision }) =>
    EndpointEvent.match(event, {
      EndpointCreated: ({ endpointId, connectorId, connectionId, secrets }): EndpointView | undefined => ({
        endpointId,
        connectorId,
        connectionId: connectionId ?? null,
        status: "active",
        secrets,
        revision,
        createdAt: at,
        changedAt: at
      }),
      EndpointSecretRotated: ({ secret }) => view && { ...view, secrets: [...view.secrets, secret], revision, changedAt: at },
      EndpointSecretRemoved: ({ field }) =>
        view && { ...view, secrets: view.secrets.filter((secret) => secret.field !== field), revision, changedAt: at },
      EndpointRemoved: () => view && { ...view, status: "removed" as const, secrets: [], revision, changedAt: at }
    })
}
