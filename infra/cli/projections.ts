/** `tributary projections`: how far the views are behind the log, and making one anew while the old one serves. */
import * as Console from "effect/Console"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import type { ModelProgress, ProjectionStatus } from "#services/ports/view-server.ts"
import { serverCommand, text } from "./command.ts"
import { type CommandFailed, failed } from "./failure.ts"
import { show, status, styled, table } from "./output.ts"

const path = "/api/v1/projections"
const pollMillis = 400

interface Listed {
  readonly items: ReadonlyArray<ProjectionStatus>
}

/** Where positions count events, as on the embedded journal: how many are missing. */
const behind = (head: string | null, position: string | null): string => {
  if (head === null || head === position) return "0"
  const missing = Number(head) - Number(position ?? 0)
  return Number.isSafeInteger(missing) ? String(missing) : "?"
}
const percent = ({ share }: ModelProgress): string => (share === null ? "" : ` ${Math.floor(share * 100)} %`)
const building = ({ building }: ProjectionStatus): string => {
  if (building === null) return ""
  const speed = building.eventsPerSecond === null ? "" : `, ${Math.round(building.eventsPerSecond)} events/s`
  return `${building.model}${percent(building)}${speed}`
}
const row = (projection: ProjectionStatus): ReadonlyArray<string> => {
  const { name, version, serving, head } = projection
  return [
    name,
    `v${version}`,
    serving === null ? status("building") : status(serving.status),
    serving === null ? "–" : String(serving.rows),
    serving === null ? "–" : behind(head, serving.position),
    building(projection),
    serving?.fault == null ? "" : styled("red", `${serving.fault.type}: ${serving.fault.error}`)
  ]
}
const projectionTable = ({ items }: Listed): string =>
  table(["PROJECTION", "VERSION", "STATUS", "ROWS", "BEHIND", "BUILDING", ""], items.map(row))

const list = serverCommand("list", "Every view: its rows, and how many events it is behind.", {}, (client, input) =>
  Effect.flatMap(client.ask<Listed>(path), (listed) => show(input.json, listed, projectionTable))
)

/** A bar that is drawn over on a terminal; a line each elsewhere. */
const bar = (model: ModelProgress): string => {
  const share = model.share ?? 0
  const full = Math.floor(share * 30)
  const speed = model.eventsPerSecond === null ? "" : `  ${Math.round(model.eventsPerSecond)} events/s`
  return `${model.model}  [${"#".repeat(full)}${".".repeat(30 - full)}]${percent(model)}${speed}`
}
const draw = (text: string) =>
  Effect.sync(() => process.stderr.write(process.stderr.isTTY ? `\r\u001b[2K${text}` : `${text}\n`)).pipe(Effect.asVoid)

const untilServing = (
  find: Effect.Effect<ProjectionStatus, CommandFailed>,
  quiet: boolean
): Effect.Effect<ProjectionStatus, CommandFailed> =>
  Effect.gen(function* () {
    for (let shown = ""; ; ) {
      const found = yield* find
      if (found.building === null) return found
      if (found.building.fault !== null)
        return yield* failed(
          "The rebuild has stopped",
          `${found.building.model} stopped at position ${found.building.fault.position} (${found.building.fault.type}): ${found.building.fault.error} The old view still serves. Correct the projection and rebuild it again.`
        )
      const text = bar(found.building)
      if (!quiet && text !== shown) yield* draw(text)
      shown = text
      yield* Effect.sleep(pollMillis)
    }
  })

const rebuild = serverCommand(
  "rebuild",
  "Makes a view anew from the log; the old one serves until the new one has caught up.",
  {
    name: text("projection", "Its name, as listed"),
    detach: Flag.Boolean("detach").pipe(Flag.withDescription("Do not wait for the end"), Flag.withDefault(false))
  },
  (client, input) =>
    Effect.gen(function* () {
      const name = input.name
      const started = yield* client.ask<ProjectionStatus>(`${path}/${encodeURIComponent(name)}/rebuild`, { method: "POST" })
      if (input.detach) return yield* show(input.json, started, () => `${name} is being rebuilt. See: tributary projections list`)
      const find = Effect.flatMap(client.ask<Listed>(path), ({ items }) => {
        const found = items.find((projection) => projection.name === name)
        return found === undefined
          ? Effect.fail(failed("The projection is gone", `${name} is not listed any more.`))
          : Effect.succeed(found)
      })
      const done = yield* untilServing(find, input.json)
      if (!input.json && process.stderr.isTTY) yield* Console.error("")
      yield* show(input.json, done, ({ serving }) => `${name} serves anew: ${serving?.model ?? name}, ${serving?.rows ?? 0} rows.`)
    })
)

export const projections = Command.make("projections").pipe(
  Command.withDescription("Projections: the views that lists are answered from, made from the log."),
  Command.withSubcommands([list, rebuild])
)
