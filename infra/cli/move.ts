/** `tributary move`: carries a stopped embedded installation to the servers of the distributed form. */
import * as Console from "effect/Console"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import type { MoveReport } from "../move/move.ts"
import { told } from "./command.ts"
import { failed } from "./failure.ts"
import { isDistributed, settingsFor } from "./form.ts"
import { dataFolderOf, reach } from "./installation.ts"
import { fields, show } from "./output.ts"

const title = "Not moved"
const number = (count: number): string => count.toLocaleString("en-US")

const headings: Readonly<Record<MoveReport["outcome"], string>> = {
  "would-move": "Everything is there for the move. Nothing was changed.",
  "would-go-on": "A move has begun, and would go on. Nothing was changed.",
  moved: "Moved. Start it now on the servers; this folder starts no more.",
  "moved-before": "It was moved before. Nothing was changed. Start it on the servers."
}

const described = ({ outcome, where, counts, compared, journalId }: MoveReport): string => {
  const { events, appends, streams, retired, openWork, keys, secrets } = counts
  const pairs: Array<readonly [string, string]> = [
    ["journal", where.journal],
    ["vault", where.vault],
    ["views", `${where.readModels} (built anew from the log at the first start)`],
    ["bus", where.bus],
    ["events", `${number(events)} in ${number(appends)} appends of ${number(streams)} streams, of which ${number(retired)} are retired`],
    ["open work", `${number(openWork)} streams`],
    ["vault holds", `${number(keys)} wrapped keys, ${number(secrets)} secrets`]
  ]
  if (journalId !== null) pairs.push(["new log", journalId])
  if (compared !== null)
    pairs.push([
      "compared",
      `all events, hashes, keys and secrets; ${number(compared.contentsOpened)} contents of ${number(compared.appendsReadBack)} appends and ${number(compared.secretsOpened)} secrets opened on both sides`
    ])
  return `${headings[outcome]}\n${fields(pairs)}`
}

const takenBack = (where: string, finished: boolean): string =>
  finished
    ? `The folder can be started again. What happened at ${where} since the move is not in it: never start that side again, and empty its stores.`
    : `The folder can be started again. What was carried to ${where} starts nowhere: empty its stores.`

export const move = Command.make(
  "move",
  {
    data: reach.data,
    json: reach.json,
    dryRun: Flag.Boolean("dry-run").pipe(
      Flag.withDescription("Only says what would be carried, and whether the servers can be reached"),
      Flag.withDefault(false)
    ),
    verify: Flag.Literals("verify", ["sample", "all"]).pipe(
      Flag.withDescription("How many contents and secrets are opened on both sides; all else is always compared whole"),
      Flag.withDefault("sample" as const)
    ),
    back: Flag.Boolean("back").pipe(
      Flag.withDescription("Gives the move up: the folder can be started again, without what happened on the servers"),
      Flag.withDefault(false)
    )
  },
  (input) =>
    told(input.json)(
      Effect.gen(function* () {
        const settings = yield* settingsFor(title, dataFolderOf(input))
        const { back, move } = yield* Effect.promise(() => import("../move/move.ts"))
        if (input.back) {
          const { where, finished } = yield* Effect.mapError(back(settings), ({ message }) => failed("Not taken back", message))
          return yield* show(input.json, { where, finished }, () => takenBack(where, finished))
        }
        if (!isDistributed(settings))
          return yield* failed(
            title,
            "Where to is not said. Nothing was done. Set TRIBUTARY_JOURNAL, TRIBUTARY_BUS, TRIBUTARY_READ_MODELS and TRIBUTARY_VAULT to the servers, and TRIBUTARY_MASTER_KEY or TRIBUTARY_MASTER_KEY_FILE to this folder's master key."
          )
        const context = yield* Effect.context<never>()
        const tell = (line: string) => void Effect.runForkWith(context)(Console.error(line))
        const options = { settings, servers: settings.servers, verify: input.verify, dryRun: input.dryRun, tell }
        const report = yield* Effect.mapError(move(options), ({ message }) => failed(title, message))
        yield* show(input.json, report, described)
      })
    )
).pipe(Command.withDescription("Carries a stopped embedded installation to the servers of the distributed form."))
