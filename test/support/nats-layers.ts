/** NATS adapters as a test opens them: on a server of the test's, under a name of their own, gone afterwards. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as MemoryOwnership from "#adapters/memory/ownership.ts"
import { type BusOptions, layer as busLayer } from "#adapters/nats/bus.ts"
import * as Connection from "#adapters/nats/connection.ts"
import { workStreamName } from "#adapters/nats/work-stream.ts"

let count = 0
/** A prefix that no test used before. */
export const freshPrefix = (): string => `test-${process.pid}-${++count}`

export const connectionTo = (url: string) => Connection.layer({ url: Redacted.make(url), name: "test" })

/** Deletes a stream when the test is over. */
export const streamGoes = (name: string) =>
  Layer.effectDiscard(
    Effect.flatMap(Connection.Nats, ({ streams }) =>
      Effect.addFinalizer(() => Effect.ignore(Effect.tryPromise(() => streams.streams.delete(name))))
    )
  )

/** A bus on a connection of its own, for a process that owns all buckets unless said otherwise. */
export const natsBus = (
  url: string,
  options: Partial<BusOptions> = {},
  ownership: typeof MemoryOwnership.layer = MemoryOwnership.layer
) => {
  const prefix = options.prefix ?? freshPrefix()
  return busLayer({ ...options, prefix }).pipe(
    Layer.provide(ownership),
    Layer.provideMerge(options.prefix === undefined ? streamGoes(workStreamName(prefix)) : Layer.empty),
    Layer.provideMerge(connectionTo(url))
  )
}
