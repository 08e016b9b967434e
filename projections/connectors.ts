/** The connectors that a space has published. */
import * as Schema from "effect/Schema"
import type { ConnectorEvent } from "#domain/connector.ts"
import { ConnectorId } from "#domain/ids.ts"
import type { Projection } from "./projection.ts"

export type ConnectorView = typeof ConnectorView.Type
export const ConnectorView = Schema.Struct({
  connectorId: ConnectorId,
  name: Schema.String,
  version: Schema.Int,
  contentHash: Schema.String,
  /** Epoch milliseconds. */
  createdAt: Schema.Int,
  publishedAt: Schema.Int
})

export const connectors: Projection<ConnectorEvent, ConnectorView> = {
  name: "connectors",
  version: 1,
  events: ["ConnectorPublished"],
  fields: { name: "text", publishedAt: "time" },
  sorts: [["name"], ["publishedAt"]],
  key: ({ event }) => event.connectorId,
  evolve: (view, { event: { connectorId, name, version, contentHash }, at }) => ({
    connectorId,
    name,
    version,
    contentHash,
    createdAt: view?.createdAt ?? at,
    publishedAt: at
  })
}
