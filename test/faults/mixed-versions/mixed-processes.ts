/**
 * F16, distributed: processes of two releases on the same servers at the same time. The newer one writes events that the older one cannot
 * read; it goes, and its work falls to the older one, which leaves it alone; another newer one comes and does it.
 */
import { join } from "node:path"
import { setTimeout as pause } from "node:timers/promises"
import { type DistributedPlatform, distributedScenario, startDistributed, type WorkerProcess } from "../distributed-platform.ts"
import { addTenant, eventually, orderedWithin, publishOrders, startLedger } from "../orders-platform.ts"
import type { BySize, Outcome, Scenario, Trial } from "../scenario.ts"
import { allStatuses, settled } from "../settled.ts"
import { SteadyOrders } from "../steady-orders.ts"
import { layNextRelease, newerTypes } from "./next-release.ts"

/** Times that the newer release comes and goes again before it stays. */
const turns: BySize = { P: 1, N: 10, R: 60 }
const tenantsCount = 12
const perSecond = 16
const answerMillis = 100
const waitMillisMax = 30_000
const mixedMillis = 1_500
/** A call that was announced before its unit of the quota proved unreadable is not looked at again before its time is over. */
const timeoutMillis = 2_000
/** What an older worker says, once, of each run and event that it leaves alone. */
const leftAlone = /Work waits for a release that can read it: (\S+)\./gu
/** What it must never do with them. */
const putAside = /Work was put aside/u

const leftAloneBy = ({ output }: WorkerProcess): ReadonlySet<string> =>
  new Set([...output().matchAll(leftAlone)].map(([, stream]) => stream!))

/** A start of today's release, once the newer one has written: it must be refused, and say why. */
const refusedStart = async (platform: DistributedPlatform): Promise<ReadonlyArray<string>> => {
  const said = await platform.startWorker().then(
    async (worker) => {
      await worker.end()
      return "it started"
    },
    (cause: Error) => cause.message
  )
  return newerTypes.every((type) => said.includes(type)) ? [] : [`a worker of today beside ${newerTypes.join(", ")}: ${said}`]
}

interface Turn {
  readonly newer: WorkerProcess
  readonly runsOfNewer: number
  readonly violations: ReadonlyArray<string>
}
/** The newer one works beside the older one, then goes, and the older one comes upon what it has left. */
const takeTurn = async (platform: DistributedPlatform, older: WorkerProcess, next: string, kill: boolean): Promise<Turn> => {
  const before = leftAloneBy(older).size
  const newer = await platform.startWorker({ main: next })
  const runs = () => newer.figure('runs_total{outcome="succeeded"}')
  const worked = await eventually(async () => (await runs()) > 0, waitMillisMax)
  await pause(mixedMillis)
  const runsOfNewer = await runs()
  await (kill ? newer.end() : newer.stop())
  const met = await eventually(() => leftAloneBy(older).size > before, waitMillisMax)
  return {
    newer,
    runsOfNewer,
    violations: [
      ...(worked ? [] : ["the newer worker did nothing"]),
      ...(met ? [] : ["the older worker never came upon what the newer one had left"])
    ]
  }
}

const inflict = async (folder: string, ends: Array<() => Promise<void>>, { size, random, say }: Trial): Promise<Outcome> => {
  const next = layNextRelease(join(folder, "next"))
  const platform = await startDistributed(folder, 1)
  ends.unshift(platform.remove)
  const [older] = platform.workers as readonly [WorkerProcess]
  const ledger = await startLedger(folder, answerMillis)
  ends.unshift(ledger.end)
  await publishOrders(platform.api, orderedWithin(timeoutMillis))
  const tenants = Array.from({ length: tenantsCount }, (_, index) => `tenant-${index}`)
  const planOf = (index: number) => (size !== "P" && index % 3 === 0 ? "enterprise" : "growth")
  const hooks = await Promise.all(tenants.map((tenant, index) => addTenant(platform.api, tenant, ledger, planOf(index))))
  const orders = new SteadyOrders(hooks, perSecond)
  ends.unshift(() => orders.stop())
  const taken: Array<Turn> = []
  while (taken.length < turns[size]) taken.push(await takeTurn(platform, older, next, size !== "P" && random.next() < 0.5))
  const [refusal, last] = await Promise.all([refusedStart(platform), platform.startWorker({ main: next })])
  await older.stop()
  say(`the older worker left ${leftAloneBy(older).size} runs and events alone, then went`)
  const alone = leftAloneBy(older).size
  const end = await settled({ platform, ledger, orders }, tenants, say, [older, ...taken.map(({ newer }) => newer)])
  await platform.api.stop()
  await platform.api.start(next)
  const statuses = await allStatuses(platform.api, tenants)
  const runsOfNewer = taken.reduce((sum, turn) => sum + turn.runsOfNewer, await last.figure('runs_total{outcome="succeeded"}'))
  return {
    injected: { "newer workers that came and went": taken.length, "refused starts of the older release": 1 },
    found: { ...end.found, "runs by newer workers": runsOfNewer, "runs and events left alone by the older worker": alone },
    violations: [
      ...taken.flatMap(({ violations }) => violations),
      ...refusal,
      ...end.violations,
      ...(putAside.test(older.output()) ? ["the older worker put aside what it could not read"] : []),
      ...(statuses["succeeded"] === orders.acknowledged.size ? [] : [`the newer api shows ${JSON.stringify(statuses)}`])
    ]
  }
}

export const mixedProcesses: Scenario = distributedScenario("F16-distributed", "processes of two releases beside each other", inflict)
