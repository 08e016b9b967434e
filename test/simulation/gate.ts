/** Where the simulated ports meet the world: each of their calls is one I/O, which may fail on either side of what it does. */
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"

export type Port = "journal" | "open-work" | "payloads" | "feed" | "vault" | "bus" | "vendor"

/** One I/O. */
export interface Call<A, E> {
  readonly port: Port
  /** For traces: the method, and what it is about. */
  readonly what: string
  /** Asked just before it leaves the process; an answer means that it does not. */
  readonly withheld?: () => Exit.Exit<A, E> | undefined
  /** It leaves the process: nobody can call it back. */
  readonly sent?: () => void
  /** Does it to the durable state, at most once. */
  readonly perform: () => Exit.Exit<A, E>
  /** The answer when it surely was not done. */
  readonly refused: () => Exit.Exit<A, E>
  /** The answer when nobody knows whether it was done; left out where that makes no difference, as for reading. */
  readonly unknown?: (why: "timeout" | "reset") => Exit.Exit<A, E>
  /** How long the caller waits for an answer. */
  readonly timeoutMillis: number
}

export interface Gate {
  readonly io: <A, E>(call: Call<A, E>) => Effect.Effect<A, E>
  /** Waits for a change of what all processes share. `listen` calls back at most once, and returns how to stop listening. */
  readonly changed: (listen: (wake: () => void) => () => void) => Effect.Effect<void>
  /** Name of the process and number of its life: remembered beside what it writes. */
  readonly writer: string
}

/** Everything is done at once and succeeds: for the contracts of the ports. */
export const openGate: Gate = {
  io: ({ perform }) => Effect.suspend(perform),
  changed: (listen) =>
    Effect.callback<void>((resume) => {
      const stop = listen(() => resume(Effect.void))
      return Effect.sync(stop)
    }),
  writer: "contract"
}
