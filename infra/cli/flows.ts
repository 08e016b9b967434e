/** `tributary flows`: publishing documents, and turning flows on for tenants. */

import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import type { EnablementView } from "#projections/enablements.ts"
import type { FlowView } from "#projections/flows.ts"
import { limit, moreNote, optionalTenant, orUndefined, type Page, pages, serverCommand, tenant, tenantPath, text } from "./command.ts"
import { documentFrom } from "./documents.ts"
import { plain, show, status, styled, table, time } from "./output.ts"

const path = "/api/v1/workflows"
const flowId = text("flow", "The flow's id")

const flowRow = (flow: FlowView): ReadonlyArray<string> => [
  flow.flowId,
  status(flow.status),
  flow.version === 0 ? "–" : `v${flow.version}`,
  flow.trigger === null ? "–" : plain(`${flow.trigger.connectorId} ${flow.trigger.event}`),
  String(flow.steps),
  time(flow.changedAt),
  flow.changed && flow.version > 0 ? "the draft differs" : ""
]
const flowTable = (page: Page<FlowView>): string =>
  page.items.length === 0
    ? "No flows. Publish one with: tributary flows publish <file>"
    : table(["FLOW", "STATUS", "VERSION", "TRIGGER", "STEPS", "CHANGED", ""], page.items.map(flowRow)) + moreNote(page)

const enablementRow = ({ flowId, status: stands, version, bindings, changedAt }: EnablementView): ReadonlyArray<string> => [
  flowId,
  status(stands),
  version === null ? "newest" : `v${version}`,
  time(changedAt),
  Object.values(bindings).join(", ")
]
const enablementTable = (page: Page<EnablementView>): string =>
  page.items.length === 0
    ? "No flow was turned on for this tenant."
    : table(["FLOW", "STATUS", "VERSION", "CHANGED", "CONNECTIONS"], page.items.map(enablementRow)) + moreNote(page)

const list = serverCommand(
  "list",
  "The space's flows, or which of them a tenant has on.",
  { tenant: optionalTenant, limit },
  (client, input) => {
    const of = orUndefined(input.tenant)
    return of === undefined
      ? Effect.flatMap(pages<FlowView>(client, path, {}, input.limit), (page) => show(input.json, page, flowTable))
      : Effect.flatMap(pages<EnablementView>(client, tenantPath(of, "/workflows"), {}, input.limit), (page) =>
          show(input.json, page, enablementTable)
        )
  }
)

interface Drafted {
  readonly id: string
  readonly findings: ReadonlyArray<{ readonly pointer: string; readonly message: string }>
}
interface Published {
  readonly id: string
  readonly version: number
  readonly contentHash: string
}

const publish = serverCommand(
  "publish",
  "Drafts a document and publishes it as the flow's next version; every mistake in it is named.",
  { file: text("file", "YAML or JSON") },
  (client, input) =>
    Effect.gen(function* () {
      const { id } = yield* client.ask<Drafted>(path, yield* documentFrom(input.file))
      const published = yield* client.ask<Published>(`${path}/${encodeURIComponent(id)}/publish`, { method: "POST" })
      yield* show(input.json, published, ({ version }) => `The flow ${id} is published, version ${version}.`)
    })
)

interface Enabled {
  readonly id: string
  readonly version: number
  readonly missing: ReadonlyArray<{ readonly connectorId: string; readonly detail: string }>
}
const enabledText = ({ id, version, missing }: Enabled): string =>
  [`The flow ${id} is on, version ${version}.`, ...missing.map(({ detail }) => styled("yellow", `  ${detail}`))].join("\n")

const enable = serverCommand(
  "enable",
  "Turns a flow on for a tenant, or changes its version or connections.",
  {
    flow: flowId,
    tenant,
    version: Flag.Int("pin-version").pipe(Flag.withDescription("Stay on this version; it follows the newest when left out"), Flag.optional),
    bind: Flag.KeyValuePair("bind").pipe(Flag.withDescription("<connector>=<connection>; may be repeated"), Flag.optional)
  },
  (client, input) => {
    const version = orUndefined(input.version)
    const bindings = orUndefined(input.bind)
    const body = { ...(version === undefined ? {} : { version }), ...(bindings === undefined ? {} : { bindings }) }
    const at = tenantPath(input.tenant, `/workflows/${encodeURIComponent(input.flow)}`)
    return Effect.flatMap(client.ask<Enabled>(at, { method: "PUT", body }), (enabled) => show(input.json, enabled, enabledText))
  }
)

const disable = serverCommand("disable", "Turns a flow off for a tenant; what runs goes on.", { flow: flowId, tenant }, (client, input) =>
  Effect.andThen(
    client.ask(tenantPath(input.tenant, `/workflows/${encodeURIComponent(input.flow)}`), { method: "DELETE" }),
    show(input.json, { id: input.flow, status: "off" }, ({ id }) => `The flow ${id} is off.`)
  )
)

export const flows = Command.make("flows").pipe(
  Command.withDescription("Flows: what happens when an event comes in."),
  Command.withSubcommands([list, publish, enable, disable])
)
