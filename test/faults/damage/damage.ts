/** F5: a torn log and wrong bits. What is read afterwards is a clean prefix of what was committed, or says that it is damaged. */
import { rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { KeyDamaged } from "#adapters/sealing/wrapped-keys.ts"
import { EventDamaged } from "#adapters/sqlite/event-rows.ts"
import { StartRefused } from "#adapters/sqlite/journal-schema.ts"
import { damageOnClosestLook } from "../oracle.ts"
import type { Random } from "../random.ts"
import type { BySize, Scenario } from "../scenario.ts"
import { openStores } from "../stores.ts"
import { keep, type LeftFolder, lay, leftFolders, scratchFolder } from "./folders.ts"
import { logBit, logCuts, type Mutation, mainBit } from "./mutations.ts"

const mutationsMade: BySize = { P: 300, N: 2_000, R: 10_000 }
const shares = { cut: 0.3, logBit: 0.25 }

/**
 * What came of one: everything there, a prefix, a refusal, failed reads that name the damage, or none of these. SQLite has no checksum
 * of pages: damage to a page of an index of the main file can be silent to a read. Then the closest look has to find it.
 */
type End = "all there" | "clean prefix" | "refused to open" | "told by reads" | "silent, found by the closest look" | "silent"
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
    if (silent.length > 0) return { end: looked(stores) ? "silent, found by the closest look" : "silent", unnamed, silent }
    return { end: told.length > 0 ? "told by reads" : head === whole ? "all there" : "clean prefix", unnamed, silent }
  } finally {
    stores.close()
  }
}

const looked = (stores: ReturnType<typeof openStores>): boolean => {
  try {
    return damageOnClosestLook(stores) !== undefined
  } catch {
    return true
  }
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

export const damage: Scenario = {
  id: "F5",
  title: "torn and damaged files",
  run: async ({ size, seed, random, say }) => {
    const scratch = scratchFolder()
    try {
      const folders = await leftFolders(join(scratch, "lived"), seed)
      const heads = new Map<LeftFolder, number>()
      for (const left of folders) {
        const place = join(scratch, "whole")
        lay(place, left.files, {})
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
      const violations: Array<string> = []
      for (let made = 0; made < mutationsMade[size]; ) {
        const chosen = choose(folders, cuts, random)
        if (chosen === undefined) continue
        const { left, mutation } = chosen
        const place = join(scratch, "damaged")
        lay(place, left.files, { [mutation.file]: mutation.content })
        const { end, silent, unnamed } = judge(place, left, heads.get(left)!)
        rmSync(place, { recursive: true })
        injected[mutation.kind] = (injected[mutation.kind] ?? 0) + 1
        ends[end] = (ends[end] ?? 0) + 1
        const isKnownLimit = end === "silent, found by the closest look" && mutation.kind === "main bit"
        if ((silent.length > 0 && !isKnownLimit) || unnamed.length > 0) {
          const kept = join(tmpdir(), `tributary-damaged-${seed}-${made}`)
          lay(join(scratch, "kept"), left.files, { [mutation.file]: mutation.content })
          keep(join(scratch, "kept"), kept)
          rmSync(join(scratch, "kept"), { recursive: true })
          const what =
            silent.length > 0
              ? `${end}: ${silent[0]}${silent.length > 1 ? ` (and ${silent.length - 1} more)` : ""}`
              : `unnamed: ${unnamed[0]}`
          violations.push(`${mutation.said}: ${what} [${kept}]`)
        }
        if (++made % 2_500 === 0) say(`${made} mutations: ${JSON.stringify(ends)}`)
      }
      return { injected, found: ends, violations }
    } finally {
      rmSync(scratch, { recursive: true, force: true })
    }
  }
}
