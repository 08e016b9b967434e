/** Follows a stream of server-sent events for as long as it takes: a lost connection is taken up after the last event seen. */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import type { Client } from "./client.ts"
import type { CommandFailed } from "./failure.ts"
import type { SentEvent } from "./sent-events.ts"

const pauseMillis = 500
const pauseMaxMillis = 10_000

/** A server that is starting or stopping is as good as a lost connection. */
const whileAway = <A, R>(reading: Effect.Effect<A | "lost", CommandFailed, R>) =>
  Effect.catchIf(
    reading,
    ({ problem }) => problem.status === 503,
    () => Effect.succeed("lost" as const)
  )

/** Hands each event over in order, once; ends when `take` says that it is done. */
export const follow = (
  client: Client,
  path: string,
  after: string | undefined,
  take: (event: SentEvent) => "more" | "done"
): Effect.Effect<void, CommandFailed> =>
  Effect.gen(function* () {
    let lastEventId = after
    let pause = pauseMillis
    const taken = (event: SentEvent) => {
      pause = pauseMillis
      if (event.id !== undefined) lastEventId = event.id
      return take(event)
    }
    while ((yield* whileAway(client.events(path, lastEventId, taken))) === "lost") {
      const skipped = lastEventId === undefined ? "What happens meanwhile is missed" : "Nothing is skipped"
      yield* Console.error(`The connection was lost. ${skipped}: trying again in ${pause / 1000} s.`)
      yield* Effect.sleep(pause)
      pause = Math.min(pause * 2, pauseMaxMillis)
    }
  })
