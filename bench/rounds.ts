/** Rounds: repeated while others use the machine, within bounds, so that a figure tells of us and not of our neighbours. */
import { cpuSecondsOfBench, cpuSecondsOfMachine } from "./child.ts"

/** Rounds in which other processes used more of a core than this are repeated. */
const othersCoresMax = 0.3
/** Of all rounds of one group together. */
const repeatsMax = 2

export interface Settings {
  readonly rounds: number
  /** Shorter loads and smaller seeds: a first impression. */
  readonly quick: boolean
  /** Tells the person who waits; nothing with `--json`. */
  readonly tell: (line: string) => void
}

interface Watched<A> {
  readonly result: A
  readonly othersCores: number
}

const watched = async <A>(round: () => Promise<A>): Promise<Watched<A>> => {
  const began = performance.now()
  const machine = cpuSecondsOfMachine()
  const bench = cpuSecondsOfBench()
  const result = await round()
  const seconds = (performance.now() - began) / 1000
  return { result, othersCores: (cpuSecondsOfMachine() - machine - (cpuSecondsOfBench() - bench)) / seconds }
}

/** The quietest rounds that could be had. Each measures its reference and its subject one after the other. */
export const inRounds = async <A>(
  name: string,
  { rounds, tell }: Settings,
  round: (index: number) => Promise<A>
): Promise<ReadonlyArray<A>> => {
  const all: Array<Watched<A>> = []
  const quiet = () => all.filter(({ othersCores }) => othersCores <= othersCoresMax).length
  while (quiet() < rounds && all.length < rounds + repeatsMax) {
    all.push(await watched(() => round(all.length)))
    tell(`${name}: round ${all.length}, others used ${all.at(-1)!.othersCores.toFixed(2)} of a core`)
  }
  return all
    .sort((left, right) => left.othersCores - right.othersCores)
    .slice(0, rounds)
    .map(({ result }) => result)
}
