/** The flows of a space: what is drafted, what is published, and since when. */
import * as Schema from "effect/Schema"
import { FlowEvent } from "#domain/flow.ts"
import { ConnectorId, FlowId } from "#domain/ids.ts"
import type { Projection } from "./projection.ts"

export type FlowView = typeof FlowView.Type
export const FlowView = Schema.Struct({
  flowId: FlowId,
  name: Schema.NullOr(Schema.String),
  status: Schema.Literals(["draft", "published", "archived"]),
  /** The newest published version; 0: none. */
  version: Schema.Int,
  publishedHash: Schema.NullOr(Schema.String),
  draftHash: Schema.String,
  /** The draft is not what is published. */
  changed: Schema.Boolean,
  trigger: Schema.NullOr(Schema.Struct({ connectorId: ConnectorId, event: Schema.String })),
  steps: Schema.Int,
  /** Epoch milliseconds. */
  createdAt: Schema.Int,
  changedAt: Schema.Int,
  publishedAt: Schema.NullOr(Schema.Int)
})

export const flows: Projection<FlowEvent, FlowView> = {
  name: "flows",
  version: 1,
  events: ["FlowDrafted", "FlowPublished", "FlowArchived"],
  fields: { status: "text", changedAt: "time", createdAt: "time" },
  sorts: [["createdAt"], ["changedAt"]],
  key: ({ event }) => event.flowId,
  evolve: (view, { event, at }) =>
    FlowEvent.match(event, {
      FlowDrafted: ({ flowId, name, contentHash }): FlowView | undefined => ({
        ...(view ?? {
          flowId,
          status: "draft",
          version: 0,
          publishedHash: null,
          trigger: null,
          steps: 0,
          createdAt: at,
          publishedAt: null
        }),
        name: name ?? null,
        draftHash: contentHash,
        changed: view?.publishedHash !== contentHash,
        changedAt: at
      }),
      FlowPublished: ({ version, contentHash, trigger, steps }) =>
        view && {
          ...view,
          status: "published" as const,
          version,
          publishedHash: contentHash,
          changed: view.draftHash !== contentHash,
          trigger,
          steps,
          changedAt: at,
          publishedAt: at
        },
      FlowArchived: () => view && { ...view, status: "archived" as const, changedAt: at }
    })
}
