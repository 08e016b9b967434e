/** What a fault scenario is, how it is run at a size, and how it says what it injected and what it found. */
import type { Random } from "./random.ts"
import { randomFrom } from "./random.ts"

/** P: with every `npm test`. N: nightly. R: before a release. */
export const sizes = ["P", "N", "R"] as const
export type Size = (typeof sizes)[number]
export type BySize = Readonly<Record<Size, number>>

/** The seed of every change; N and R take fresh ones. */
export const fixedSeed = 20_261_120

export interface Trial {
  readonly size: Size
  readonly seed: number
  readonly random: Random
  /** A figure or a step of a long run, printed at once. */
  readonly say: (line: string) => void
}
export interface Outcome {
  /** How many faults of each kind were injected. None at all is a failure of the test. */
  readonly injected: Readonly<Record<string, number>>
  /** Figures, in the order in which they are read. */
  readonly found: Readonly<Record<string, number | string>>
  /** Each broken promise, in a sentence that says where. */
  readonly violations: ReadonlyArray<string>
}
/** The machine lacks something that the scenario needs: it was not run, which is said and is no success. */
export interface Skipped {
  readonly skipped: string
}
export interface Scenario {
  /** As in the plan of fault tests: F1, F4, … */
  readonly id: string
  readonly title: string
  readonly run: (trial: Trial) => Promise<Outcome | Skipped>
}

export class FaultFound extends Error {
  override readonly name = "FaultFound"
}

const shown = (figures: Readonly<Record<string, number | string>>): string =>
  Object.entries(figures)
    .map(([name, value]) => `${name} ${value}`)
    .join(", ")
const violationsShown = 20

/** Runs a scenario and prints what it did. Fails on a broken promise, and when nothing was injected. */
export const perform = async (
  scenario: Scenario,
  { size, seed = fixedSeed, say = console.log }: { readonly size: Size; readonly seed?: number; readonly say?: (line: string) => void }
): Promise<Outcome | Skipped> => {
  const name = `${scenario.id} ${scenario.title} (size ${size}, seed ${seed})`
  const repeat = `Repeat it: node test/faults/run.ts ${scenario.id} --size ${size} --seed ${seed}`
  const began = performance.now()
  const outcome = await scenario.run({ size, seed, random: randomFrom(seed), say: (line) => say(`  ${line}`) }).catch((cause: unknown) => {
    throw new FaultFound(`${name} broke off. ${repeat}`, { cause })
  })
  if ("skipped" in outcome) {
    say(`SKIPPED ${name}: ${outcome.skipped}`)
    return outcome
  }
  const seconds = ((performance.now() - began) / 1_000).toFixed(1)
  say(`${name}, ${seconds} s\n  injected: ${shown(outcome.injected)}\n  found: ${shown(outcome.found)}`)
  if (!Object.values(outcome.injected).some((count) => count > 0)) throw new FaultFound(`${name} injected nothing, and so proves nothing.`)
  if (outcome.violations.length > 0) {
    const more = outcome.violations.length - violationsShown
    const list = outcome.violations.slice(0, violationsShown).concat(more > 0 ? [`… and ${more} more`] : [])
    throw new FaultFound(`${name} found ${outcome.violations.length} broken promises. ${repeat}\n- ${list.join("\n- ")}`)
  }
  return outcome
}
