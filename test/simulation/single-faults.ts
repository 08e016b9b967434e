/** F2: every single I/O of every fixture, with every fault that it can have, one at a time. */
import type { Scenario } from "../faults/scenario.ts"
import { execute } from "./execution.ts"
import { faultsOf, type Point, single } from "./faults.ts"
import { type Fixture, fixtures, probed } from "./fixtures.ts"
import { Tally } from "./tally.ts"

const played = [...fixtures, probed]

/** Seeds, each of which makes the I/Os take other times, and so come in another order. */
const seeds = { P: 4, N: 40, R: 200 }

/** The I/Os of an execution without faults. */
const pointsOf = (fixture: Fixture, seed: number): ReadonlyArray<Point> => {
  const points: Array<Point> = []
  execute(fixture, {
    seed,
    plan: (point) => {
      points.push(point)
      return undefined
    }
  })
  return points
}

export const singleFaults: Scenario = {
  id: "F2",
  title: "every I/O, failed, crashed and unanswered",
  run: async ({ size, seed: first }) => {
    const tally = new Tally()
    let points = 0
    for (const fixture of played)
      for (let seed = first; seed < first + seeds[size]; seed++)
        for (const point of pointsOf(fixture, seed)) {
          points++
          for (const fault of faultsOf(point))
            tally.play(`${fixture.name}, seed ${seed}, I/O ${point.number} (${point.what}), ${fault}`, fixture, {
              seed,
              plan: single(point.number, fault)
            })
        }
    const { executions, injected, violations } = tally
    const found = { fixtures: played.length, points, executions, violations: violations.length }
    return { injected, found, violations }
  }
}
