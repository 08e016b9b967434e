/** Loss of power under the journal and the vault: a recorded history is cut anywhere, and what is left is compared with it. */
import { spawnSync } from "node:child_process"
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { LocalName } from "#domain/scope.ts"
import { type Acknowledged, appendOf, type Intent } from "../history.ts"
import { damageOnClosestLook, Oracle } from "../oracle.ts"
import type { Random } from "../random.ts"
import { openStores } from "../stores.ts"
import { Disk, type Loss, store } from "./disk.ts"
import { type Entry, readRecording, recorder } from "./recording.ts"

export interface Losses {
  readonly losses: number
  /** Writes that had not been flushed when the power went. */
  readonly unflushed: number
  readonly acknowledged: number
  readonly entries: number
  readonly flushes: number
  readonly violations: ReadonlyArray<string>
}

const losses: ReadonlyArray<Loss> = ["dropped", { tornSectorBytes: 512 }, { tornSectorBytes: 4096 }, "kept"]
/** The first start, with its new files, gets a share of the cuts that its few writes would not have. */
const firstStartShare = 0.15

/** Rising numbers of entries. */
const chooseCuts = (entries: ReadonlyArray<Entry>, count: number, random: Random): ReadonlyArray<number> => {
  if (count >= entries.length) return entries.map((_, index) => index + 1)
  const firstAnswer = entries.findIndex(({ op }, index) => op === "write" && index > 60)
  const cuts = Array.from({ length: count }, () =>
    random.next() < firstStartShare ? random.below(Math.max(1, firstAnswer)) : random.below(entries.length)
  )
  return [...new Set(cuts)].map((cut) => cut + 1).sort((left, right) => left - right)
}

const parseLines = <A>(text: string): ReadonlyArray<A> =>
  text
    .split("\n")
    .slice(0, -1)
    .map((line) => JSON.parse(line) as A)

/** What is wrong after a loss of power; nothing, as a rule. */
const lookAfter = (folder: string, oracle: Oracle, acknowledged: ReadonlySet<number>, number: number): ReadonlyArray<string> => {
  const stores = openStores(folder)
  try {
    const { silent, told } = oracle.compare(stores, acknowledged)
    const close = damageOnClosestLook(stores)
    const next = stores.append(
      appendOf({
        number,
        tenant: "a",
        is: "append",
        local: `after-${number}` as LocalName,
        expected: -1,
        at: 1,
        events: [{ id: `after-${number}`, type: "Happened", data: "{}" }],
        contents: [{ slot: "body", text: "after" }]
      })
    )
    return [
      ...silent,
      ...told.map((cause) => `a read failed: ${String(cause)}`),
      ...(close === undefined ? [] : [`on the closest look: ${close}`]),
      ...(next === 0 ? [] : [`the next append ended with ${next}`])
    ]
  } finally {
    stores.close()
  }
}

export const journalLosses = (options: {
  readonly seed: number
  readonly rounds: number
  readonly cuts: number
  readonly random: Random
  /** Without a flush per commit, for contrast. */
  readonly weak?: boolean
}): Losses | { readonly skipped: string } => {
  const folder = mkdtempSync(join(tmpdir(), "tributary-power-"))
  try {
    const recorded = join(folder, "recorded")
    const log = join(folder, "log")
    const intentsFile = join(folder, "intents")
    mkdirSync(join(recorded, "data"), { recursive: true })
    const recording = recorder(recorded, log)
    if ("skipped" in recording) return recording
    const weakSync = options.weak === true ? ["--import", new URL("./weak-sync.ts", import.meta.url).href] : []
    const workload = new URL("./workload.ts", import.meta.url).pathname
    const args = [...weakSync, workload, recorded, intentsFile, String(options.seed), String(options.rounds)]
    const ran = spawnSync(process.execPath, args, { env: { ...process.env, ...recording.env }, encoding: "utf8" })
    if (ran.status !== 0) throw new Error(`The recorded process failed:\n${ran.stderr}`)
    return lookAtCuts(folder, recorded, readRecording(log), parseLines<Intent>(readFileSync(intentsFile, "utf8")), options)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

const lookAtCuts = (
  folder: string,
  recorded: string,
  entries: ReadonlyArray<Entry>,
  intents: ReadonlyArray<Intent>,
  { cuts, random }: { readonly cuts: number; readonly random: Random }
): Losses => {
  const all = parseLines<Acknowledged>(readFileSync(join(recorded, "acknowledged"), "utf8"))
  const oracle = new Oracle({ intents, acknowledged: new Map(all.map((answer) => [answer.number, answer])) })
  const answers = entries.find((entry) => entry.op === "create" && entry.path === join(recorded, "acknowledged")) as { inode: string }
  const disk = new Disk(recorded, [join(recorded, "data")])
  const acknowledged = new Set<number>()
  const violations: Array<string> = []
  let unflushed = 0
  let at = 0
  const chosen = chooseCuts(entries, cuts, random)
  chosen.forEach((cut, index) => {
    for (; at < cut; at++) {
      const entry = entries[at]!
      if (entry.op === "write" && entry.inode === answers.inode) {
        for (const { number } of parseLines<Acknowledged>(Buffer.from(entry.bytes).toString())) acknowledged.add(number)
        disk.pass()
      } else disk.feed(entry)
    }
    const loss = losses[index % losses.length]!
    const place = join(folder, "after")
    const files = new Map(
      [...disk.lose(loss, random)].filter(([path]) => path.startsWith("data/")).map(([path, content]) => [path.slice(5), content])
    )
    store(place, files)
    unflushed += disk.unflushed
    try {
      for (const violation of lookAfter(place, oracle, acknowledged, cut)) violations.push(`${describe(cut, loss)}: ${violation}`)
    } catch (cause) {
      violations.push(`${describe(cut, loss)}: it does not open: ${String(cause)}`)
    }
    rmSync(place, { recursive: true })
  })
  return {
    losses: chosen.length,
    unflushed,
    acknowledged: all.length,
    entries: entries.length,
    flushes: entries.filter(({ op }) => op === "sync").length,
    violations
  }
}

const describe = (cut: number, loss: Loss) =>
  `power lost after write ${cut}, unflushed writes ${typeof loss === "string" ? loss : `torn at ${loss.tornSectorBytes} bytes`}`
