/**
 * Suspects: what was in hand when the process died, twice or more. One of them may be what killed it, so they go on one after the
 * other: then a crash points at one suspect, and those that only happened to be there get further (R14).
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"

/** The next one has its turn when this one is done, or when the process has survived it for so long. */
const survivedMillis = 250
/** Those found at the same start are let gather first, so that the one with the fewest deaths begins. */
const gatherMillis = 20

/** So long after a death, everything is recorded before it is worked on: what is not on record cannot be counted as a death. */
const wakeMillis = 600_000

/** Whether the process before this one ended without a word. */
export const PredecessorDied = Context.Reference<boolean>("tributary/services/PredecessorDied", { defaultValue: () => false })

interface Waiting {
  readonly deaths: number
  readonly begin: () => void
}

export class Suspects extends Context.Service<
  Suspects,
  {
    /**
     * Whether work may begin before the event that it is for is on record. Not after a death: it may have been such an event, and its
     * sender will repeat it.
     */
    readonly calm: () => boolean
    /**
     * Waits for its turn, then begins; the turn is over with the work, or after a time that a deadly step would not have left. Who
     * was at hand at fewer deaths comes first: otherwise the oldest would be at hand at each.
     */
    readonly alone: <A, E>(deaths: number, work: Effect.Effect<A, E>) => Effect.Effect<A, E>
  }
>()("tributary/services/Suspects") {
  static readonly layer = Layer.effect(
    Suspects,
    Effect.map(Effect.all([PredecessorDied, Clock.Clock]), ([died, clock]) => {
      const millis = () => Number(clock.monotonicTimeNanosUnsafe() / 1_000_000n)
      const calmFrom = died ? millis() + wakeMillis : Number.NEGATIVE_INFINITY
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
        calm: () => millis() >= calmFrom,
        alone: Effect.fnUntraced(function* <A, E>(deaths: number, work: Effect.Effect<A, E>) {
          yield* open
          yield* turnOf(deaths)
          const fiber = yield* Effect.forkChild(work, { startImmediately: true })
          yield* Effect.ensuring(Effect.timeoutOption(Fiber.await(fiber), survivedMillis), handOn)
          return yield* Fiber.join(fiber)
        })
      })
    })
  )
}
