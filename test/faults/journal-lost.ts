/** F9: appends are committed and their answers dropped, connections are reset, the journal's server is killed and started again. */
import { setTimeout as pause } from "node:timers/promises"
import { goesOnAfter } from "./bus-lost.ts"
import { eventually } from "./orders-platform.ts"
import type { BySize } from "./scenario.ts"
import type { ServerFault } from "./server-faults.ts"

const dropped: BySize = { P: 50, N: 200, R: 1_000 }
const resets: BySize = { P: 5, N: 20, R: 100 }
const restarts: BySize = { P: 1, N: 10, R: 50 }
/** Each breaks every connection: some appends meet several in a row, and others get through in between. */
const droppedAtOnce = 5
const dropsMillisMax = 20_000
const betweenMillis = 100
const awayMillis = 1_000

export const journalLost: ServerFault = {
  id: "F9",
  title: "the journal drops answers and is killed",
  inflict: async (on, { size }) => {
    const { journal } = on.platform
    const { orders } = on
    const violations: Array<string> = []
    for (let count = 0; count < resets[size]; count++) {
      await journal.tell("reset")
      await pause(betweenMillis)
    }
    for (let count = 0; count < dropped[size]; count += droppedAtOnce) {
      await journal.tell("drop-answers", { count: droppedAtOnce })
      const met = await eventually(async () => (await journal.tell("counts"))["left"] === 0, dropsMillisMax, 20)
      if (!met) violations.push(`the ${droppedAtOnce} answers to drop after ${count} were never asked for`)
    }
    const counts = await journal.tell("counts")
    let busy = 0
    let slowest = 0
    for (let count = 1; count <= restarts[size]; count++) {
      const before = orders.busyCount
      await journal.kill()
      await pause(awayMillis)
      await journal.start()
      const millis = await goesOnAfter(on)
      if (millis === undefined) violations.push(`no order reached the app after kill ${count} of the journal`)
      slowest = Math.max(slowest, millis ?? 0)
      busy += orders.busyCount - before
    }
    if (busy === 0) violations.push("no delivery was answered with a 503 and Retry-After while the journal was away")
    return {
      injected: {
        "appends committed without an answer": counts["dropped"] ?? 0,
        "resets of the journal's connections": resets[size],
        "kills of the journal": restarts[size]
      },
      found: { "503 while the journal was away": busy, "work goes on behind the journal after ms at most": Math.round(slowest) },
      violations
    }
  }
}
