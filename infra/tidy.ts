/** Gives back the memory that loading took: V8 keeps it, however long the process is idle (measured: 50 MiB of the main thread). */
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"

/** One full collection of this thread's heap; stops the thread for some 60 ms, so for quiet moments only. */
export const tidy = (): void => {
  setFlagsFromString("--expose-gc")
  const collect = runInNewContext("gc") as (options: object) => void
  collect({ type: "major", execution: "sync", flavor: "last-resort" })
}

/** How long after its start a thread has settled. */
export const settleMillis = 2_500
