/** A scenario as a test of every change. */
import { describe, it } from "vitest"
import { perform, type Scenario } from "./scenario.ts"

export const atPSize = (scenario: Scenario, holds: string): void => {
  describe(`${scenario.id}: ${scenario.title}`, () => {
    it(holds, { timeout: 240_000 }, async (context) => {
      const outcome = await perform(scenario, { size: "P" })
      if ("skipped" in outcome) context.skip(outcome.skipped)
    })
  })
}
