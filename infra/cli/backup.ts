/** `tributary backup`: a checked copy of an embedded installation, running or stopped. */
import { resolve } from "node:path"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import { version } from "../version.ts"
import { told } from "./command.ts"
import { failed } from "./failure.ts"
import { embeddedSettings } from "./form.ts"
import { dataFolderOf, reach } from "./installation.ts"
import { bytes, fields, show } from "./output.ts"

/** A large journal takes minutes: somebody who watches sees where it is. */
const progress = (text: string): void => {
  if (process.stderr.isTTY) process.stderr.write(`${text}\n`)
}

export const backup = Command.make(
  "backup",
  {
    data: reach.data,
    json: reach.json,
    to: Flag.String("to").pipe(Flag.withDescription("Folder of this one backup: new, or empty"))
  },
  (input) =>
    told(input.json)(
      Effect.gen(function* () {
        const [dataFolder, to] = [dataFolderOf(input), resolve(input.to)]
        yield* embeddedSettings("No backup was made", dataFolder)
        const { BackupRefused, backUp } = yield* Effect.promise(() => import("#adapters/sqlite/backup.ts"))
        const manifest = yield* Effect.tryPromise({
          try: () => backUp(dataFolder, to, version, (name) => progress(`${name} is copied; it is checked at the end.`)),
          catch: (cause) => failed("No backup was made", cause instanceof BackupRefused ? cause.message : String(cause))
        })
        const size = manifest.files.reduce((sum, file) => sum + file.bytes, 0)
        yield* show(input.json, { to, ...manifest }, () =>
          [
            `Backed up to ${to}: ${bytes(size)}, read again and found sound.`,
            fields([
              ["installation", manifest.journalId],
              ["up to event", String(manifest.head)],
              ["master key", `${manifest.masterKeyId} (not in the backup: keep it elsewhere, one is of no use without the other)`]
            ])
          ].join("\n")
        )
      })
    )
).pipe(Command.withDescription("Copies an embedded installation, running or stopped, into a new folder, and checks the copy."))
