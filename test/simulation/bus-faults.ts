/** F10: wake-ups dropped, doubled and out of order, between two workers. */
import type { Scenario } from "../faults/scenario.ts"
import { noFaults } from "./faults.ts"
import { fixtures } from "./fixtures.ts"
import { Tally } from "./tally.ts"

const messages = { P: 5_000, N: 20_000, R: 100_000 }
const faults = { dropped: 0.1, doubled: 0.3, reorderedWithin: 50 }
const perExecution = 100

export const busFaults: Scenario = {
  id: "F10",
  title: "a bus that drops, doubles and reorders",
  run: async ({ size, seed: first }) => {
    const tally = new Tally()
    let announced = 0
    for (let seed = first; announced < messages[size]; seed++) {
      const base = fixtures[seed % fixtures.length]!
      const fixture = { ...base, processes: ["one", "two"], announcements: perExecution }
      const { world } = tally.play(`${fixture.name}, seed ${seed}`, fixture, { seed, plan: noFaults, busFaults: faults })
      const { figures } = world.bus
      announced += figures.announced
      tally.add("dropped", figures.dropped)
      tally.add("doubled", figures.doubled)
      tally.add("reordered", figures.reordered)
    }
    const { executions, injected, violations } = tally
    return { injected, found: { messages: announced, executions, violations: violations.length }, violations }
  }
}
