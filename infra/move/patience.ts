/** Repeats what the log's server could not answer for the moment: a move outlasts a restart of it. */
import { StoreFailure } from "#adapters/eventstoredb/failure.ts"

/** A server that answers nothing for so long ends the move. */
export const patienceMillis = 60_000
export const pauseMillis = 500

/** Whether waiting may help. */
export const mayPass = (cause: unknown): boolean => cause instanceof StoreFailure && cause.failure.kind !== "credentials"

export const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, pauseMillis))

/** For what can be repeated without harm. */
export const patiently = async <A>(work: () => Promise<A>): Promise<A> => {
  const giveUpAt = Date.now() + patienceMillis
  for (;;) {
    try {
      return await work()
    } catch (cause) {
      if (!mayPass(cause) || Date.now() > giveUpAt) throw cause
    }
    await pause()
  }
}
