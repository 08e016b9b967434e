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
const workMillis = 250

/** Collects this thread's garbage in the first quiet moment after its start, and after each stretch of work since. Never ends. */
export const tidyWhenQuiet: Effect.Effect<never> = Effect.suspend(() => {
  const collect = collector()
  let looked = performance.eventLoopUtilization()
  let tidied = 0
  return Effect.forever(
    Effect.delay(
      Effect.sync(() => {
        const now = performance.eventLoopUtilization()
        const { utilization } = performance.eventLoopUtilization(now, looked)
        looked = now
        if (utilization > quietShare || now.active - tidied < workMillis) return
        collect()
        looked = performance.eventLoopUtilization()
        tidied = looked.active
      }),
      lookMillis
    )
  )
})
