/** Executions that once failed, by what goes wrong in them, and seeds of `many-faults.ts` as they were found. */
import type { ExecutionOptions } from "./execution.ts"
import type { Fault, Plan, Point } from "./faults.ts"
import { effects, type Fixture, fanOut } from "./fixtures.ts"

export interface FailedOnce {
  /** The rule that was broken: finishes the sentence "it …". */
  readonly name: string
  readonly fixture: Fixture
  /** A plan counts: each execution takes a fresh one. */
  readonly options: () => ExecutionOptions
}

interface Step {
  readonly when: (point: Point) => boolean
  /** Undefined: it passes. */
  readonly fault: Fault | undefined
  /** Times that it happens, one after the other. */
  readonly times?: number
}
/** Faults one after the other, each at the next I/O that fits. */
const inTurn = (...steps: ReadonlyArray<Step>): Plan => {
  const left = steps.flatMap(({ times = 1, ...step }) => Array<Omit<Step, "times">>(times).fill(step))
  return (point) => (left[0]?.when(point) === true ? left.shift()!.fault : undefined)
}
const appends =
  (type: string) =>
  ({ port, what }: Point): boolean =>
    port === "journal" && what.startsWith("append") && what.includes(type)
const calls =
  (path: string) =>
  ({ port, what }: Point): boolean =>
    port === "vendor" && what.includes(path)

export const failedOnce: ReadonlyArray<FailedOnce> = [
  {
    name: "keeps an event open while its run is not on record (the run's first append failed)",
    fixture: effects,
    options: () => ({ seed: 1, plan: inTurn({ when: appends("RunStarted"), fault: "error" }) })
  },
  {
    name: "says that it goes on with a run, also when saying so failed at first",
    fixture: effects,
    options: () => ({
      seed: 1,
      plan: inTurn({ when: calls("/look"), fault: "crash after" }, { when: appends("RunResumed"), fault: "error", times: 2 })
    })
  },
  {
    name: "gives an event the unit that it had, also when midnight came in between",
    fixture: {
      ...fanOut,
      quota: { limit: 1, mode: "block" },
      deliveries: [
        { order: 1, at: 100 },
        { order: 2, at: 30_500 }
      ]
    },
    options: () => ({ seed: 1, plan: (point) => (point.at < 30_000 && appends("RunStarted")(point) ? "error" : undefined) })
  },
  {
    name: "does not give up a call of another process that may still be on its way",
    fixture: { ...effects, processes: ["one", "two"] },
    options: () => ({ seed: 3, plan: inTurn({ when: calls("/mails"), fault: "freeze after" }), freezes: [14_000, 14_001], hasty: true })
  },
  {
    name: "does not give up such a call either when the other's clock is an hour behind",
    fixture: { ...effects, processes: ["one", "two"] },
    options: () => ({
      seed: 22,
      plan: inTurn(
        { when: appends("RunStarted"), fault: "clock jump" },
        { when: appends("StepSucceeded,StepStarted"), fault: undefined },
        { when: appends("StepSucceeded,StepStarted"), fault: "freeze after" }
      ),
      freezes: [9_000, 9_001],
      hasty: true
    })
  }
]

/** Of `many-faults.ts`; a seed means another execution once the generator changes, and is kept as long as it is a good one. */
export const failedSeeds: ReadonlyArray<number> = [8176, 56055, 43609, 86312, 111405]
