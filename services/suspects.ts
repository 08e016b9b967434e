/**
 * Suspects: what was in hand when the process died, twice or more. One of them may be what killed it, so they go on one after the
 * other: then a crash points at one suspect, and those that only happened to be there get further (R14).
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"

/** The next one has its turn when this one is done, or when the process has survived it for so long. */
const survivedMillis = 250
/** Those found at the same start are let gather first, so that the one with the fewest deaths begins. */
const gatherMillis = 20

interface Waiting {
  readonly deaths: number
  readonly begin: () => void
}

export class Suspects extends Context.Service<
  Suspects,
  {
    /**
     * Waits for its turn, then begins; the turn is over with the work, or after a time that a deadly step would not have left. Who
     * was at hand at fewer deaths comes first: otherwise the oldest would be at hand at each.
     */
    readonly alone: <A, E>(deaths: number, work: Effect.Effect<A, E>) => Effect.Effect<A, E>
  }
>()("tributary/services/Suspects") {
  static readonly layer = Layer.sync(Suspects, () => {
    const waiting: Array<Waiting> = []
    let taken = false

    const next = () => {
      let first = 0
      for (let index = 1; index < waiting.length; index++) if (waiting[index]!.deaths < waiting[first]!.deaths) first = index
      const [turn] = waiting.splice(first, 1)
      if (turn === undefined) taken = false
      else turn.begin()
    }

    const turnOf = (deaths: number) =>
      Effect.callback<void>((resume) => {
        const turn: Waiting = { deaths, begin: () => resume(Effect.void) }
        waiting.push(turn)
        return Effect.sync(() => {
          const index = waiting.indexOf(turn)
          if (index !== -1) waiting.splice(index, 1)
        })
      })

    /** By a fiber of its own: thousands that fail at once must not end up inside each other. */
    const handOn = Effect.asVoid(Effect.forkDetach(Effect.sync(next)))

    /** The first to come opens the turns. */
    const open = Effect.suspend(() => {
      if (taken) return Effect.void
      taken = true
      return Effect.asVoid(Effect.forkDetach(Effect.andThen(Effect.sleep(gatherMillis), Effect.sync(next))))
    })

    return Suspects.of({
      alone: Effect.fnUntraced(function* <A, E>(deaths: number, work: Effect.Effect<A, E>) {
        yield* open
        yield* turnOf(deaths)
        const fiber = yield* Effect.forkChild(work, { startImmediately: true })
        yield* Effect.ensuring(Effect.timeoutOption(Fiber.await(fiber), survivedMillis), handOn)
        return yield* Fiber.join(fiber)
      })
    })
  })
}
