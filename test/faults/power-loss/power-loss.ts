/** F4: loss of power. Writes that no flush had covered are gone, or torn; what was acknowledged is there all the same. */
import type { BySize, Scenario } from "../scenario.ts"
import { journalLosses } from "./journal-losses.ts"
import { platformLosses } from "./platform-losses.ts"

const everyWrite = Number.POSITIVE_INFINITY
const journalCuts: BySize = { P: 60, N: 1_000, R: everyWrite }
const rounds: BySize = { P: 250, N: 400, R: 800 }
const platformCuts: BySize = { P: 2, N: 20, R: 200 }
const orders: BySize = { P: 40, N: 100, R: 100 }

export const powerLoss: Scenario = {
  id: "F4",
  title: "loss of power",
  run: async ({ size, seed, random, say }) => {
    const journal = journalLosses({ seed, rounds: rounds[size], cuts: journalCuts[size], random })
    if ("skipped" in journal) return journal
    if (size !== "P") {
      const weak = journalLosses({ seed, rounds: rounds.P, cuts: journalCuts.P, random, weak: true })
      if (!("skipped" in weak))
        say(`for contrast, synchronous=NORMAL: ${weak.flushes} flushes, ${weak.violations.length} broken promises in ${weak.losses} losses`)
    }
    const platform = await platformLosses({ orders: orders[size], cuts: platformCuts[size], random })
    if ("skipped" in platform) return platform
    return {
      injected: { "losses under the journal": journal.losses, "losses under the platform": platform.losses },
      found: {
        "writes and flushes recorded": journal.entries,
        "journal flushes": journal.flushes,
        "changes acknowledged to the journal's client": journal.acknowledged,
        "events acknowledged by the platform": platform.acknowledged,
        "unflushed writes at the losses": journal.unflushed + platform.unflushed,
        "broken promises": journal.violations.length + platform.violations.length
      },
      violations: [
        ...journal.violations,
        ...platform.violations,
        ...(journal.unflushed > 0 ? [] : ["no write was ever lost: the cuts hit nothing"])
      ]
    }
  }
}
