/** F3, F10, F11 and F12, with every change; and the executions that once failed. */
import { assert, describe, it } from "vitest"
import { atPSize } from "../faults/at-p-size.ts"
import { busFaults } from "./bus-faults.ts"
import { violationsOf } from "./checker.ts"
import { execute } from "./execution.ts"
import { manyFaults, playSeeds } from "./many-faults.ts"
import { pauses } from "./pauses.ts"
import { failedOnce, failedSeeds } from "./regressions.ts"
import { takeovers } from "./takeovers.ts"

atPSize(manyFaults, "ends in order whatever comes together")
atPSize(busFaults, "needs no message of the bus")
atPSize(pauses, "fences who stood still")
atPSize(takeovers, "fences one of two owners")

describe("what failed once", () => {
  for (const { name, fixture, options } of failedOnce)
    it(name, () => {
      const executed = execute(fixture, options())
      assert.isAbove(executed.world.injected.size, 0, "the fault no longer happens: its place in the code has another name")
      assert.deepStrictEqual(violationsOf(executed), [])
    })
  it("stays repaired, seed by seed", () => {
    for (const seed of failedSeeds) assert.deepStrictEqual(playSeeds(seed, 1).violations, [])
  })
})
