/** The meter of one evaluation. It counts work, not time: a slow machine or a clock that is set changes no result (JSONata's own time limit would). */
import type { ExpressionFailed } from "#services/ports/expressions.ts"

export type Limit = NonNullable<ExpressionFailed["limit"]>

/** An evaluation was ended, by the limit named, or for another reason that JSONata itself does not know. */
export class Stopped extends Error {
  readonly limit: Limit | undefined
  constructor(limit: Limit | undefined, reason: string) {
    super(reason)
    this.limit = limit
  }
}

export interface Limits {
  /** Steps of evaluation, and a step more for every 64 characters or items that one handles. About 1 µs each. */
  readonly workMax: number
  /** Characters of one string, and of all that a list or object holds when written out. */
  readonly charsMax: number
  /** Items and 8-character pieces of text created in all. */
  readonly cellsMax: number
  /** Evaluations begun and not ended: nested ones, and the fields of one object, which JSONata evaluates side by side. */
  readonly depthMax: number
  /** Items of one list. */
  readonly sequenceMax: number
  /** Characters of the result. */
  readonly outputCharsMax: number
  readonly expressionCharsMax: number
}

export const defaultLimits: Limits = {
  workMax: 250_000,
  charsMax: 4_194_304,
  cellsMax: 2_097_152,
  depthMax: 5_000,
  sequenceMax: 10_000,
  outputCharsMax: 1_048_576,
  expressionCharsMax: 32_768
}

/** Levels of lists and objects within each other, while evaluating. */
const valueDepthMax = 500

/** An evaluation gives way to everything else in the process after so long, and goes on in the next turn. */
const sliceMillis = 5

/** Results of these are parts of something that was measured when it was made. */
const madeNothing = new Set(["name", "variable", "string", "number", "value"])

export const isFunction = (value: unknown): boolean =>
  typeof value === "function" ||
  (typeof value === "object" && value !== null && ("_jsonata_lambda" in value || "_jsonata_function" in value))

export class Meter {
  private work = 0
  private cells = 0
  private sliceStart = performance.now()
  private readonly limits: Limits
  /** Characters that a list or object takes when written, shared parts counted each time: they are shared in memory only. */
  private weights: Map<object, number> | undefined

  constructor(limits: Limits) {
    this.limits = limits
  }

  /** After each step. A promise when it is time to give way. */
  step(type: string | undefined, result: unknown): Promise<void> | undefined {
    const size = typeof result === "string" ? result.length : Array.isArray(result) ? result.length : 0
    this.spend(1 + (size >> 6))
    if (type !== undefined && !madeNothing.has(type)) this.made(result, size)
    const now = performance.now()
    return now - this.sliceStart < sliceMillis ? undefined : this.giveWay()
  }

  spend(work: number) {
    this.work += work
    if (this.work > this.limits.workMax) throw new Stopped("time", "it takes too many steps")
  }

  /** Objects were changed after they had been weighed. */
  forgetWeights() {
    this.weights = undefined
  }

  private made(result: unknown, size: number) {
    if (typeof result === "string") {
      this.cells += size >> 3
      if (size > this.limits.charsMax) throw new Stopped("output", `a text grows beyond ${this.limits.charsMax} characters`)
    } else if (typeof result === "object" && result !== null) {
      this.cells += size + 1
      this.weigh(result, 0)
    }
    if (this.cells > this.limits.cellsMax) throw new Stopped("output", "it creates too many values")
  }

  private weigh(value: unknown, depth: number): number {
    if (typeof value === "string") return value.length + 2
    if (typeof value !== "object" || value === null) return 8
    const known = this.weights?.get(value)
    if (known !== undefined) return known
    if (depth > valueDepthMax) throw new Stopped("depth", `a value is nested deeper than ${valueDepthMax} levels`)
    let weight = 8
    if (Array.isArray(value)) for (const item of value) weight += this.weigh(item, depth + 1)
    else if (!isFunction(value))
      for (const key of Object.keys(value)) weight += key.length + this.weigh((value as Record<string, unknown>)[key], depth + 1)
    if (weight > this.limits.charsMax) throw new Stopped("output", `a value grows beyond ${this.limits.charsMax} characters`)
    this.weights ??= new Map()
    this.weights.set(value, weight)
    return weight
  }

  private giveWay(): Promise<void> {
    return new Promise((resolve) =>
      setImmediate(() => {
        this.sliceStart = performance.now()
        resolve()
      })
    )
  }
}
