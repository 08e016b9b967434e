/** Loss of power under the whole platform: recorded under load, cut anywhere, started again on what is left. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { addTenant, deliverAll, eventually, externalIdOf, type Ledger, publishOrders, startLedger, statusesOf } from "../orders-platform.ts"
import { startPlatform } from "../platform-process.ts"
import type { Random } from "../random.ts"
import { Disk, type Loss, store } from "./disk.ts"
import { type Entry, readRecording, recorder } from "./recording.ts"

export interface PlatformLosses {
  readonly losses: number
  readonly unflushed: number
  readonly acknowledged: number
  readonly violations: ReadonlyArray<string>
}
const losses: ReadonlyArray<Loss> = ["dropped", { tornSectorBytes: 512 }, { tornSectorBytes: 4096 }]
const settleMillisMax = 30_000

/** When, on the clock of the recording, the sender had its answer. */
type Answers = ReadonlyMap<number, bigint>

export const platformLosses = async (options: {
  readonly orders: number
  readonly cuts: number
  readonly random: Random
}): Promise<PlatformLosses | { readonly skipped: string }> => {
  const scratch = mkdtempSync(join(tmpdir(), "tributary-power-"))
  const root = join(scratch, "recorded")
  const log = join(scratch, "log")
  const recording = recorder(root, log)
  if ("skipped" in recording) return recording
  const platform = await startPlatform(recording.env, root)
  const ledger = await startLedger(scratch)
  try {
    await publishOrders(platform)
    const hook = await addTenant(platform, "acme-corp", ledger)
    const settled = process.hrtime.bigint()
    const answers = new Map<number, bigint>()
    await deliverAll(hook, 0, options.orders, { delivered: (index) => answers.set(index, process.hrtime.bigint()) })
    await platform.kill()
    const entries = readRecording(log)
    const first = entries.findIndex(({ at }) => at > settled)
    const cuts = Array.from({ length: options.cuts }, () => first + options.random.below(entries.length - first)).sort((a, b) => a - b)
    const disk = new Disk(root)
    const violations: Array<string> = []
    let unflushed = 0
    let fed = 0
    for (const [index, cut] of cuts.entries()) {
      for (; fed <= cut; fed++) disk.feed(entries[fed]!)
      unflushed += disk.unflushed
      const loss = losses[index % losses.length]!
      const said = `power lost after write ${cut}, unflushed writes ${JSON.stringify(loss)}`
      rmSync(root, { recursive: true, force: true })
      store(root, disk.lose(loss, options.random))
      try {
        await platform.start()
        const wrong = await lookAfter(platform, ledger, hook, answeredBefore(answers, entries[cut]!), options.orders)
        violations.push(...wrong.map((violation) => `${said}: ${violation}`))
      } catch (cause) {
        violations.push(`${said}: ${String(cause)}`)
      }
      await platform.kill()
    }
    return { losses: cuts.length, unflushed, acknowledged: answers.size, violations }
  } finally {
    await ledger.end()
    await platform.remove()
    rmSync(scratch, { recursive: true, force: true })
  }
}

const answeredBefore = (answers: Answers, { at }: Entry): ReadonlyArray<number> =>
  [...answers].filter(([, answeredAt]) => answeredAt < at).map(([index]) => index)

/** What was acknowledged runs to its end by itself; what was not is delivered again, and nothing has two keys in the ledger. */
const lookAfter = async (
  platform: Awaited<ReturnType<typeof startPlatform>>,
  ledger: Ledger,
  hook: string,
  acknowledged: ReadonlyArray<number>,
  orders: number
): Promise<ReadonlyArray<string>> => {
  const succeeded = async (least: number) => ((await statusesOf(platform, "acme-corp"))["succeeded"] ?? 0) >= least
  if (!(await eventually(() => succeeded(acknowledged.length), settleMillisMax)))
    return [`of ${acknowledged.length} acknowledged events, runs stand at ${JSON.stringify(await statusesOf(platform, "acme-corp"))}`]
  await deliverAll(hook, 0, orders)
  const all = await eventually(() => succeeded(orders), settleMillisMax)
  const statuses = await statusesOf(platform, "acme-corp")
  const missing = Array.from({ length: orders }, (_, index) => externalIdOf(index)).filter((id) => !ledger.orders().has(id))
  return [
    ...(all && Object.keys(statuses).length === 1 && statuses["succeeded"] === orders
      ? []
      : [`after all ${orders} came again, runs stand at ${JSON.stringify(statuses)}`]),
    ...ledger.doubled().map((order) => `the order ${order} was entered under two keys`),
    ...missing.map((order) => `the order ${order} is not in the ledger`)
  ]
}
