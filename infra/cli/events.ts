/** `tributary events`: what came in for a tenant, why it did what it did, and sending one by hand. */
import { readFileSync } from "node:fs"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import type { DeliveryView } from "#projections/deliveries.ts"
import { limit, moreNote, orUndefined, type Page, pages, serverCommand, tenant, tenantPath, text } from "./command.ts"
import { type CommandFailed, failed } from "./failure.ts"
import { bytes, plain, show, status, styled, table, time } from "./output.ts"

const pathOf = (tenantId: string, eventId?: string, rest = "") =>
  tenantPath(tenantId, `/events${eventId === undefined ? "" : `/${encodeURIComponent(eventId)}${rest}`}`)

const eventRow = (event: DeliveryView): ReadonlyArray<string> => [
  event.id,
  status(event.status),
  event.connectorId,
  plain(event.event),
  time(event.receivedAt),
  bytes(event.bytes),
  event.verified,
  String(event.repeats),
  String(event.runs.length),
  plain(event.reason?.message ?? "")
]
const eventTable = (page: Page<DeliveryView>): string =>
  page.items.length === 0
    ? "No events."
    : table(["EVENT", "STATUS", "CONNECTOR", "NAME", "RECEIVED", "SIZE", "VERIFIED BY", "REPEATS", "RUNS", ""], page.items.map(eventRow)) +
      moreNote(page)

const list = serverCommand(
  "list",
  "The events of a tenant, the newest first.",
  {
    tenant,
    status: Flag.String("status").pipe(Flag.withDescription("Such as routed, no-flow, refused, dead-letter"), Flag.optional),
    connector: Flag.String("connector").pipe(Flag.withDescription("Of this connector alone"), Flag.optional),
    limit
  },
  (client, input) => {
    const query = { status: orUndefined(input.status), connector: orUndefined(input.connector) }
    return Effect.flatMap(pages<DeliveryView>(client, pathOf(input.tenant), query, input.limit), (page) =>
      show(input.json, page, eventTable)
    )
  }
)

interface Explanation {
  readonly deliveryId: string
  readonly connectorId: string
  readonly event: string
  readonly receivedAt: number
  readonly status: string
  /** What became of it, in one sentence. */
  readonly verdict: string
  readonly facts: ReadonlyArray<{ readonly at: number; readonly fact: string }>
  readonly runs: ReadonlyArray<{ readonly runId: string; readonly flowId: string; readonly version: number; readonly status: string }>
}
const explanationText = (found: Explanation): string =>
  [
    `${styled("bold", plain(found.verdict))}`,
    `${found.connectorId} ${plain(found.event)}, event ${found.deliveryId}, ${status(found.status)}`,
    "",
    ...found.facts.map(({ at, fact }) => `${styled("dim", time(at))}  ${plain(fact)}`),
    ...found.runs.map((run) => `Run ${run.runId} of ${run.flowId} v${run.version} is ${status(run.status)}.`)
  ].join("\n")

const explain = serverCommand(
  "explain",
  "Why an event did, or did not do, what was expected.",
  { event: text("event", "The event's id"), tenant },
  (client, input) =>
    Effect.flatMap(client.ask<Explanation>(pathOf(input.tenant, input.event, "/explain")), (found) =>
      show(input.json, found, explanationText)
    )
)

/** From a file, or standard input for `-`. */
const readJson = (file: string): Effect.Effect<unknown, CommandFailed> =>
  Effect.try({
    try: () => JSON.parse(readFileSync(file === "-" ? 0 : file, "utf8")) as unknown,
    catch: (cause) =>
      failed("The body cannot be read", `${file}: ${(cause as Error).message}. Nothing was sent. Give a file with JSON, or -.`)
  })

const send = serverCommand(
  "send",
  "Sends an event as if it had come by webhook.",
  {
    connector: text("connector", "The connector that it comes from"),
    event: text("event", "Its name, such as orders/create"),
    tenant,
    body: Flag.String("body").pipe(Flag.withDescription("File with its JSON; - for standard input"), Flag.withDefault("-")),
    deliveryId: Flag.String("delivery-id").pipe(Flag.withDescription("Repeats with the same id count once"), Flag.optional)
  },
  (client, input) =>
    Effect.gen(function* () {
      const body = yield* readJson(input.body)
      const deliveryId = orUndefined(input.deliveryId)
      const sent = { connector: input.connector, event: input.event, body, ...(deliveryId === undefined ? {} : { deliveryId }) }
      const answer = yield* client.ask<{ readonly deliveryId: string; readonly duplicate: boolean }>(pathOf(input.tenant), {
        method: "POST",
        body: sent
      })
      const what = answer.duplicate ? "was here before; it counts once" : "is recorded"
      yield* show(
        input.json,
        answer,
        ({ deliveryId }) => `The event ${deliveryId} ${what}. See: tributary events explain ${deliveryId} --tenant ${input.tenant}`
      )
    })
)

export const events = Command.make("events").pipe(
  Command.withDescription("Events: what came in from the apps of a tenant."),
  Command.withSubcommands([list, explain, send])
)
