/** The flows that a tenant has, or had, on: one row per flow. */
import * as Schema from "effect/Schema"
import { Bindings, EnablementEvent } from "#domain/enablement.ts"
import { FlowId } from "#domain/ids.ts"
import type { Projection } from "./projection.ts"

export type EnablementView = typeof EnablementView.Type
export const EnablementView = Schema.Struct({
  flowId: FlowId,
  status: Schema.Literals(["enabled", "disabled"]),
  /** Null: the newest published one. */
  version: Schema.NullOr(Schema.Int),
  bindings: Bindings,
  /** Epoch milliseconds. */
  enabledAt: Schema.Int,
  changedAt: Schema.Int
})

export const enablements: Projection<EnablementEvent, EnablementView> = {
  name: "enablements",
  version: 1,
  events: ["FlowEnabled", "FlowDisabled"],
  fields: { status: "text", changedAt: "time" },
  sorts: [["changedAt"]],
  key: ({ event }) => event.flowId,
  evolve: (view, { event, at }) =>
    EnablementEvent.match(event, {
      FlowEnabled: ({ flowId, version, bindings }): EnablementView | undefined => ({
        flowId,
        status: "enabled",
        version,
        bindings,
        enabledAt: view?.status === "enabled" ? view.enabledAt : at,
        changedAt: at
      }),
      FlowDisabled: () => view && { ...view, status: "disabled" as const, changedAt: at }
    })
}
