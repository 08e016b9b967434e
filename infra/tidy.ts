/** Gives back the memory that past work took: V8 keeps it, however long the process is idle (measured: 50 MiB of the main thread after its start). */
import { performance } from "node:perf_hooks"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import * as Effect from "effect/Effect"

/** One full collection of this thread's heap; stops the thread for some 60 ms, so for quiet moments only. */
const collector = () => {
  setFlagsFromString("--expose-gc")
  const collect = runInNewContext("gc") as (options: object) => void
  return () => collect({ type: "major", execution: "sync", flavor: "last-resort" })
}

/** A thread is looked at this often. */
const lookMillis = 1_000
/** Quiet is a thread that was busy for less than this share of the time since the last look. */
const quietShare = 0.02
/** Busy time after which a collection is worth its pause. */
const workMillis = 100
/**
 * A thread has to be quiet for so long: not long after its start, and for a minute once it has worked. A full collection takes along compiled
 * code that nobody runs at that moment, and to compile it anew costs more than the pause (measured: 250 functions, 0.6 s of CPU).
 */
const quietMillisOf = (activeMillis: number) => (activeMillis < 2_000 ? 1_000 : 60_000)

/** Collects this thread's garbage in the first quiet moment after its start, and when it rests from work since. Never ends. */
export const tidyWhenQuiet: Effect.Effect<never> = Effect.suspend(() => {
  const collect = collector()
  let looked = performance.eventLoopUtilization()
  /** Busy time until the last collection; the start alone is worth one. */
  let tidied = -workMillis
  let quiet = 0
  return Effect.forever(
    Effect.delay(
      Effect.sync(() => {
        const now = performance.eventLoopUtilization()
        const { utilization } = performance.eventLoopUtilization(now, looked)
        looked = now
        quiet = utilization > quietShare ? 0 : quiet + lookMillis
        if (quiet < quietMillisOf(now.active) || now.active - tidied < workMillis) return
        collect()
        looked = performance.eventLoopUtilization()
        tidied = looked.active
      }),
      lookMillis
    )
  )
})
