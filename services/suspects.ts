/**
 * Suspects: what was in hand when the process died, twice or more. One of them may be what killed it, so they go on one after the
 * other: then a crash points at one suspect, and those that only happened to be there get further (R14).
 */
import { Context, Effect, Fiber, Layer, Semaphore } from "effect"

/** The next one has its turn when this one is done, or when the process has survived it for so long. */
const survivedMillis = 250

export class Suspects extends Context.Service<
  Suspects,
  {
    /** Waits for its turn, then begins; the turn is over with the work, or after a time that a deadly step would not have left. */
    readonly alone: <A, E>(work: Effect.Effect<A, E>) => Effect.Effect<A, E>
  }
>()("tributary/services/Suspects") {
  static readonly layer = Layer.effect(
    Suspects,
    Effect.map(Semaphore.make(1), (turn) =>
      Suspects.of({
        alone: Effect.fnUntraced(function* <A, E>(work: Effect.Effect<A, E>) {
          const begun = Effect.gen(function* () {
            const fiber = yield* Effect.forkChild(work, { startImmediately: true })
            yield* Effect.timeoutOption(Fiber.await(fiber), survivedMillis)
            return fiber
          })
          return yield* Fiber.join(yield* Semaphore.withPermits(turn, 1)(begun))
        })
      })
    )
  )
}
