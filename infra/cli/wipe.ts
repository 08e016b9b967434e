/** `tributary wipe`: throws away what the log can make again, and refuses what it cannot. */
import { existsSync, rmSync } from "node:fs"
import { join } from "node:path"
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import { told } from "./command.ts"
import { type CommandFailed, failed } from "./failure.ts"
import { isDistributed, settingsFor } from "./form.ts"
import { dataFolderOf, type Reach, reach } from "./installation.ts"
import { show } from "./output.ts"

const title = "Nothing was wiped"
const flags = { data: reach.data, json: reach.json }
type Input = Pick<Reach, "data" | "json">

/** What was done, in a sentence; its fields for programs. */
export interface Wipe {
  readonly wiped: string
  readonly said: string
}

const command = (name: string, description: string, work: (dataFolder: string) => Effect.Effect<Wipe, CommandFailed>) =>
  Command.make(name, flags, (input: Input) =>
    told(input.json)(Effect.flatMap(work(dataFolderOf(input)), (done) => show(input.json, done, ({ said }) => said)))
  ).pipe(Command.withDescription(description))

const servers = Effect.promise(() => import("./wipe-servers.ts"))

const bus = command("bus", "Deletes the work queue in NATS, also under load: it is announced again from the log.", (dataFolder) =>
  Effect.gen(function* () {
    const settings = yield* settingsFor(title, dataFolder)
    if (!isDistributed(settings))
      return yield* failed(
        title,
        "The embedded form keeps its wake-ups in memory, so there is nothing to wipe: a restart makes them anew from the log."
      )
    return yield* (yield* servers).wipeBus(settings.servers)
  })
)

/** Of a stopped installation: a running one has the file open. */
const wipeFile = Effect.fnUntraced(function* (dataFolder: string) {
  if (!existsSync(join(dataFolder, "journal.db")))
    return yield* failed(title, `${dataFolder} holds no installation. Nothing was done. Correct --data.`)
  const { DataFolder } = yield* Effect.promise(() => import("#adapters/sqlite/data-folder.ts"))
  return yield* Effect.gen(function* () {
    const { viewsFile } = yield* DataFolder
    const there = existsSync(viewsFile)
    for (const suffix of ["", "-wal", "-shm"]) rmSync(viewsFile + suffix, { force: true })
    const said = there ? `${viewsFile} is deleted. The next start makes the views anew from the log.` : `${viewsFile} was not there.`
    return { wiped: "views", said }
  }).pipe(
    Effect.provide(DataFolder.layer(dataFolder)),
    Effect.mapError(({ message }) =>
      failed(title, `${message} One view of a running server is made anew with: tributary projections rebuild`)
    )
  )
})

const views = command(
  "views",
  "Deletes all views: in MongoDB also under load, in a data folder of a stopped server. They are made anew from the log.",
  (dataFolder) =>
    Effect.gen(function* () {
      const settings = yield* settingsFor(title, dataFolder)
      return isDistributed(settings) ? yield* (yield* servers).wipeViews(settings.servers) : yield* wipeFile(dataFolder)
    })
)

/** Said by a command of its own, so that whoever looks for it finds the reason. */
const refused = (name: string, why: string) => command(name, "Is always refused, and says why.", () => Effect.fail(failed(title, why)))

const vault = refused(
  "vault",
  "The vault holds the keys of everything that is sealed in the journal, and the secrets of all connections: without it nothing of them can be read again by anybody, and no log makes it anew. To give up the whole installation, delete its stores by their own tools."
)
const journal = refused(
  "journal",
  "The journal is the only truth: every delivery, run and setting is in it, and everything else is made from it. To give up the whole installation, delete its stores by their own tools."
)

export const wipe = Command.make("wipe").pipe(
  Command.withDescription("Throws away what the log can make again: the work queue or the views. Never the vault or the journal."),
  Command.withSubcommands([bus, views, vault, journal])
)
