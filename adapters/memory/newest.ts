/** A value that changes, as a stream: as it is at first, then its newest form; who is slow misses those in between. */
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"

/** `onChange` calls back at each change, and returns how to stop. */
export const newest = <A>(read: () => A, onChange: (changed: () => void) => () => void): Stream.Stream<A> =>
  Stream.callback<A>(
    (queue) =>
      Effect.acquireRelease(
        Effect.sync(() => {
          const tell = () => void Queue.offerUnsafe(queue, read())
          tell()
          return onChange(tell)
        }),
        (stop) => Effect.sync(stop)
      ),
    { bufferSize: 1, strategy: "sliding" }
  )
