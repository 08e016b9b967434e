/** F15: a tenant sends a hundred times what the others send. Theirs start all the same, ahead of its backlog. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as pause } from "node:timers/promises"
import {
  addTenant,
  deliver,
  deliverAll,
  eventually,
  externalIdOf,
  type Ledger,
  monotonicMillis,
  publishOrders,
  startLedger
} from "./orders-platform.ts"
import { type PlatformProcess, startPlatform } from "./platform-process.ts"
import { quantile } from "./random.ts"
import type { BySize, Scenario } from "./scenario.ts"

const quietEvents: BySize = { P: 24, N: 200, R: 600 }
const noisyPerQuiet = 100
const quietTenants = 3
/** Between two events of the quiet tenants. */
const quietPauseMillis = 40
const noisySenders = 12
/** Each call of the app takes so long, and this many of the noisy tenant's runs may be in flight: its backlog grows. */
const answerMillis = 100
const noisyInFlightMax = 32
/** Runs of the noisy tenant that may start between a quiet event's answer and its run: those in flight, and a turn of the ring or two. */
const overtakersMax = noisyInFlightMax + 2 * 64
/** Below it, there would be nothing to be ahead of. */
const backlogMin = 200

interface Quiet {
  readonly order: string
  readonly answeredAt: number
  readonly backlog: number
}

const quietStart = 1_000_000

/** Delivers the quiet tenants' events in turn, at their pace. */
const beQuiet = async (hooks: ReadonlyArray<string>, from: number, count: number, backlog: () => number): Promise<ReadonlyArray<Quiet>> => {
  const events: Array<Quiet> = []
  for (let index = from; index < from + count; index++) {
    await deliver(hooks[index % hooks.length]!, index)
    events.push({ order: externalIdOf(index), answeredAt: monotonicMillis(), backlog: backlog() })
    await pause(quietPauseMillis)
  }
  return events
}

interface Started {
  readonly delayMillis: ReadonlyArray<number>
  readonly overtakers: ReadonlyArray<number>
}
const startedOf = (ledger: Ledger, quiet: ReadonlyArray<Quiet>): Started => {
  const lines = ledger.lines()
  const at = new Map(lines.map(({ order, at }) => [order, at]))
  const noisyAt = lines.filter(({ apiKey }) => apiKey === "noisy-key").map(({ at }) => at)
  return {
    delayMillis: quiet.map(({ order, answeredAt }) => Math.max(0, at.get(order)! - answeredAt)),
    overtakers: quiet.map(({ order, answeredAt }) => noisyAt.filter((time) => time > answeredAt && time < at.get(order)!).length)
  }
}

const measure = async (platform: PlatformProcess, ledger: Ledger, events: number) => {
  await publishOrders(platform)
  const hooks: Array<string> = []
  for (let tenant = 0; tenant < quietTenants; tenant++) hooks.push(await addTenant(platform, `quiet-${tenant}`, ledger))
  const noisy = await addTenant(platform, "noisy", ledger)
  await platform.api("PUT", "/tenants/noisy/settings/runs.inFlightMax", { value: noisyInFlightMax })

  const before = await beQuiet(hooks, quietStart, events, () => 0)
  await eventually(() => before.every(({ order }) => ledger.orders().has(order)), 30_000)

  let delivered = 0
  let stopped = false
  const noise = deliverAll(noisy, 0, events * noisyPerQuiet, {
    atOnce: noisySenders,
    delivered: () => delivered++,
    isOver: () => stopped
  })
  const entered = () => ledger.lines().filter(({ apiKey }) => apiKey === "noisy-key").length
  const grown = await eventually(() => delivered - entered() >= backlogMin, 30_000)
  const during = await beQuiet(hooks, quietStart + events, events, () => delivered - entered())
  const arrived = await eventually(() => during.every(({ order }) => ledger.orders().has(order)), 60_000)
  stopped = true
  await noise
  return { before, during, delivered, grown, arrived }
}

export const noisyNeighbour: Scenario = {
  id: "F15",
  title: "a noisy neighbour",
  run: async ({ size }) => {
    const place = mkdtempSync(join(tmpdir(), "tributary-ledger-"))
    const platform = await startPlatform()
    const ledger = await startLedger(place, answerMillis)
    try {
      const { before, during, delivered, grown, arrived } = await measure(platform, ledger, quietEvents[size])
      const alone = startedOf(ledger, before)
      const beside = startedOf(ledger, during)
      const backlogs = during.map(({ backlog }) => backlog)
      const overtaken = beside.overtakers.filter((count) => count > overtakersMax).length
      const p99 = (values: ReadonlyArray<number>) => quantile(values, 0.99)
      return {
        injected: {
          "events of the noisy tenant": delivered,
          "times what a quiet one sent": Math.round((delivered * quietTenants) / during.length),
          "least backlog": Math.min(...backlogs)
        },
        found: {
          "events of quiet tenants": during.length,
          "noisy runs that overtook one, most": Math.max(...beside.overtakers),
          "start delay p99 alone ms": p99(alone.delayMillis).toFixed(1),
          "start delay p99 beside ms": p99(beside.delayMillis).toFixed(1),
          ratio: (p99(beside.delayMillis) / p99(alone.delayMillis)).toFixed(2)
        },
        violations: [
          ...(grown ? [] : [`the noisy tenant never had ${backlogMin} events waiting: nothing was tested`]),
          ...(arrived ? [] : ["events of quiet tenants never ran beside the noisy one"]),
          ...(overtaken === 0 ? [] : [`${overtaken} quiet events were overtaken by more than ${overtakersMax} runs of the noisy tenant`])
        ]
      }
    } finally {
      await ledger.end()
      await platform.remove()
      rmSync(place, { recursive: true, force: true })
    }
  }
}
