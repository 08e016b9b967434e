/** One transaction, begun again a few times when it met another one. */
import { setTimeout as pause } from "node:timers/promises"
import { type ClientSession, type MongoClient, MongoError, ReadConcern, WriteConcern } from "mongodb"
import { isSocketLoss } from "./failure.ts"

/** Two runners of one model may meet; a third time is a server in trouble. */
const triesMax = 3
/** A commit that was not answered is asked for again: left alone, the transaction would hold its documents for a minute. */
const commitsMax = 5
const commitPauseMillis = 200
const options = { readConcern: new ReadConcern("snapshot"), writeConcern: new WriteConcern("majority") }

const mayRepeat = (cause: unknown, label: string): boolean =>
  isSocketLoss(cause) || (cause instanceof MongoError && cause.hasErrorLabel(label))

/** Committing twice is committing once. */
const commit = async (session: ClientSession): Promise<void> => {
  for (let tries = 1; ; tries++) {
    try {
      return await session.commitTransaction()
    } catch (cause) {
      if (!mayRepeat(cause, "UnknownTransactionCommitResult") || tries === commitsMax) throw cause
      await pause(commitPauseMillis * tries)
    }
  }
}

/** All that `work` writes with the session, on a majority when it is done, or nothing. `announce` comes first, outside of it. */
export const inTransaction = <A>(
  client: MongoClient,
  work: (session: ClientSession) => Promise<A>,
  announce: (session: ClientSession) => Promise<void>
): Promise<A> =>
  client.withSession(async (session) => {
    await announce(session)
    for (let tries = 1; ; tries++) {
      session.startTransaction(options)
      try {
        const result = await work(session)
        await commit(session)
        return result
      } catch (cause) {
        if (session.inTransaction()) await session.abortTransaction()
        if (!mayRepeat(cause, "TransientTransactionError") || tries === triesMax) throw cause
      }
    }
  })
