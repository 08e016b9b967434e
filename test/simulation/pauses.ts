/** F11: a worker that stands still for longer than its lease, and goes on when another one has its work. */
import type { Scenario } from "../faults/scenario.ts"
import { chanceFor } from "./chance.ts"
import type { Plan } from "./faults.ts"
import { effects, fanOut, parked, retries } from "./fixtures.ts"
import { leaseMillis } from "./ownership.ts"
import { Tally } from "./tally.ts"

const pausesOf = { P: 50, N: 2_000, R: 20_000 }
const fixtures = [effects, retries, fanOut, parked]

/** One pause, at some I/O that changes something. */
const once = (seed: number): Plan => {
  let left = Math.floor(chanceFor(seed, "pause")() * 14)
  return ({ changes }) => (changes && left-- === 0 ? "freeze after" : undefined)
}
export const pauses: Scenario = {
  id: "F11",
  title: "a worker stands still beyond its lease",
  run: async ({ size, seed: first }) => {
    const tally = new Tally()
    let fenced = 0
    let late = 0
    for (let seed = first; (tally.injected["freeze after"] ?? 0) < pausesOf[size]; seed++) {
      const base = fixtures[seed % fixtures.length]!
      const fixture = { ...base, processes: ["one", "two"] }
      const executed = tally.play(`${fixture.name}, seed ${seed}`, fixture, {
        seed,
        plan: once(seed),
        freezes: [2 * leaseMillis, 8 * leaseMillis],
        hasty: true
      })
      fenced += executed.world.log.fenced
      late += executed.world.withheld
    }
    const { executions, injected, violations } = tally
    if (fenced === 0) violations.push("no append was fenced: nobody had taken over")
    return { injected, found: { executions, "fenced appends": fenced, "calls not sent": late, violations: violations.length }, violations }
  }
}
