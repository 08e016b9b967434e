/** A connector of the space: its manifest in immutable versions. */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { ContentRef } from "./content.ts"
import type { Aggregate } from "./decider.ts"
import { eventFamily } from "./event-family.ts"
import { ConnectorId } from "./ids.ts"

/** The newest version; null: the space has published none of its own. */
export type Connector = { readonly version: number; readonly manifest: ContentRef; readonly contentHash: string } | null

const published = { connectorId: ConnectorId, name: Schema.String, manifest: ContentRef, contentHash: Schema.String }

export type ConnectorCommand = typeof ConnectorCommand.Type
export const ConnectorCommand = Schema.TaggedUnion({ PublishConnector: published })
export type ConnectorEvent = typeof ConnectorEvent.Type
export const ConnectorEvent = Schema.TaggedUnion({
  /** `contentHash`: SHA-256 of the manifest's text, hex. */
  ConnectorPublished: { ...published, version: Schema.Int }
})

export const connector: Aggregate<Connector, ConnectorCommand, ConnectorEvent, never> = {
  kind: "connector",
  version: 1,
  events: eventFamily(ConnectorEvent),
  initialState: null,
  decide: ({ _tag: _, ...command }, state) =>
    Result.succeed(
      state?.contentHash === command.contentHash
        ? []
        : [ConnectorEvent.cases.ConnectorPublished.make({ ...command, version: (state?.version ?? 0) + 1 })]
    ),
  evolve: (_state, { version, manifest, contentHash }) => ({ version, manifest, contentHash })
}

/** Neither the space nor the catalogue has it. */
export class ConnectorNotFound extends Schema.TaggedError<ConnectorNotFound>()("ConnectorNotFound", { connectorId: Schema.String }) {
  override get message() {
    return `There is no connector "${this.connectorId}". Nothing was changed. Check the name, or publish its manifest first.`
  }
}
