/** F12: two workers that both believe that they own the same work. */
import type { Scenario } from "../faults/scenario.ts"
import { chanceFor } from "./chance.ts"
import type { Executed } from "./execution.ts"
import { byChance } from "./faults.ts"
import { effects, fanOut, parked, retries } from "./fixtures.ts"
import { Tally } from "./tally.ts"

const takeoversOf = { P: 50, N: 500, R: 5_000 }
const fixtures = [effects, retries, fanOut, parked]

/** Runs on which somebody went on while the process that had them in hand was still there. */
const takenOver = ({ world }: Executed): number => {
  let count = 0
  for (const { events } of world.log.streams.values())
    events.forEach(({ type, writer }, index) => {
      const before = events[index - 1]
      if ((type !== "RunResumed" && type !== "RoutingResumed") || before === undefined || before.writer === writer) return
      if (world.processes.some((process) => process.writer === before.writer && process.alive)) count++
    })
  return count
}

export const takeovers: Scenario = {
  id: "F12",
  title: "two owners of the same work",
  run: async ({ size, seed: first }) => {
    const tally = new Tally()
    let fenced = 0
    let late = 0
    for (let seed = first; (tally.injected["taken over from the living"] ?? 0) < takeoversOf[size] && tally.executions < 200_000; seed++) {
      const base = fixtures[seed % fixtures.length]!
      const fixture = { ...base, processes: ["one", "two"] }
      const chance = chanceFor(seed, "takeovers")
      const executed = tally.play(`${fixture.name}, seed ${seed}`, fixture, {
        seed,
        plan: byChance(chance, { rate: 0.05, max: 4, crashesMax: 0, until: 20_000, faults: ["freeze before", "freeze after"] }),
        freezes: [8_000, 12_000],
        hasty: true
      })
      tally.add("taken over from the living", takenOver(executed))
      fenced += executed.world.log.fenced
      late += executed.world.withheld
    }
    const { executions, injected, violations } = tally
    return { injected, found: { executions, "fenced appends": fenced, "calls not sent": late, violations: violations.length }, violations }
  }
}
