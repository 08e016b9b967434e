/** Executions by number: which world, which faults. Everything follows from the number. */
import { type BusFaults, faithful } from "./bus.ts"
import { between, type Chance, chanceFor, oneOf } from "./chance.ts"
import type { ExecutionOptions } from "./execution.ts"
import { byChance, chaosOf } from "./faults.ts"
import { type Fixture, fixtures } from "./fixtures.ts"
import type { VendorScript } from "./vendors.ts"

export interface Body {
  readonly fixture: Fixture
  readonly options: ExecutionOptions
}

const names = ["one", "two", "three"] as const

/** Vendors that are busy, down and worse now and then, by the call alone; after some calls of a step they are well. */
const moody = (chance: Chance): VendorScript => {
  const share = oneOf(chance, [0, 0.2, 0.5])
  return (_call, before) => {
    if (before >= 4 || chance() >= share) return undefined
    return oneOf(chance, [{ status: 429, headers: { "retry-after": "1" } }, { status: 503 }, { status: 500, acted: true }, { status: 502 }])
  }
}

const busFaultsOf = (chance: Chance): BusFaults =>
  chance() < 0.5 ? faithful : { dropped: chance() * 0.3, doubled: chance() * 0.4, reorderedWithin: Math.floor(chance() * 50) }

/** Some fixture with more deliveries, one to three processes, moody vendors, an unreliable bus, little memory, and faults by chance. */
export const manyFaultsOf = (seed: number): Body => {
  const chance = chanceFor(seed, "body")
  const base = oneOf(chance, fixtures)
  const processes = names.slice(0, oneOf(chance, [1, 1, 1, 2, 2, 3]))
  const more = Array.from({ length: Math.floor(chance() * 3) }, (_, index) => ({ order: 10 + index, at: between(chance, 100, 40_000) }))
  const again = base.deliveries.filter(() => chance() < 0.3).map(({ order }) => ({ order, at: between(chance, 200, 20_000) }))
  const vendors = moody(chanceFor(seed, "vendors"))
  const chaos = chaosOf(chance)
  const memory = chanceFor(seed, "memory")
  return {
    fixture: { ...base, processes, deliveries: [...base.deliveries, ...more, ...again], vendors },
    options: {
      seed,
      plan: byChance(chanceFor(seed, "faults"), chaos),
      busFaults: busFaultsOf(chance),
      // So little that most open work waits in the index.
      bounds: memory() < 0.25 ? { ready: 1 + Math.floor(memory() * 4) } : {},
      // Who decides at once about a call that arrives much later decides wrongly: no software can help that.
      hasty: processes.length > 1 && !chaos.faults.includes("late")
    }
  }
}
