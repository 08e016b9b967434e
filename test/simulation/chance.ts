/** Chance that a seed repeats: every part of a simulation draws from a stream of its own, so that none shifts another's. */
import { randomFrom } from "../faults/random.ts"

/** A number in [0, 1). */
export type Chance = () => number

export const chanceOf = (seed: number): Chance => randomFrom(seed).next

/** FNV-1a (32 bit) of a text, for seeds and fingerprints. */
export const fingerprint = (text: string, from = 0x811c9dc5): number => {
  let hash = from
  for (let index = 0; index < text.length; index++) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193)
  return hash >>> 0
}

/** The stream of one part, by its name. */
export const chanceFor = (seed: number, part: string): Chance => chanceOf(fingerprint(part, fingerprint(String(seed))))

export const oneOf = <A>(chance: Chance, choices: ReadonlyArray<A>): A => choices[Math.floor(chance() * choices.length)]!
export const between = (chance: Chance, low: number, high: number): number => low + chance() * (high - low)
