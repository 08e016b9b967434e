/** `tributary restore`: puts a backup into an empty data folder, for the next start. */
import { existsSync } from "node:fs"
import { resolve } from "node:path"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { MasterKey } from "#services/ports/master-key.ts"
import { told } from "./command.ts"
import { type CommandFailed, failed } from "./failure.ts"
import { embeddedSettings } from "./form.ts"
import { dataFolderOf, reach } from "./installation.ts"
import { fields, show } from "./output.ts"

const title = "Nothing was restored"
const saying = (cause: unknown): CommandFailed => failed(title, cause instanceof Error ? cause.message : String(cause))
const attempt = <A>(work: () => A | Promise<A>) => Effect.tryPromise({ try: async () => work(), catch: saying })

/** The master key as a start on this folder would find it; none is made, which would fit nothing. */
const checkKey = Effect.fnUntraced(function* (dataFolder: string, from: string) {
  const [{ defaultKeyFile, layer }, { checkMasterKey }, { readKeyCheck }, { masterKeyOptions }] = yield* Effect.promise(() =>
    Promise.all([
      import("#adapters/node/master-key.ts"),
      import("#adapters/sqlite/key-ring.ts"),
      import("#adapters/sqlite/backup.ts"),
      import("../platform.ts")
    ])
  )
  const settings = yield* embeddedSettings(title, dataFolder)
  const { masterKeyId, masterKeyCheck } = yield* attempt(() => readKeyCheck(from))
  const file = Option.getOrElse(settings.masterKeyFile, () => defaultKeyFile(dataFolder))
  if (Option.isNone(settings.masterKey) && !existsSync(file))
    return yield* failed(
      title,
      `The master key ${masterKeyId}, which opens this backup, is not at ${file}. Put its file there, or name it with TRIBUTARY_MASTER_KEY_FILE, here and for the start.`
    )
  const { id, key, where } = yield* Effect.mapError(Effect.provide(MasterKey, layer(masterKeyOptions(settings))), saying)
  yield* attempt(() => checkMasterKey(Redacted.value(key), id, masterKeyId, masterKeyCheck))
  return where
})

export const restore = Command.make(
  "restore",
  {
    from: Flag.String("from").pipe(Flag.withDescription("Folder of the backup")),
    data: reach.data,
    json: reach.json
  },
  (input) =>
    told(input.json)(
      Effect.gen(function* () {
        const [dataFolder, from] = [dataFolderOf(input), resolve(input.from)]
        const [{ readManifest, restoreInto, isEmptyFolder }, { DataFolder }] = yield* Effect.promise(() =>
          Promise.all([import("#adapters/sqlite/backup.ts"), import("#adapters/sqlite/data-folder.ts")])
        )
        const manifest = yield* attempt(() => readManifest(from))
        const where = yield* checkKey(dataFolder, from)
        if (!isEmptyFolder(dataFolder))
          return yield* failed(
            title,
            `${dataFolder} is not empty, and a restore overwrites nothing. Give another folder, or move what is in it away.`
          )
        yield* attempt(() => restoreInto(from, manifest, dataFolder)).pipe(
          Effect.provide(DataFolder.layer(dataFolder)),
          Effect.mapError(saying)
        )
        yield* show(input.json, { dataFolder, masterKey: where, ...manifest }, () =>
          [
            `Restored into ${dataFolder}, as it was at ${manifest.takenAt}.`,
            fields([
              ["installation", manifest.journalId],
              ["up to event", String(manifest.head)],
              ["master key", `fits (${where})`],
              ["next start", `makes the views anew from ${manifest.head} events, and goes on with every run that was open`]
            ]),
            "Never run it beside the installation that it was taken from: both would do the same work.",
            `Start it with: tributary start --data ${dataFolder}`
          ].join("\n")
        )
      })
    )
).pipe(Command.withDescription("Puts a backup into an empty data folder. Changes neither the backup nor anything that is there."))
