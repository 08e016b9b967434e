/** The outside: vendors that remember every call. They honour idempotency keys where they promise to, and answer by a script. */
import { bucketOf, type ScopeKey, type StreamName } from "#domain/scope.ts"
import type { OutboundRequest, OutboundResponse } from "#services/ports/outbound.ts"
import type { DurableLog } from "./durable-log.ts"

/** What the flows of a simulation write into each call, so that it can be found again. */
interface Sign {
  readonly run: string
  readonly step: string
  readonly tenant: string
}
/** A call on its way: which recorded attempt it belongs to. */
export interface SentCall extends Sign {
  readonly action: string
  readonly key: string
  readonly body: string
  readonly sender: string
  readonly sentAt: number
  /** Of the sender's newest `StepStarted` of the step on record; null: there is none. */
  readonly attempt: number | null
}
/** A call that arrived. */
export interface LedgerEntry extends SentCall {
  readonly at: number
  readonly status: number
  /** It had an effect, and not for the first time under its key. */
  readonly repeated: boolean
  readonly applied: boolean
}

/** It asks what became of an earlier call of its step. */
export const isProbe = ({ action }: SentCall): boolean => action === "GET /api/entries"

/** What is answered instead of a success; `acted`: although the vendor did what was asked. */
export interface Refusal {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
  readonly acted?: boolean
}
/** By the call and how many calls of its step (all attempts) arrived before. */
export type VendorScript = (call: SentCall, before: number) => Refusal | undefined

const utf8 = new TextEncoder()
const text = (body: OutboundRequest["body"]): string =>
  body === undefined ? "" : typeof body === "string" ? body : Buffer.from(body).toString("utf8")

export class Vendors {
  readonly sent: Array<SentCall> = []
  readonly ledger: Array<LedgerEntry> = []
  readonly #log: DurableLog
  readonly #now: () => number
  readonly #script: VendorScript
  /** Bodies by key. */
  readonly #done = new Map<string, string>()

  constructor(log: DurableLog, now: () => number, script: VendorScript = () => undefined) {
    this.#log = log
    this.#now = now
    this.#script = script
  }

  send(request: OutboundRequest, sender: string): SentCall {
    const { pathname, searchParams } = new URL(request.url)
    const body = text(request.body)
    const sign = (body === "" ? Object.fromEntries(searchParams) : JSON.parse(body)) as Sign
    const call: SentCall = {
      run: sign.run,
      step: sign.step,
      tenant: sign.tenant,
      action: `${request.method} ${pathname}`,
      key: request.headers["idempotency-key"] ?? "",
      body,
      sender,
      sentAt: this.#now(),
      attempt: this.#attemptOf(sign, sender)
    }
    this.sent.push(call)
    return call
  }

  #attemptOf({ run, step, tenant }: Sign, sender: string): number | null {
    const stream = `${bucketOf(tenant as ScopeKey)}/${tenant}/run-${run}` as StreamName
    const events = this.#log.streams.get(stream)?.events ?? []
    const started = events.findLast(({ type, data, writer }) => type === "StepStarted" && data["step"] === step && writer === sender)
    return started === undefined ? null : (started.data["attempt"] as number)
  }

  arrive(call: SentCall): OutboundResponse {
    const known = this.ledger.filter(({ run, step }) => run === call.run && step === call.step)
    const refusal = this.#script(call, known.length)
    if (isProbe(call))
      return this.#answer(call, refusal?.status ?? 200, false, false, refusal?.headers, {
        entered: known.some(({ applied }) => applied)
      })
    const done = call.key === "" ? undefined : this.#done.get(call.key)
    if (done !== undefined && done !== call.body) return this.#answer(call, 422, false, false)
    const acts = refusal === undefined || refusal.acted === true
    if (acts && call.key !== "") this.#done.set(call.key, call.body)
    const status = refusal?.status ?? (call.action.startsWith("POST") ? 201 : 200)
    return this.#answer(call, status, acts, done !== undefined, refusal?.headers)
  }

  #answer(
    call: SentCall,
    status: number,
    acts: boolean,
    repeated: boolean,
    headers: Readonly<Record<string, string>> = {},
    body: object = { id: `${call.step} of ${call.run}` }
  ): OutboundResponse {
    this.ledger.push({ ...call, at: this.#now(), status, applied: acts && !repeated, repeated: acts && repeated })
    return {
      status,
      headers: { "content-type": "application/json", ...headers },
      body: utf8.encode(JSON.stringify(status < 300 ? body : { error: { message: "not now" } }))
    }
  }
}
