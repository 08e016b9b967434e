/** F8: the server of views and vault is killed and started again; afterwards the views equal those made anew. */
import { setTimeout as pause } from "node:timers/promises"
import { goesOnAfter } from "./bus-lost.ts"
import type { BySize } from "./scenario.ts"
import type { ServerFault } from "./server-faults.ts"

const restarts: BySize = { P: 2, N: 10, R: 50 }
const awayMillis = 700

export const documentsLost: ServerFault = {
  id: "F8",
  title: "views and vault are killed",
  inflict: async (on, { size }) => {
    const { documents } = on.platform
    const violations: Array<string> = []
    let slowest = 0
    for (let count = 1; count <= restarts[size]; count++) {
      await documents.kill()
      await pause(awayMillis)
      await documents.start()
      const millis = await goesOnAfter(on)
      if (millis === undefined) violations.push(`no order reached the app after kill ${count} of views and vault`)
      slowest = Math.max(slowest, millis ?? 0)
    }
    return {
      injected: { "kills of views and vault": restarts[size] },
      found: { "work goes on behind views and vault after ms at most": Math.round(slowest) },
      violations
    }
  }
}
