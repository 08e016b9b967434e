/** One call out, as undici drives it: its deadlines, its size limit, and what is known of it when it fails. */
import type { Dispatcher } from "undici"
import { CallFailed, EgressDenied, type OutboundRequest, type OutboundResponse } from "#services/ports/outbound.ts"
import { AddressRefused } from "../net/egress-lookup.ts"

type Kind = CallFailed["kind"]
type Headers = Readonly<Record<string, string | ReadonlyArray<string> | undefined>>

/** Thrown to undici before a request is written: it drops the request and keeps the connection. */
const notWanted = new Error("not wanted")
const tooLate = new Error("too late")
/** Given to undici when a call is over before its answer is: it destroys the connection. */
const abandoned = new Error("abandoned")
const noBytes = new Uint8Array(0)

const flatten = (headers: Headers): Record<string, string> => {
  const flat: Record<string, string> = {}
  for (const name in headers) {
    const value = headers[name]
    if (value !== undefined && name !== "__proto__") flat[name] = typeof value === "string" ? value : value.join(", ")
  }
  return flat
}

export interface ExchangeOutcome {
  readonly succeed: (response: OutboundResponse) => void
  readonly fail: (failure: EgressDenied | CallFailed) => void
}

export class Exchange implements Dispatcher.DispatchHandler {
  readonly options: Dispatcher.DispatchOptions
  private readonly request: OutboundRequest
  private readonly origin: string
  private readonly now: () => number
  private readonly outcome: ExchangeOutcome
  private readonly timer: NodeJS.Timeout
  private controller: Dispatcher.DispatchController | undefined
  private status = 0
  private headers: Headers = {}
  private first: Uint8Array | undefined
  private more: Array<Uint8Array> | undefined
  private bytes = 0
  private settled = false
  private released: (() => void) | undefined

  constructor(request: OutboundRequest, origin: string, url: URL, headers: Array<string>, now: () => number, outcome: ExchangeOutcome) {
    this.request = request
    this.origin = origin
    this.now = now
    this.outcome = outcome
    this.options = { path: url.pathname + url.search, method: request.method, headers, body: request.body ?? null }
    this.timer = setTimeout(timedOut, request.timeoutMs, this)
  }

  /**
   * `released` is called once, when undici is done with this exchange and its connection may serve another. A method, as V8 allocates a
   * function that is assigned to a property in old memory (bench/README.md).
   */
  whenReleased(released: () => void) {
    this.released = released
  }

  /** True when the caller has its answer already: there is nothing left to send. */
  get isOver() {
    return this.settled
  }

  /** The last moment before the bytes go to the socket (R11). */
  onRequestStart(controller: Dispatcher.DispatchController) {
    if (this.settled) throw notWanted
    const { sendBy } = this.request
    if (sendBy !== undefined && this.now() > sendBy) throw tooLate
    this.controller = controller
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number, headers: Headers) {
    if (status < 200) return
    this.status = status
    this.headers = headers
    if (this.request.method !== "HEAD" && Number(headers["content-length"]) > this.request.responseBytesMax) this.refuseSize()
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Uint8Array) {
    if (this.settled) return
    this.bytes += chunk.length
    if (this.bytes > this.request.responseBytesMax) return this.refuseSize()
    if (this.first === undefined) this.first = chunk
    else if (this.more === undefined) this.more = [this.first, chunk]
    else this.more.push(chunk)
  }

  onResponseEnd() {
    // First, so that a call made at once in answer to this one finds the connection idle.
    this.release()
    if (!this.settle()) return
    const body = this.more === undefined ? (this.first ?? noBytes) : Buffer.concat(this.more)
    this.outcome.succeed({ status: this.status, headers: flatten(this.headers), body })
  }

  onResponseError(_controller: unknown, error: Error & { readonly code?: string }) {
    this.release()
    if (!this.settled) this.explain(error)
  }

  /** Ends the call without an answer: timed out, or nobody waits for it any more. A connection in use is destroyed. */
  stop(kind: Kind, reason: string) {
    this.fail(kind, reason)
    this.controller?.abort(abandoned)
  }

  private explain(error: Error & { readonly code?: string }) {
    const code = error.code ?? error.name
    if (error === tooLate) this.fail("too-late", "the time until which it could be sent had passed")
    else if (error instanceof AddressRefused) this.deny(error.message)
    else if (code === "UND_ERR_INVALID_ARG" || code === "UND_ERR_NOT_SUPPORTED") this.deny(`it is malformed (${error.message})`)
    else if (this.controller === undefined) this.fail("connect", `no connection could be opened (${code})`)
    else if (code === "UND_ERR_HEADERS_OVERFLOW") this.fail("too-large", "the headers of the answer are too large")
    else this.fail("reset", `the connection broke before the answer was complete (${code})`)
  }

  private refuseSize() {
    this.stop("too-large", `the answer is larger than ${this.request.responseBytesMax} bytes`)
  }

  private deny(reason: string) {
    if (this.settle()) this.outcome.fail(new EgressDenied({ url: this.origin, reason }))
  }

  private fail(kind: Kind, reason: string) {
    const sent = this.controller === undefined ? "no" : "unknown"
    if (this.settle()) this.outcome.fail(new CallFailed({ kind, sent, reason }))
  }

  private settle(): boolean {
    if (this.settled) return false
    this.settled = true
    clearTimeout(this.timer)
    return true
  }

  private release() {
    const released = this.released
    this.released = undefined
    released?.()
  }
}

const timedOut = (exchange: Exchange) => exchange.stop("timeout", "it took longer than its time limit")
