/** One line of the bench: what was measured, what it is compared with, and whether it is good enough. */

/** What a row has to reach; `ratio` is its value divided by its reference. */
export interface Target {
  readonly of: "value" | "ratio"
  readonly bound: "least" | "most"
  readonly limit: number
}

/** A measured quantity before it is judged. */
export interface Measured {
  readonly name: string
  readonly value: number
  readonly unit: string
  /** The same quantity of the raw loop, measured between the rounds of the subject; null where the target is absolute. */
  readonly reference: number | null
  readonly targets: ReadonlyArray<Target>
  /** Median of the rounds' own ratios where it was taken; else value / reference. */
  readonly ratio?: number
}

/** The line as `--json` prints it. */
export interface Row {
  readonly name: string
  readonly value: number
  readonly unit: string
  readonly reference: number | null
  readonly ratio: number | null
  readonly target: string
  readonly ok: boolean
}

export const atLeast = (limit: number): Target => ({ of: "value", bound: "least", limit })
export const atMost = (limit: number): Target => ({ of: "value", bound: "most", limit })
export const ratioAtLeast = (limit: number): Target => ({ of: "ratio", bound: "least", limit })

/** Four significant digits at most: more would claim a precision that the machine does not have. */
const rounded = (value: number): number => (Math.abs(value) >= 1000 ? Math.round(value) : Number(value.toPrecision(4)))

const targetText = (unit: string, { of, bound, limit }: Target): string => {
  const sign = bound === "least" ? "≥" : "≤"
  return of === "ratio" ? `ratio ${sign} ${limit}` : `${sign} ${limit} ${unit}`
}

const reached = (value: number, ratio: number | null, { of, bound, limit }: Target): boolean => {
  const judged = of === "ratio" ? ratio : value
  return judged !== null && Number.isFinite(judged) && (bound === "least" ? judged >= limit : judged <= limit)
}

export const judge = ({ name, value, unit, reference, targets, ratio: given }: Measured): Row => {
  const ratio = given ?? (reference === null || reference === 0 ? null : value / reference)
  return {
    name,
    value: rounded(value),
    unit,
    reference: reference === null ? null : rounded(reference),
    ratio: ratio === null ? null : Number(ratio.toFixed(3)),
    target: targets.map((target) => targetText(unit, target)).join(", "),
    ok: targets.every((target) => reached(value, ratio, target))
  }
}

export const median = (values: ReadonlyArray<number>): number => {
  const sorted = [...values].sort((left, right) => left - right)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}
