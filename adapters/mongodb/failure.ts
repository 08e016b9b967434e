/** What the driver's failures are to us: never with a URL, a credential or a document in their text. */
import {
  MongoBulkWriteError,
  MongoError,
  MongoNetworkError,
  MongoServerError,
  MongoServerSelectionError,
  MongoTopologyClosedError
} from "mongodb"

const duplicateKey = 11_000
const writeConflict = 112
const namespaceNotFound = 26

export const isDuplicateKey = (cause: unknown): boolean => cause instanceof MongoServerError && cause.code === duplicateKey

/** Another transaction was at the same document, and nothing of this one was written. */
export const isWriteConflict = (cause: unknown): boolean => cause instanceof MongoServerError && cause.code === writeConflict

/** Of many writes, none failed for another reason. */
export const areDuplicateKeys = (cause: unknown): boolean => {
  if (!(cause instanceof MongoBulkWriteError) || cause.result.getWriteConcernError() !== undefined) return false
  const errors = [cause.writeErrors].flat()
  return errors.length > 0 && errors.every(({ code }) => code === duplicateKey)
}

/** There is no such collection. */
export const isMissing = (cause: unknown): boolean => cause instanceof MongoServerError && cause.code === namespaceNotFound

const socketCodes = new Set(["EPIPE", "ECONNRESET", "ECONNABORTED", "ETIMEDOUT", "ERR_STREAM_DESTROYED", "ERR_STREAM_WRITE_AFTER_END"])

/** The socket went while the driver wrote to it: it then gives Node's own error, and does not try again. */
export const isSocketLoss = (cause: unknown): boolean =>
  cause instanceof Error && !(cause instanceof MongoError) && socketCodes.has(String((cause as NodeJS.ErrnoException).code))

/** Whether it is MongoDB that failed; anything else is a defect of ours. */
export const isMongoFailure = (cause: unknown): boolean => cause instanceof MongoError || cause instanceof TimedOut || isSocketLoss(cause)

/** How long an operation may take, the search for a server and the driver's own repeats included. */
const operationMillis = 5_000

class TimedOut extends Error {
  constructor(milliseconds: number) {
    super(`MongoDB did not answer within ${milliseconds / 1000} s`)
  }
}

/** Fails when the work is not done in time: the driver has no bound over all that it tries. The work itself may still come to its end. */
export const inTime = <A>(work: () => Promise<A>, milliseconds = operationMillis): Promise<A> =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new TimedOut(milliseconds)), milliseconds)
    work()
      .then(resolve, reject)
      .finally(() => clearTimeout(timer))
  })

/** In a few words. A server's own texts are left out: they may quote what was stored. */
export const reasonOf = (cause: unknown): string => {
  if (cause instanceof TimedOut) return cause.message
  if (cause instanceof MongoServerSelectionError) return `no MongoDB server can be reached (${causeText(cause)})`
  if (cause instanceof MongoNetworkError || cause instanceof MongoTopologyClosedError || isSocketLoss(cause))
    return "the connection to MongoDB was lost"
  if (cause instanceof MongoServerError) return `MongoDB refused it (${cause.codeName ?? "error"}, code ${cause.code ?? "?"})`
  if (cause instanceof MongoError) return `the MongoDB driver failed (${cause.name})`
  return cause instanceof Error ? cause.message : String(cause)
}

/** `ECONNREFUSED`, `ENOTFOUND`, `SELF_SIGNED_CERT_IN_CHAIN` of the first server that has such a code. */
const causeText = ({ reason }: MongoServerSelectionError): string => {
  for (const { error } of reason?.servers.values() ?? [])
    for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) {
      const { code } = cause as NodeJS.ErrnoException
      if (typeof code === "string") return code
    }
  return reason?.type === "ReplicaSetNoPrimary" ? "the replica set has no primary" : "no answer"
}
