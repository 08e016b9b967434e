/** Wake-ups within one process: what is lost with it stands in the open-work index. */
import { Effect, Layer, Queue, Stream } from "effect"
import type { Scope, ScopeKey } from "#domain/scope.ts"
import { Bus, type Ticket } from "#services/ports/bus.ts"

export const layer = Layer.effect(
  Bus,
  Effect.gen(function* () {
    const queue = yield* Queue.unbounded<Scope>()
    const attempts = new Map<ScopeKey, number>()
    const announce = (scope: Scope) =>
      Effect.suspend(() => {
        if (attempts.has(scope.key)) return Effect.void
        attempts.set(scope.key, 0)
        return Effect.asVoid(Queue.offer(queue, scope))
      })
    const ticketFor = (scope: Scope): Ticket => {
      const attempt = (attempts.get(scope.key) ?? 0) + 1
      attempts.set(scope.key, attempt)
      return {
        scope,
        attempt,
        done: Effect.sync(() => void attempts.delete(scope.key)),
        later: (milliseconds) =>
          Effect.asVoid(Effect.forkDetach(Effect.andThen(Effect.sleep(milliseconds), Queue.offer(queue, scope))))
      }
    }
    return Bus.of({
      facts: { survivesPowerLoss: false },
      announce,
      work: Stream.map(Stream.fromQueue(queue), ticketFor),
      pending: Effect.sync(() => attempts.size)
    })
  })
)
