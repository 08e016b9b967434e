/** One seed replays one execution exactly. */
import { assert, describe, it } from "vitest"
import { execute } from "./execution.ts"
import { manyFaultsOf } from "./seeded.ts"

const traceOf = (seed: number) => {
  const { fixture, options } = manyFaultsOf(seed)
  const { world } = execute(fixture, { ...options, traced: true })
  return { hash: world.traceHash, trace: world.trace, log: [...world.log.streams.values()].map(({ name, hash }) => `${name} ${hash}`) }
}

describe("a seed", () => {
  it("replays its execution: the same I/Os at the same times, the same faults, the same log", () => {
    for (let seed = 1; seed <= 40; seed++) {
      const first = traceOf(seed)
      assert.deepStrictEqual(traceOf(seed), first)
      assert.isAbove(first.trace.length, 20)
    }
  })

  it("is not like another one", () => {
    const hashes = new Set(Array.from({ length: 40 }, (_, seed) => traceOf(seed).hash))
    assert.strictEqual(hashes.size, 40)
  })
})
