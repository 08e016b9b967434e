/** Chance that a seed repeats. */

export interface Random {
  /** In [0, 1). */
  readonly next: () => number
  /** From 0 to below `bound`. */
  readonly below: (bound: number) => number
  readonly oneOf: <A>(values: ReadonlyArray<A>) => A
  /** `length` pseudo-random bytes. */
  readonly bytes: (length: number) => Uint8Array
}

/** mulberry32. */
export const randomFrom = (seed: number): Random => {
  let state = seed | 0
  const next = () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
  const below = (bound: number) => Math.floor(next() * bound)
  return {
    next,
    below,
    oneOf: (values) => values[below(values.length)]!,
    bytes: (length) => Uint8Array.from({ length }, () => below(256))
  }
}

/** The value that this share of the values does not exceed; 0 when there are none. */
export const quantile = (values: ReadonlyArray<number>, share: number): number => {
  const sorted = [...values].sort((left, right) => left - right)
  return sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * share) - 1)] ?? 0
}
