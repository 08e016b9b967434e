/** The embedded form: one process, one data folder, no other server. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as bus from "#adapters/memory/bus.ts"
import * as ownership from "#adapters/memory/ownership.ts"
import * as masterKey from "#adapters/node/master-key.ts"
import { DataFolder } from "#adapters/sqlite/data-folder.ts"
import * as journal from "#adapters/sqlite/journal.ts"
import { JournalThread } from "#adapters/sqlite/journal-thread-client.ts"
import * as views from "#adapters/sqlite/views-client.ts"
import { eventVersions } from "#domain/registry.ts"
import { MasterKey } from "#services/ports/master-key.ts"
import { PredecessorDied } from "#services/suspects.ts"
import type { ProcessSettings } from "./config.ts"
import { Installation } from "./installation.ts"
import { foundationOver, masterKeyOptions, servicesOver } from "./platform.ts"

const installation = Layer.effect(
  Installation,
  Effect.gen(function* () {
    const { announce, path } = yield* DataFolder
    const { died } = yield* JournalThread
    const { where } = yield* MasterKey
    const advice = "back it up apart from the data folder: one is of no use without the other"
    const about = [
      ["Data folder", path],
      ["Master key", `${where} (${advice})`]
    ] as const
    const lost = Effect.map(died, (reason) => `The journal stopped: ${reason}. Everything acknowledged is kept. Start again.`)
    return Installation.of({ form: "embedded", dataFolder: path, about, announce, lost })
  })
)

/** Journal, vault and master key over the data folder. */
const log = (settings: ProcessSettings) => {
  const stores = Layer.unwrap(
    Effect.map(DataFolder, ({ journalFile, vaultFile }) => journal.layer({ journalFile, vaultFile, eventTypes: eventVersions }))
  )
  return installation.pipe(
    Layer.provideMerge(stores),
    Layer.provideMerge(masterKey.layer(masterKeyOptions(settings))),
    Layer.provideMerge(DataFolder.layer(settings.dataFolder))
  )
}

const predecessor = Layer.effect(
  PredecessorDied,
  Effect.map(DataFolder, ({ predecessorDied }) => predecessorDied)
)

const watched = Layer.unwrap(
  Effect.map(DataFolder, ({ journalFile, viewsFile }) =>
    views.layer({ journalFile, viewsFile, entry: new URL("./views-thread.mjs", import.meta.url) })
  )
)

/** Enough for `keys reset`. */
export const foundation = (settings: ProcessSettings) => foundationOver(log(settings), settings)

/** The driver is loaded where there is something to tell alone. */
const told = ({ relay }: ProcessSettings) =>
  Option.isSome(relay)
    ? Layer.unwrap(
        Effect.map(
          Effect.promise(() => import("./relay.ts")),
          ({ layer }) => layer(relay.value)
        )
      )
    : Layer.empty

/** Everything except HTTP. */
export const layer = (settings: ProcessSettings) =>
  told(settings).pipe(
    Layer.provideMerge(
      servicesOver(Layer.mergeAll(watched, predecessor, bus.layer, ownership.layer).pipe(Layer.provideMerge(log(settings))), settings)
    )
  )
