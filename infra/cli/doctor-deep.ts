/** `tributary doctor --deep`: everything that an embedded installation stores is read and compared with what it must be. */
import * as Effect from "effect/Effect"
import { type DeepFindings, type DeepProgress, deepCheck } from "#adapters/sqlite/deep-check.ts"
import type { Check, FoundKey } from "./doctor-checks.ts"
import { plain } from "./output.ts"

export interface DeepReport extends DeepFindings {
  readonly seconds: number
}

const tellMillis = 2_000
const counted = (count: number): string => count.toLocaleString("en-US")

const line = ({ looksAt, done, total }: DeepProgress): string =>
  total === null
    ? `${looksAt}${done === 0 ? " …" : `: ${counted(done)}`}`
    : `${looksAt}: ${counted(done)} of ${counted(total)} (${total === 0 ? 100 : Math.floor((done / total) * 100)} %)`

/** Tells where it is every few seconds, and leaves room for a stop between two pieces. */
export const lookDeep = (folder: string, key: FoundKey | undefined, tell: (line: string) => void): Effect.Effect<DeepReport> =>
  Effect.gen(function* () {
    const began = performance.now()
    const given = key === undefined || "refused" in key ? undefined : key
    const check = deepCheck(folder, given)
    yield* Effect.addFinalizer(() => Effect.sync(() => check.return(undefined as never)))
    let toldAt = began
    for (;;) {
      const step = check.next()
      if (step.done === true) return { ...step.value, seconds: Number(((performance.now() - began) / 1000).toFixed(1)) }
      const isStart = step.value.total === null && step.value.done === 0
      if (isStart || performance.now() - toldAt >= tellMillis) {
        tell(line(step.value))
        toldAt = performance.now()
      }
      yield* Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))
    }
  }).pipe(Effect.scoped)

const shownMax = 5

const restore =
  "Keep the folder as it is, stop the server, and restore the newest backup that is sound: tributary restore into a new folder, then tributary doctor --deep on that one before it is started."
const advice: Readonly<Record<keyof DeepFindings["damaged"], string>> = {
  "journal.db": restore,
  "vault.db": restore,
  "views.db": "Nothing is lost: stop the server and run tributary wipe views; the next start makes them anew."
}

const sound = ({ events, streams, contents, snapshots, keys, secrets, opened }: DeepReport) => ({
  "journal.db": `${counted(events)} events of ${counted(streams)} streams: structure, checksums, chains of hashes, names and positions are as they were written${opened ? `; so are ${counted(contents)} sealed contents and ${counted(snapshots)} snapshots` : ""}.`,
  "vault.db": `${counted(keys)} keys and ${counted(secrets)} secrets are as they were written${opened ? ", and open with the master key" : ""}.`,
  "views.db": "Its structure is sound, and it follows this journal."
})

/** One line for each file, and what to do. */
export const deepChecks = (report: DeepReport, key: FoundKey | undefined, hasViews: boolean): ReadonlyArray<Check> => {
  const words = sound(report)
  const files = (["journal.db", "vault.db", "views.db"] as const).filter((file) => file !== "views.db" || hasViews)
  const checks = files.map((file): Check => {
    const count = report.damaged[file]
    if (count === 0) return { check: `deep ${file}`, status: "ok", detail: words[file] }
    const shown = report.damages.filter((damage) => damage.file === file).slice(0, shownMax)
    const more = count > shown.length ? `; and ${counted(count - shown.length)} more (--json shows ${report.damages.length})` : ""
    const found = shown.map(({ damage }) => plain(damage)).join("; ")
    return { check: `deep ${file}`, status: "failed", detail: `${found}${more}. ${advice[file]}` }
  })
  return report.opened
    ? checks
    : [
        ...checks,
        {
          check: "deep contents",
          status: "unknown",
          detail: `Contents, snapshots, keys and secrets were not opened: ${key !== undefined && "refused" in key ? key.refused : "the vault cannot be read with this master key."}`
        }
      ]
}
