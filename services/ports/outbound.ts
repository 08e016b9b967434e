/** Calls to the outside: every URL goes through the egress guard, and nothing else in the product opens a connection out. */
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import type * as Effect from "effect/Effect"

export interface OutboundRequest {
  readonly method: "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE"
  readonly url: string
  /** Lower-case names. Values with control characters are refused. */
  readonly headers: Readonly<Record<string, string>>
  readonly body?: Uint8Array | string
  readonly timeoutMs: number
  readonly responseBytesMax: number
  /**
   * Monotonic milliseconds (as `now` says) after which it must not be sent any more: checked just before the bytes go to the
   * socket (R11).
   */
  readonly sendBy?: number
}
export interface OutboundResponse {
  readonly status: number
  /** Lower-case names; repeated ones joined with ", ". */
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array
}

/** The guard refused the address: no connection was opened. A permanent error. */
export class EgressDenied extends Data.TaggedError("EgressDenied")<{ readonly url: string; readonly reason: string }> {
  override get message() {
    return `The call was refused before it was sent: ${this.reason}.`
  }
}
/** No complete answer. `sent`: "no" when surely no byte of the request left, else "unknown". */
export class CallFailed extends Data.TaggedError("CallFailed")<{
  readonly kind: "timeout" | "connect" | "reset" | "too-large" | "too-late"
  readonly sent: "no" | "unknown"
  readonly reason: string
}> {
  override get message() {
    return `The call brought no answer: ${this.reason}.`
  }
}

export class Outbound extends Context.Service<
  Outbound,
  {
    /** The monotonic clock that `sendBy` is measured on. */
    readonly now: () => number
    /** One request, no redirects followed, no retries. */
    readonly call: (request: OutboundRequest) => Effect.Effect<OutboundResponse, EgressDenied | CallFailed>
  }
>()("tributary/ports/Outbound") {}
