/** F5: a torn log and wrong bits. What is read afterwards is a clean prefix of what was committed, or says that it is damaged. */
import { rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { masterKeyId } from "#adapters/node/master-key.ts"
import { KeyDamaged } from "#adapters/sealing/wrapped-keys.ts"
import { deepCheck } from "#adapters/sqlite/deep-check.ts"
import { EventDamaged } from "#adapters/sqlite/event-rows.ts"
import { StartRefused } from "#adapters/sqlite/journal-schema.ts"
import type { Random } from "../random.ts"
import type { BySize, Scenario } from "../scenario.ts"
import { openStores } from "../stores.ts"
import { differences, type Facts, factsOf, nothingDependsOn } from "./facts.ts"
import { keep, type LeftFolder, lay, leftFolders, scratchFolder } from "./folders.ts"
import { logBit, logCuts, type Mutation, mainBit } from "./mutations.ts"

const mutationsMade: BySize = { P: 260, N: 2_000, R: 10_000 }
const shares = { cut: 0.3, logBit: 0.25 }

/** What came of one: everything there, a prefix, a refusal, failed reads that name the damage, or none of these. */
type End = "all there" | "clean prefix" | "refused to open" | "told by reads" | "silent"
interface Judged {
  readonly end: End
  readonly unnamed: ReadonlyArray<string>
  readonly silent: ReadonlyArray<string>
}

/** SQLite's own names for a damaged file: SQLITE_CORRUPT, SQLITE_NOTADB. */
const damagedCodes = new Set([11, 26])
const isNamed = (cause: unknown): boolean =>
  typeof cause === "string" ||
  cause instanceof EventDamaged ||
  cause instanceof KeyDamaged ||
  cause instanceof StartRefused ||
  damagedCodes.has(((cause as { readonly errcode?: number }).errcode ?? 0) & 0xff)

const nothingSure: ReadonlySet<number> = new Set()

const judge = (place: string, left: LeftFolder, whole: number): Judged => {
  let stores: ReturnType<typeof openStores>
  try {
    stores = openStores(place)
  } catch (cause) {
    return { end: "refused to open", unnamed: isNamed(cause) ? [] : [String(cause)], silent: [] }
  }
  try {
    const { head, told, silent } = left.oracle.compare(stores, nothingSure)
    const unnamed = told.filter((cause) => !isNamed(cause)).map(String)
    if (silent.length > 0) return { end: "silent", unnamed, silent }
    return { end: told.length > 0 ? "told by reads" : head === whole ? "all there" : "clean prefix", unnamed, silent }
  } finally {
    stores.close()
  }
}

/**
 * What the deep check says where reads said nothing. SQLite has no checksum of pages: a bit of the main file may change what no
 * read looks at, or lie in the unused bytes of a page, which is shown by what is stored being the same.
 */
type DeepEnd = "told by the deep check" | "changed nothing" | "changed what nothing depends on" | "untold"
interface LookedDeep {
  readonly end: DeepEnd
  /** The facts that are others now, where nobody said so. */
  readonly changed: ReadonlyArray<string>
  readonly told: ReadonlyArray<string>
}

const masterKey = { id: masterKeyId(new Uint8Array(32).fill(7)), key: new Uint8Array(32).fill(7) }
const lookDeep = (place: string, whole: Facts): LookedDeep => {
  const check = deepCheck(place, masterKey)
  let step = check.next()
  while (step.done !== true) step = check.next()
  const told = step.value.damages.map(({ file, damage }) => `${file}: ${damage}`)
  if (told.length > 0) return { end: "told by the deep check", changed: [], told }
  const changed = differences(whole, factsOf(place))
  if (changed.length === 0) return { end: "changed nothing", changed, told }
  return { end: changed.every((fact) => nothingDependsOn.has(fact)) ? "changed what nothing depends on" : "untold", changed, told }
}

/** What lies in the log hides what lies in the main file: only where there is little or no log, its bits count. */
const choose = (folders: ReadonlyArray<LeftFolder>, cuts: ReadonlyArray<ReadonlyArray<Mutation>>, random: Random) => {
  const chance = random.next()
  const states: ReadonlyArray<LeftFolder["state"]> =
    chance < shares.cut + shares.logBit ? ["log alone", "both", "both", "just copied"] : ["both", "stopped", "stopped"]
  const wanted = random.oneOf(states)
  const at = folders.findIndex(({ state }) => state === wanted)
  const left = folders[at]
  if (left === undefined) return undefined
  const mutation =
    chance < shares.cut
      ? random.oneOf(cuts[at]!)
      : chance < shares.cut + shares.logBit
        ? logBit(left, random.next() < 0.8 ? "journal.db-wal" : "vault.db-wal", random)
        : mainBit(left, random.next() < 0.8 ? "journal.db" : "vault.db", random)
  return mutation === undefined ? undefined : { left, mutation }
}

const saidNothing: ReadonlySet<End> = new Set(["all there", "clean prefix", "silent"])
const isOfMain = ({ kind }: Mutation): boolean => kind === "main bit" || kind === "vault main bit"
/** SQLite drops what does not fit the checksums of a log: that the deep check finds nothing in what is left is tried now and then. */
const logsLookedAt = 8
const isDeeplyLookedAt = (mutation: Mutation, made: number): boolean => isOfMain(mutation) || made % logsLookedAt === 0

/** As the damage lies there: reading has changed the folder. */
const lookDeepAt = (place: string, left: LeftFolder, mutation: Mutation, whole: Facts): LookedDeep => {
  lay(place, left.files, { [mutation.file]: mutation.content })
  try {
    return lookDeep(place, whole)
  } finally {
    rmSync(place, { recursive: true })
  }
}

/** A promise that this one broke. A stream that reads do not find is a known limit where the deep check finds it. */
const wrongOf = (
  mutation: Mutation,
  end: End,
  silent: ReadonlyArray<string>,
  unnamed: ReadonlyArray<string>,
  deep: LookedDeep | undefined
): string | undefined => {
  if (unnamed.length > 0) return `unnamed: ${unnamed[0]}`
  if (end === "silent" && !(mutation.kind === "main bit" && deep?.end === "told by the deep check"))
    return `silent: ${silent[0]}${silent.length > 1 ? ` (and ${silent.length - 1} more)` : ""}`
  if (isOfMain(mutation) && deep?.end === "untold") return `the deep check did not say that ${deep.changed.join(", ")} changed`
  // What is left of the vault's log may lack a key that the journal's newest snapshots need.
  if (mutation.file === "journal.db-wal" && deep !== undefined && deep.told.length > 0)
    return `the deep check of a clean prefix: ${deep.told[0]}`
  return undefined
}

export const damage: Scenario = {
  id: "F5",
  title: "torn and damaged files",
  run: async ({ size, seed, random, say }) => {
    const scratch = scratchFolder()
    try {
      const folders = await leftFolders(join(scratch, "lived"), seed)
      const heads = new Map<LeftFolder, number>()
      const wholes = new Map<LeftFolder, Facts>()
      for (const left of folders) {
        const place = join(scratch, "whole")
        lay(place, left.files, {})
        wholes.set(left, factsOf(place))
        const { told: falsely } = lookDeep(place, wholes.get(left)!)
        if (falsely.length > 0) throw new Error(`The deep check of what is whole: ${falsely.join("; ")}`)
        const stores = openStores(place)
        const { silent, told, head } = left.oracle.compare(stores, new Set(left.oracle.history.acknowledged.keys()))
        stores.close()
        rmSync(place, { recursive: true })
        heads.set(left, head)
        if (silent.length + told.length > 0) throw new Error(`Without any damage: ${[...silent, ...told].join("; ")}`)
      }
      const cuts = folders.map((left) => logCuts(left, "journal.db-wal").concat(logCuts(left, "vault.db-wal")))
      const injected: Record<string, number> = {}
      const ends: Record<string, number> = {}
      const deepEnds: Record<string, number> = {}
      const added = (counts: Record<string, number>, what: string) => {
        counts[what] = (counts[what] ?? 0) + 1
      }
      const violations: Array<string> = []
      for (let made = 0; made < mutationsMade[size]; ) {
        const chosen = choose(folders, cuts, random)
        if (chosen === undefined) continue
        const { left, mutation } = chosen
        const place = join(scratch, "damaged")
        lay(place, left.files, { [mutation.file]: mutation.content })
        const { end, silent, unnamed } = judge(place, left, heads.get(left)!)
        rmSync(place, { recursive: true })
        added(injected, mutation.kind)
        added(ends, end)
        const deep =
          saidNothing.has(end) && isDeeplyLookedAt(mutation, made) ? lookDeepAt(place, left, mutation, wholes.get(left)!) : undefined
        if (deep !== undefined && isOfMain(mutation)) added(deepEnds, `silent to reads: ${deep.end}`)
        const wrong = wrongOf(mutation, end, silent, unnamed, deep)
        if (wrong !== undefined) {
          const kept = join(tmpdir(), `tributary-damaged-${seed}-${made}`)
          lay(join(scratch, "kept"), left.files, { [mutation.file]: mutation.content })
          keep(join(scratch, "kept"), kept)
          rmSync(join(scratch, "kept"), { recursive: true })
          violations.push(`${mutation.said}: ${wrong} [${kept}]`)
        }
        if (++made % 2_500 === 0) say(`${made} mutations: ${JSON.stringify({ ...ends, ...deepEnds })}`)
      }
      return { injected, found: { ...ends, ...deepEnds }, violations }
    } finally {
      rmSync(scratch, { recursive: true, force: true })
    }
  }
}
