/** F7: the real nats-server is killed and started again, and its store is wiped: work goes on, what was pending is announced again. */
import { setTimeout as pause } from "node:timers/promises"
import { eventually, externalIdOf } from "./orders-platform.ts"
import type { BySize } from "./scenario.ts"
import type { ServerFault } from "./server-faults.ts"
import type { UnderLoad } from "./settled.ts"

const restarts: BySize = { P: 3, N: 20, R: 100 }
const wipes: BySize = { P: 1, N: 2, R: 10 }
const awayMillis = 300
const goesOnMillisMax = 30_000

/** Milliseconds until an order that is begun from now on stands in the ledger; undefined: none did. */
export const goesOnAfter = async ({ ledger, orders }: UnderLoad): Promise<number | undefined> => {
  const began = performance.now()
  const first = orders.begun
  const arrived = () => {
    const entered = ledger.orders()
    for (let index = first; index < orders.begun; index++) if (entered.has(externalIdOf(index))) return true
    return false
  }
  return (await eventually(arrived, goesOnMillisMax)) ? performance.now() - began : undefined
}

export const busLost: ServerFault = {
  id: "F7",
  title: "the bus is killed and wiped",
  inflict: async (on, { size }) => {
    const { nats } = on.platform
    const violations: Array<string> = []
    let slowest = 0
    const lose = async (what: string, meanwhile: () => void) => {
      await nats.kill()
      meanwhile()
      await pause(awayMillis)
      await nats.start()
      const millis = await goesOnAfter(on)
      if (millis === undefined) violations.push(`no order reached the app within ${goesOnMillisMax} ms after ${what}`)
      slowest = Math.max(slowest, millis ?? goesOnMillisMax)
    }
    for (let count = 1; count <= restarts[size]; count++) await lose(`kill ${count} of the bus`, () => {})
    for (let count = 1; count <= wipes[size]; count++) await lose(`wipe ${count} of the bus`, nats.wipe)
    return {
      injected: { "kills of the bus": restarts[size], "wiped stores of the bus": wipes[size] },
      found: { "work goes on behind the bus after ms at most": Math.round(slowest) },
      violations
    }
  }
}
