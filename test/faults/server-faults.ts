/**
 * Faults of the distributed form under load: each alone as a scenario, and all of them as one storm over one installation. Whatever
 * happened, at the end every acknowledged order stands in the app's ledger under one key, and each has one run, which succeeded.
 */
import { busLost } from "./bus-lost.ts"
import { distributedScenario, startDistributed } from "./distributed-platform.ts"
import { documentsLost } from "./documents-lost.ts"
import { journalLost } from "./journal-lost.ts"
import { addTenant, orderedWithin, publishOrders, startLedger } from "./orders-platform.ts"
import { differencesAfterRebuild } from "./rebuilt-views.ts"
import type { Outcome, Scenario, Trial } from "./scenario.ts"
import { settled, type UnderLoad } from "./settled.ts"
import { SteadyOrders } from "./steady-orders.ts"
import { workersFrozen } from "./workers-frozen.ts"

export interface ServerFault {
  readonly id: string
  readonly title: string
  readonly inflict: (on: UnderLoad, trial: Trial) => Promise<Outcome>
}

const workersCount = 3
const tenantsCount = 16
const perSecond = 15
/** Of each call of the app: at any moment some are under way. */
const answerMillis = 700
/** How soon a call that a worker has announced may be repeated by another one hangs on it. */
const timeoutMillis = 2_000

const scenarioOf = (id: string, title: string, faults: ReadonlyArray<ServerFault>): Scenario =>
  distributedScenario(id, title, async (folder, ends, trial) => {
    const platform = await startDistributed(folder, workersCount)
    ends.unshift(platform.remove)
    const ledger = await startLedger(folder, answerMillis)
    ends.unshift(ledger.end)
    await publishOrders(platform.api, orderedWithin(timeoutMillis))
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
    const { views, differences } = await differencesAfterRebuild(platform.api, tenants)
    outcomes.push({ found: { "views compared with a rebuild": views, "views that differ": differences.length }, violations: differences })
    return {
      injected: Object.assign({}, ...outcomes.map(({ injected }) => injected ?? {})) as Record<string, number>,
      found: Object.assign({}, ...outcomes.map(({ found }) => found)) as Record<string, number | string>,
      violations: outcomes.flatMap(({ violations }) => violations)
    }
  })

const alone = (fault: ServerFault): Scenario => scenarioOf(fault.id, fault.title, [fault])
export const busLostAlone = alone(busLost)
export const documentsLostAlone = alone(documentsLost)
export const journalLostAlone = alone(journalLost)
export const workersFrozenAlone = alone(workersFrozen)

/** One installation goes through all of them: what one leaves behind meets the next. */
export const storm: Scenario = scenarioOf("storm", "servers killed, workers frozen", [busLost, documentsLost, journalLost, workersFrozen])
