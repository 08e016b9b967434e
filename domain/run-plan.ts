/** What comes next in a run: pure, from the flow's order and the state of its steps. */
import { type Run, stepOf } from "./run.ts"

/** A flow's steps, each with the indexes of those that it waits for, in an order in which those come first. */
export interface RunGraph {
  readonly ids: ReadonlyArray<string>
  readonly order: ReadonlyArray<number>
  readonly needs: ReadonlyArray<ReadonlyArray<number>>
}

const isDone = (run: Run, id: string): boolean => {
  const { status } = stepOf(run, id)
  return status === "succeeded" || status === "continued"
}

/** Indexes of the steps that can be begun now: never begun or due again, with everything done that they wait for. */
export const readySteps = (graph: RunGraph, run: Run, now: number): ReadonlyArray<number> => {
  const ready: Array<number> = []
  for (const index of graph.order) {
    const step = stepOf(run, graph.ids[index]!)
    const due = step.status === "pending" || (step.status === "retrying" && (step.retryAt ?? 0) <= now)
    if (due && graph.needs[index]!.every((needed) => isDone(run, graph.ids[needed]!))) ready.push(index)
  }
  return ready
}

/** How the run stands when nothing can be begun and nothing is in flight. */
export type Standing =
  | { readonly _tag: "Done" }
  | { readonly _tag: "Failed"; readonly index: number }
  /** A retry time, a decision or a connection is awaited. */
  | { readonly _tag: "Waits" }

export const standing = (graph: RunGraph, run: Run): Standing => {
  let waits = false
  for (const index of graph.order) {
    const { status } = stepOf(run, graph.ids[index]!)
    if (status === "failed") return { _tag: "Failed", index }
    if (status === "retrying" || status === "undecided" || status === "started") waits = true
  }
  return waits || run.status === "parked" ? { _tag: "Waits" } : { _tag: "Done" }
}

/** Milliseconds before the next attempt: doubled for each try up to the maximum, the upper half by chance, not before the vendor says. */
export const backoffMillis = (
  policy: { readonly backoffMillis: number; readonly backoffMaxMillis: number },
  tries: number,
  fraction: number,
  retryAfterMillis = 0
): number => {
  const ceiling = Math.min(policy.backoffMillis * 2 ** Math.min(tries, 30), policy.backoffMaxMillis)
  return Math.max(Math.ceil(ceiling * (0.5 + fraction / 2)), retryAfterMillis)
}
