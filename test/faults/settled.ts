/** The end of each fault under load: once nothing more is sent, everything arrives, once, and the runs say so. */
import type { DistributedPlatform, WorkerProcess } from "./distributed-platform.ts"
import { eventually, type Ledger, statusesOf } from "./orders-platform.ts"
import type { PlatformProcess } from "./platform-process.ts"
import type { Outcome, Trial } from "./scenario.ts"
import type { SteadyOrders } from "./steady-orders.ts"

/** What a fault is inflicted on. */
export interface UnderLoad {
  readonly platform: DistributedPlatform
  readonly ledger: Ledger
  readonly orders: SteadyOrders
}

const settleMillisMax = 60_000

/** All tenants' runs by how they stand. */
export const allStatuses = async (api: PlatformProcess, tenants: ReadonlyArray<string>): Promise<Readonly<Record<string, number>>> => {
  const sums: Record<string, number> = {}
  for (const statuses of await Promise.all(tenants.map((tenant) => statusesOf(api, tenant))))
    for (const [status, count] of Object.entries(statuses)) sums[status] = (sums[status] ?? 0) + count
  return sums
}

/** `gone`: workers that were ended on purpose. */
export const settled = async (
  { platform, ledger, orders }: UnderLoad,
  tenants: ReadonlyArray<string>,
  say: Trial["say"],
  gone: ReadonlyArray<WorkerProcess> = []
): Promise<Omit<Outcome, "injected">> => {
  await orders.stop()
  const stopped = performance.now()
  const sent = orders.acknowledged
  const missing = () => {
    const entered = ledger.orders()
    return [...sent].filter((order) => !entered.has(order))
  }
  await eventually(() => missing().length === 0, settleMillisMax, 200)
  const arrivedMillis = Math.round(performance.now() - stopped)
  const done = await eventually(async () => (await allStatuses(platform.api, tenants))["succeeded"] === sent.size, settleMillisMax, 300)
  const settleMillis = Math.round(performance.now() - stopped)
  const statuses = await allStatuses(platform.api, tenants)
  const lost = missing()
  const doubled = ledger.doubled()
  const workers = platform.workers.filter((worker) => !gone.includes(worker))
  const ended = [...workers, platform.api].filter((process) => !process.isRunning()).length
  say(`${sent.size} orders acknowledged, settled ${settleMillis} ms later: ${lost.length} lost, runs ${JSON.stringify(statuses)}`)
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
      "all in the app after ms": arrivedMillis,
      "settled ms": settleMillis
    },
    violations: [
      ...lost.map((order) => `the acknowledged order ${order} never reached the app`),
      ...doubled.map((order) => `the order ${order} was entered under two keys`),
      ...(done && Object.keys(statuses).length === 1
        ? []
        : [`the runs stand at ${JSON.stringify(statuses)}, not at ${sent.size} succeeded`]),
      ...orders.wrongRefusals,
      ...(ended === 0 ? [] : [`${ended} processes of the platform ended`])
    ]
  }
}
