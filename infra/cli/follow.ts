/** Follows a stream of server-sent events for as long as it takes: a lost connection is taken up after the last event seen. */
import { Console, Effect, Queue } from "effect"
import type { Client } from "./client.ts"
import type { CommandFailed } from "./failure.ts"
import type { SentEvent } from "./sent-events.ts"

const pauseMillis = 500
const pauseMaxMillis = 10_000

type Taken = "more" | "done"

/** Hands each event over in order, once; ends when `take` is done. */
export const follow = (
  client: Client,
  path: string,
  after: string | undefined,
  take: (event: SentEvent) => Effect.Effect<Taken>
): Effect.Effect<void, CommandFailed> =>
  Effect.gen(function* () {
    let lastEventId = after
    let pause = pauseMillis
    for (;;) {
      const queue = yield* Queue.unbounded<SentEvent | "ended">()
      const reading = client
        .events(path, lastEventId, (event) => Queue.offerUnsafe(queue, event))
        .pipe(
          Effect.catchIf(
            ({ problem }) => problem.status === 503,
            () => Effect.succeed("ended" as const)
          ),
          Effect.tap((ended) => Queue.offer(queue, ended))
        )
      const done = yield* Effect.raceFirst(
        Effect.andThen(reading, Effect.never),
        Effect.gen(function* () {
          for (;;) {
            const event = yield* Queue.take(queue)
            if (event === "ended") return false
            pause = pauseMillis
            if (event.id !== undefined) lastEventId = event.id
            if ((yield* take(event)) === "done") return true
          }
        })
      )
      if (done) return
      yield* Console.error(`The connection was lost. Nothing is skipped: trying again in ${pause / 1000} s.`)
      yield* Effect.sleep(pause)
      pause = Math.min(pause * 2, pauseMaxMillis)
    }
  })
