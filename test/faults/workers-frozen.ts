/**
 * F11 and F12: workers are stopped with calls under way for longer than their lease and than their calls may take, and go on when others
 * have taken over what they still believe to own: what they then write is refused, and nothing has two outcomes.
 */
import { setTimeout as pause } from "node:timers/promises"
import type { WorkerProcess } from "./distributed-platform.ts"
import { eventually } from "./orders-platform.ts"
import type { BySize } from "./scenario.ts"
import type { ServerFault } from "./server-faults.ts"

const pauses: BySize = { P: 1, N: 20, R: 200 }
/** All but one of the three. */
const atOnce = 2
/** Longer than the lease (8 s) with what it takes to find their work, and from then on than a call may be sent (10 s) and answered (2 s). */
const frozenMillis = 30_000
const busyMillisMax = 10_000
/** Until a worker that goes on has written what it had in hand, or tried to. */
const awakeMillis = 1_500

export const workersFrozen: ServerFault = {
  id: "F11",
  title: "workers freeze for longer than their lease",
  inflict: async ({ platform, ledger }, { size, random }) => {
    const violations: Array<string> = []
    let frozen = 0
    let taken = 0
    const conflictsBefore = await platform.figure("append_conflicts_total")
    while (frozen < pauses[size]) {
      const shuffled = [...platform.workers].sort(() => random.next() - 0.5)
      const victims: Array<WorkerProcess> = []
      for (const worker of shuffled.slice(0, atOnce)) {
        if (!(await eventually(async () => (await worker.figure("work_in_flight")) > 0, busyMillisMax, 5))) continue
        worker.freeze()
        victims.push(worker)
      }
      if (victims.length === 0) {
        violations.push(`no worker had anything in hand for ${busyMillisMax} ms`)
        break
      }
      const repeatedBefore = ledger.lines().filter(({ repeated }) => repeated).length
      await pause(frozenMillis)
      taken += ledger.lines().filter(({ repeated }) => repeated).length - repeatedBefore
      for (const worker of victims) worker.thaw()
      frozen += victims.length
      await pause(awakeMillis)
    }
    const conflicts = (await platform.figure("append_conflicts_total")) - conflictsBefore
    // A call that had not reached the app is not repeated there: then the refusals alone tell.
    if (taken === 0 && conflicts === 0) violations.push("nobody took over what a frozen worker had in hand")
    return {
      injected: { "frozen workers": frozen },
      found: { "calls repeated for frozen workers": taken, "appends refused after they went on": conflicts },
      violations
    }
  }
}
