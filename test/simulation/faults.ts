/** Faults of one I/O, and who decides which one has which. */
import { between, type Chance, oneOf } from "./chance.ts"
import type { Port } from "./gate.ts"

export const faults = [
  /** It fails before anything was done, and says so. */
  "error",
  /** The process dies before it left. */
  "crash before",
  /** It is done, and then the process dies without an answer. */
  "crash after",
  /** It is done, and the answer is lost. */
  "unanswered",
  /** It is never done, and nobody says so. */
  "timeout",
  /** Nobody answers in time, and then it is done after all. */
  "late",
  /** The process stands still before it left, and goes on much later. */
  "freeze before",
  /** It is done, and the process stands still before it hears of it. */
  "freeze after",
  /** It is done; the process's wall clock jumps for a while. */
  "clock jump"
] as const
export type Fault = (typeof faults)[number]

/** Pointless for what changes nothing: there, a lost answer is an error like any other. */
const ofChanges: ReadonlySet<Fault> = new Set(["unanswered", "late"])
/** The faults that an I/O can have. */
export const faultsOf = ({ changes }: Pick<Point, "changes">): ReadonlyArray<Fault> =>
  changes ? faults : faults.filter((fault) => !ofChanges.has(fault))

/** One I/O as a plan sees it. */
export interface Point {
  /** Counts all I/Os of the execution, from 1. */
  readonly number: number
  readonly process: string
  readonly port: Port
  readonly what: string
  /** Its outcome may be unknown to the caller. */
  readonly changes: boolean
  /** Virtual milliseconds since the execution began. */
  readonly at: number
}
export type Plan = (point: Point) => Fault | undefined

export const noFaults: Plan = () => undefined

/** One fault at one I/O, counted from 1. */
export const single =
  (number: number, fault: Fault): Plan =>
  (point) =>
    point.number === number ? fault : undefined

export interface Chaos {
  /** Share of the I/Os that fail. */
  readonly rate: number
  /** At most so many faults. */
  readonly max: number
  /** Crashes among them at most: a few more and a run is put aside, as it should (R14). */
  readonly crashesMax: number
  /** Virtual milliseconds after which nothing fails any more. */
  readonly until: number
  readonly faults: ReadonlyArray<Fault>
}

/** Faults by chance. */
export const byChance = (chance: Chance, { rate, max, crashesMax, until, faults }: Chaos): Plan => {
  let left = max
  let crashes = crashesMax
  return ({ at, changes }) => {
    if (chance() >= rate || left === 0 || at > until) return undefined
    const fault = oneOf(chance, faults)
    if (ofChanges.has(fault) && !changes) return undefined
    if (fault.startsWith("crash")) {
      if (crashes === 0) return undefined
      crashes--
    }
    left--
    return fault
  }
}

/** A different mixture for each seed: few faults or many, of some kinds or all. */
export const chaosOf = (chance: Chance, allowed: ReadonlyArray<Fault> = faults): Chaos => {
  const chosen = allowed.filter(() => chance() < 0.6)
  return {
    rate: oneOf(chance, [0.01, 0.03, 0.08, 0.2]),
    max: Math.floor(between(chance, 1, 13)),
    crashesMax: 4,
    until: 20_000,
    faults: chosen.length === 0 ? allowed : chosen
  }
}
