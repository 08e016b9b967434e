/** F3: executions with many faults by chance, each of which its seed repeats. */
import type { Scenario } from "../faults/scenario.ts"
import { manyFaultsOf } from "./seeded.ts"
import { Tally } from "./tally.ts"

export const howToRepeat = (seed: number): string => `node test/faults/simulate.ts --from ${seed} --seeds 1 --trace`

/** Seeds of a range, one after the other. */
export const playSeeds = (from: number, count: number, tally = new Tally()): Tally => {
  for (let seed = from; seed < from + count; seed++) {
    const { fixture, options } = manyFaultsOf(seed)
    tally.play(`seed ${seed} (${fixture.name}, ${fixture.processes.length} processes; repeat: ${howToRepeat(seed)})`, fixture, options)
  }
  return tally
}

/** A change plays the same seeds as the one before, so that what it breaks shows; nights and releases play others. */
const sizes = { P: 500, N: 20_000, R: 100_000 }

export const manyFaults: Scenario = {
  id: "F3",
  title: "many faults by chance",
  run: async ({ size, seed }) => {
    const { executions, ios, injected, violations } = playSeeds(size === "P" ? 1 : seed, sizes[size])
    return { injected, found: { executions, ios, violations: violations.length }, violations }
  }
}
