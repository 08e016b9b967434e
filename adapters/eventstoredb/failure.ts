/** What a failed call means: raw gRPC errors and the client's typed ones, told apart by code, trailer and text. */
import { JournalUnavailable } from "#services/ports/unavailable.ts"

export interface Failure {
  readonly kind: "unreachable" | "lost" | "late" | "credentials" | "not-leader" | "discovery" | "closed" | "other"
  /** "no": the call surely changed nothing. */
  readonly written: "no" | "unknown"
  readonly reason: string
  readonly cause?: unknown
}

interface ForeignError {
  readonly code?: number
  readonly details?: string
  readonly message?: string
  readonly type?: string
  readonly metadata?: { getMap(): Record<string, unknown> }
  readonly _raw?: ForeignError
}

const codes = {
  cancelled: 1,
  deadlineExceeded: 4,
  permissionDenied: 7,
  resourceExhausted: 8,
  unimplemented: 12,
  unavailable: 14,
  unauthenticated: 16
}
/** Texts of grpc-js for a call that never had a connection. */
const neverConnected = /No connection established|ECONNREFUSED|ENOTFOUND|EAI_AGAIN|Name resolution failed|certificate/iu

/** `exception` of the call's trailers. */
export const exceptionOf = (error: unknown): string | undefined => {
  const foreign = error as ForeignError
  const trailer = (foreign.metadata ?? foreign._raw?.metadata)?.getMap?.()["exception"]
  return trailer === undefined ? foreign.type : String(trailer)
}

/** The text is cut: it is the server's. */
const detailOf = (error: ForeignError): string => (error.details ?? error.message ?? String(error)).slice(0, 200)

export const failureOf = (cause: unknown, endpoint: string): Failure => {
  const error = cause as ForeignError
  const store = `EventStoreDB at ${endpoint}`
  const exception = exceptionOf(cause)
  const failed = (kind: Failure["kind"], written: Failure["written"], reason: string): Failure => ({ kind, written, reason, cause })
  if (exception === "not-leader") return failed("not-leader", "no", `${store} is not the leader of its cluster`)
  if (error.code === codes.unauthenticated)
    return failed("credentials", "no", `${store} refused the credentials; check user and password of the journal's URL or credentials file`)
  if (error.code === codes.permissionDenied || exception === "access-denied")
    return failed("credentials", "no", `${store} does not allow it with these credentials; grant its user read and write on all streams`)
  if (detailOf(error).startsWith("Failed to discover"))
    return failed("discovery", "no", `${store} named no node that can be used; check that the cluster has a leader`)
  if (error.code === codes.unavailable && neverConnected.test(detailOf(error)))
    return failed("unreachable", "no", `${store} cannot be reached (${detailOf(error)})`)
  if (error.code === codes.unavailable || error.code === codes.cancelled)
    return failed("lost", "unknown", `the connection to ${store} broke (${detailOf(error)})`)
  if (error.code === codes.deadlineExceeded) return failed("late", "unknown", `${store} did not answer in time`)
  return failed("other", "unknown", `${store} failed (${detailOf(error)})`)
}

export const lateFailure = (endpoint: string, millis: number): Failure => ({
  kind: "late",
  written: "unknown",
  reason: `EventStoreDB at ${endpoint} did not answer within ${millis} ms`
})
export const closedFailure = (endpoint: string): Failure => ({
  kind: "closed",
  written: "no",
  reason: `the connection to EventStoreDB at ${endpoint} was closed by this process`
})

/** Thrown within the adapter; becomes `JournalUnavailable` at the port. */
export class StoreFailure extends Error {
  override readonly name = "StoreFailure"
  readonly failure: Failure

  constructor(failure: Failure) {
    super(failure.reason, { cause: failure.cause })
    this.failure = failure
  }
}

export const unavailableOf = (cause: StoreFailure, written = cause.failure.written): JournalUnavailable =>
  new JournalUnavailable({ written, reason: cause.failure.reason, cause: cause.failure.cause })
