/** Data folders as a crash leaves them, with a log in each of its states, and as a stop leaves one: to be damaged. */
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import { type Acknowledged, type Intent, live } from "../history.ts"
import { Oracle } from "../oracle.ts"
import { randomFrom } from "../random.ts"
import { threaded } from "../stores.ts"

export const fileNames = ["journal.db", "journal.db-wal", "vault.db", "vault.db-wal"] as const
export type FileName = (typeof fileNames)[number]

export interface LeftFolder {
  /** Everything is in the log alone; it was just copied into the main file; a new log goes on behind such a copy; no log is left. */
  readonly state: "log alone" | "just copied" | "both" | "stopped"
  readonly files: Readonly<Record<FileName, Uint8Array>>
  readonly oracle: Oracle
}

const roundsBeforeFirst = 20
/** The log begins anew after a copy: so many more rounds are in it then. */
const roundsAfterCopy = 25
const roundsMax = 400

const read = (folder: string): LeftFolder["files"] =>
  Object.fromEntries(
    fileNames.map((name) => [name, existsSync(join(folder, name)) ? readFileSync(join(folder, name)) : new Uint8Array()])
  ) as LeftFolder["files"]

/** A place in memory where there is one: thousands of copies are made. */
export const scratchFolder = (): string => mkdtempSync(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "tributary-damage-"))

/** Lives one history, and looks at its files in three moments at which nothing is being written. */
export const leftFolders = async (folder: string, seed: number): Promise<ReadonlyArray<LeftFolder>> => {
  mkdirSync(folder, { recursive: true })
  const intents: Array<Intent> = []
  const acknowledged = new Map<number, Acknowledged>()
  const left: Array<LeftFolder> = []
  let sizeBefore = 0
  let copiedAt: number | undefined
  class Enough extends Error {}
  const take = (state: LeftFolder["state"]) =>
    left.push({ state, files: read(folder), oracle: new Oracle({ intents: [...intents], acknowledged: new Map(acknowledged) }) })
  const look = (round: number) => {
    const { size } = statSync(join(folder, "journal.db"))
    if (round === roundsBeforeFirst) take("log alone")
    else if (round > roundsBeforeFirst && copiedAt === undefined && size > sizeBefore) {
      copiedAt = round
      take("just copied")
    } else if (copiedAt !== undefined && round === copiedAt + roundsAfterCopy) {
      take("both")
      throw new Enough()
    }
    sizeBefore = size
  }
  const lived = live(
    randomFrom(seed),
    roundsMax,
    (intent) => intents.push(intent),
    (answer) => acknowledged.set(answer.number, answer),
    look
  )
  const onlyEnough = Effect.catchDefect(lived, (cause) => (cause instanceof Enough ? Effect.void : Effect.die(cause)))
  await Effect.runPromise(Effect.provide(onlyEnough, threaded(folder)))
  take("stopped")
  if (left.length !== 4) throw new Error(`The history led to ${left.map(({ state }) => state).join(", ")} alone.`)
  return left
}

/** The folder's files with some of them changed. */
export const lay = (place: string, files: LeftFolder["files"], changed: Partial<Record<FileName, Uint8Array>>): void => {
  mkdirSync(place, { recursive: true })
  for (const name of fileNames) {
    const content = changed[name] ?? files[name]
    if (content.length > 0) writeFileSync(join(place, name), content)
  }
}

export const keep = (from: string, to: string): void => {
  mkdirSync(to, { recursive: true })
  for (const name of fileNames) if (existsSync(join(from, name))) copyFileSync(join(from, name), join(to, name))
}
