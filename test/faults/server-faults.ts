/**
 * Faults of the distributed form under load: each alone as a scenario, and all of them as one storm over one installation. Whatever
 * happened, at the end every acknowledged order stands in the app's ledger under one key, and each has one run, which succeeded.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { ordersFlow } from "../support/orders.ts"
import { busLost } from "./bus-lost.ts"
import { type DistributedPlatform, lacking, startDistributed } from "./distributed-platform.ts"
import { documentsLost } from "./documents-lost.ts"
import { journalLost } from "./journal-lost.ts"
import { addTenant, eventually, type Ledger, publishOrders, startLedger, statusesOf } from "./orders-platform.ts"
import { differencesAfterRebuild } from "./rebuilt-views.ts"
import type { Outcome, Scenario, Trial } from "./scenario.ts"
import { SteadyOrders } from "./steady-orders.ts"
import { workersFrozen } from "./workers-frozen.ts"

/** What a fault is inflicted on. */
export interface UnderLoad {
  readonly platform: DistributedPlatform
  readonly ledger: Ledger
  readonly orders: SteadyOrders
}
export interface ServerFault {
  readonly id: string
  readonly title: string
  readonly inflict: (on: UnderLoad, trial: Trial) => Promise<Outcome>
}

const workersCount = 3
const tenantsCount = 16
const perSecond = 15
/** Of each call of the app: at any moment some are under way. */
const answerMillis = 250
/** How soon a call that a worker has announced may be repeated by another one hangs on it. */
const timeoutMillis = 2_000
const settleMillisMax = 30_000

const flow = (): string =>
  ordersFlow().replace("    action: createOrder\n", `    action: createOrder\n    timeoutMillis: ${timeoutMillis}\n`)

/** All tenants' runs by how they stand. */
const allStatuses = async ({ api }: DistributedPlatform, tenants: ReadonlyArray<string>): Promise<Readonly<Record<string, number>>> => {
  const sums: Record<string, number> = {}
  for (const statuses of await Promise.all(tenants.map((tenant) => statusesOf(api, tenant))))
    for (const [status, count] of Object.entries(statuses)) sums[status] = (sums[status] ?? 0) + count
  return sums
}

/** Once nothing more is sent: everything arrives, once, and the views say what the log says. */
const settled = async (
  { platform, ledger, orders }: UnderLoad,
  tenants: ReadonlyArray<string>,
  say: Trial["say"]
): Promise<Omit<Outcome, "injected">> => {
  await orders.stop()
  const stopped = performance.now()
  const sent = orders.acknowledged
  const missing = () => {
    const entered = ledger.orders()
    return [...sent].filter((order) => !entered.has(order))
  }
  await eventually(() => missing().length === 0, settleMillisMax, 200)
  const done = await eventually(async () => (await allStatuses(platform, tenants))["succeeded"] === sent.size, settleMillisMax, 300)
  const settleMillis = Math.round(performance.now() - stopped)
  const statuses = await allStatuses(platform, tenants)
  const lost = missing()
  const doubled = ledger.doubled()
  say(`${sent.size} orders acknowledged, settled ${settleMillis} ms later: ${lost.length} lost, runs ${JSON.stringify(statuses)}`)
  const compared = await differencesAfterRebuild(platform.api, tenants)
  const ended = [...platform.workers, platform.api].filter((process) => !process.isRunning()).length
  return {
    found: {
      acknowledged: sent.size,
      "503 with Retry-After": orders.busyCount,
      "slowest answer ms": Math.round(orders.slowestMillis),
      lost: lost.length,
      doubled: doubled.length,
      "calls repeated under their key": ledger.lines().filter(({ repeated }) => repeated).length,
      "append conflicts": await platform.figure("append_conflicts_total"),
      runs: JSON.stringify(statuses),
      "settled ms": settleMillis,
      "views compared with a rebuild": compared.views,
      "views that differ": compared.differences.length
    },
    violations: [
      ...lost.map((order) => `the acknowledged order ${order} never reached the app`),
      ...doubled.map((order) => `the order ${order} was entered under two keys`),
      ...(done && Object.keys(statuses).length === 1
        ? []
        : [`the runs stand at ${JSON.stringify(statuses)}, not at ${sent.size} succeeded`]),
      ...orders.wrongRefusals,
      ...compared.differences,
      ...(ended === 0 ? [] : [`${ended} processes of the platform ended`])
    ]
  }
}

const scenarioOf = (id: string, title: string, faults: ReadonlyArray<ServerFault>): Scenario => ({
  id,
  title,
  run: async (trial) => {
    if (lacking !== undefined) return { skipped: lacking }
    const folder = mkdtempSync(join(tmpdir(), "tributary-distributed-"))
    const ends: Array<() => Promise<void>> = []
    try {
      const platform = await startDistributed(folder, workersCount)
      ends.unshift(platform.remove)
      const ledger = await startLedger(folder, answerMillis)
      ends.unshift(ledger.end)
      await publishOrders(platform.api, flow())
      const tenants = Array.from({ length: tenantsCount }, (_, index) => `tenant-${index}`)
      const hooks = await Promise.all(tenants.map((tenant) => addTenant(platform.api, tenant, ledger)))
      const orders = new SteadyOrders(hooks, perSecond)
      ends.unshift(() => orders.stop())
      const on = { platform, ledger, orders }
      const outcomes: Array<Omit<Outcome, "injected"> & Partial<Outcome>> = []
      for (const fault of faults) {
        const began = performance.now()
        outcomes.push(await fault.inflict(on, trial))
        trial.say(`${fault.id} ${fault.title}: ${((performance.now() - began) / 1_000).toFixed(1)} s`)
      }
      outcomes.push(await settled(on, tenants, trial.say))
      return {
        injected: Object.assign({}, ...outcomes.map(({ injected }) => injected ?? {})) as Record<string, number>,
        found: Object.assign({}, ...outcomes.map(({ found }) => found)) as Record<string, number | string>,
        violations: outcomes.flatMap(({ violations }) => violations)
      }
    } finally {
      for (const finish of ends) await finish()
      rmSync(folder, { recursive: true, force: true })
    }
  }
})

const alone = (fault: ServerFault): Scenario => scenarioOf(fault.id, fault.title, [fault])
export const busLostAlone = alone(busLost)
export const documentsLostAlone = alone(documentsLost)
export const journalLostAlone = alone(journalLost)
export const workersFrozenAlone = alone(workersFrozen)

/** One installation goes through all of them: what one leaves behind meets the next. */
export const storm: Scenario = scenarioOf("storm", "servers killed, workers frozen", [busLost, documentsLost, journalLost, workersFrozen])
