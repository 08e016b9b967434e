/** Answers: what a vendor's response, or its absence, means for the step that called. Pure. */
import * as Result from "effect/Result"
import { asText, readerOf } from "#domain/data-path.ts"
import type { ErrorsManifest } from "#domain/manifest.ts"
import type { CompiledActions, CompiledProbe } from "./actions.ts"
import type { Credentials } from "./credentials.ts"
import type { CallFailed, EgressDenied, OutboundResponse } from "./ports/outbound.ts"

export interface Succeeded {
  readonly kind: "succeeded"
  readonly status: number
  /** The body: JSON where it is JSON, else text; null where there is none. Secrets are masked. */
  readonly output: unknown
}
export interface Failed {
  readonly kind: "transient" | "permanent" | "credentials"
  /** Stable and machine-readable: `http-503`, `timeout`, `connect`, `egress-denied`, … */
  readonly code: string
  readonly status?: number
  /** Ours: it holds nothing that came from outside. */
  readonly message: string
  /** The vendor's own words, masked and cut; content, to be sealed. */
  readonly detail?: string
  /** The vendor asked to wait so long. */
  readonly retryAfterMillis?: number
  /** The call may have had its effect although it failed: an unsafe one must not be repeated without asking (R13). */
  readonly outcomeUnknown: boolean
}
export type Answer = Succeeded | Failed
/** What a probe tells of the call in doubt: it was carried out, it was not, or (`Failed`) neither. */
export type ProbeAnswer = Succeeded | { readonly kind: "absent" } | Failed

const retryAfterMaxMillis = 24 * 3_600_000
const detailMax = 2000

/** Epoch milliseconds; NaN for what only the parser's leniency would take for a date. */
const httpDate = (text: string): number => (/^[A-Za-z]{3}/u.test(text) ? Date.parse(text) : Number.NaN)

/** Milliseconds to wait by the vendor's header; undefined where it says nothing that can be read. */
const retryAfter = (response: OutboundResponse, { retryAfter: rule }: ErrorsManifest, nowMillis: number): number | undefined => {
  const text = response.headers[rule?.header ?? "retry-after"]?.trim()
  if (text === undefined || text === "") return undefined
  const number = /^\d{1,15}(?:\.\d+)?$/u.test(text) ? Number(text) : undefined
  const unit = rule?.unit ?? (number === undefined ? "date" : "seconds")
  const millis =
    unit === "date"
      ? httpDate(text) - nowMillis
      : number === undefined
        ? Number.NaN
        : unit === "seconds"
          ? number * 1000
          : (unit === "epochSeconds" ? number * 1000 : number) - nowMillis
  return Number.isNaN(millis) ? undefined : Math.min(Math.max(0, Math.ceil(millis)), retryAfterMaxMillis)
}

/** The body as JSON where it is JSON, else as text. */
const parsed = (text: string): unknown => {
  if (text === "") return null
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

const byStatus = (status: number, errors: ErrorsManifest): Failed["kind"] => {
  if (errors.transient?.includes(status)) return "transient"
  if (errors.credentials?.includes(status)) return "credentials"
  if (errors.permanent?.includes(status)) return "permanent"
  if (status === 408 || status === 425 || status === 429 || status >= 500) return "transient"
  return status === 401 ? "credentials" : "permanent"
}

/**
 * A server that answers 5xx may have acted before it failed; 501 and 503 say that it did not. Statuses that the manifest
 * explains are taken at its word.
 */
const mayHaveActed = (status: number, { transient, permanent, credentials }: ErrorsManifest): boolean =>
  status >= 500 && status !== 501 && status !== 503 && ![transient, permanent, credentials].some((statuses) => statuses?.includes(status))

/** Usual places of the vendor's own words, when the manifest names none. */
const usualMessages = ["error.message", "message", "error_description", "error", "errors.0.message", "detail"].map(readerOf)

const vendorWords = (body: unknown, path: string | undefined): string | undefined => {
  const readers = path === undefined ? usualMessages : [readerOf(path)]
  const found = readers.map((read) => asText(read(body))).find((text) => text !== undefined && text !== "")
  const words = found ?? (typeof body === "string" ? body : body === null ? undefined : JSON.stringify(body))
  return words?.slice(0, detailMax)
}

const meanings = {
  transient: "It is tried again.",
  permanent: "The same call would fail again: correct the input, or the account at the vendor.",
  credentials: "The vendor did not accept the credentials: connect again."
} as const

const refusedAnswer = (
  connector: CompiledActions,
  actionName: string,
  response: OutboundResponse,
  body: unknown,
  kind: Failed["kind"],
  outcomeUnknown: boolean,
  nowMillis: number
): Failed => {
  const { status } = response
  const wait = retryAfter(response, connector.errors, nowMillis)
  const detail = vendorWords(body, connector.errors.message)
  return {
    kind,
    code: `http-${status}`,
    status,
    message: `${connector.manifest.id} answered ${status} to ${actionName}. ${meanings[kind]}`,
    outcomeUnknown,
    ...(detail === undefined ? {} : { detail }),
    ...(wait === undefined ? {} : { retryAfterMillis: wait })
  }
}

const unanswered = (connector: CompiledActions, actionName: string, failure: CallFailed | EgressDenied): Failed => {
  if (failure._tag === "EgressDenied") {
    return {
      kind: "permanent",
      code: "egress-denied",
      message: `${actionName} of ${connector.manifest.id} was not called: the address is not allowed. Check the connection's base URL, or allow the address.`,
      outcomeUnknown: false
    }
  }
  const words = {
    timeout: "in time",
    connect: "to a connection",
    reset: "completely",
    "too-large": "within the size allowed",
    "too-late": "before its time was over"
  }
  return {
    kind: failure.kind === "too-large" ? "permanent" : "transient",
    code: failure.kind,
    message: `${connector.manifest.id} did not answer ${actionName} ${words[failure.kind]}.`,
    outcomeUnknown: failure.sent === "unknown"
  }
}

/** What conditions are asked about. */
const seenOf = (connector: CompiledActions, { body, headers, status }: OutboundResponse, credentials: Credentials) => {
  const placed = connector.placed(credentials)
  const text = Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString("utf8")
  return { status, headers, body: parsed(Result.isSuccess(placed) ? placed.success.mask(text) : text) }
}

/** The meaning of an answer or of its absence. */
export const classify = (
  connector: CompiledActions,
  actionName: string,
  answer: OutboundResponse | CallFailed | EgressDenied,
  credentials: Credentials,
  nowMillis: number
): Answer => {
  if ("_tag" in answer) return unanswered(connector, actionName, answer)
  const seen = seenOf(connector, answer, credentials)
  const { body, status } = seen
  const failed = (kind: Failed["kind"], outcomeUnknown: boolean) =>
    refusedAnswer(connector, actionName, answer, body, kind, outcomeUnknown, nowMillis)

  const rule = connector.rules.find(({ when }) => when(seen))
  if (rule !== undefined) return failed(rule.meaning, false)
  const success = connector.actions.get(actionName)?.success
  const ok = success === undefined ? status >= 200 && status < 300 : success(seen)
  if (ok) return { kind: "succeeded", status, output: body }
  return failed(byStatus(status, connector.errors), mayHaveActed(status, connector.errors))
}

/**
 * The meaning of a probe's answer or of its absence. A vendor that refuses the credentials, is busy or down says nothing about the
 * call, however widely `found` and `absent` are meant; nor does an answer that meets both.
 */
export const classifyProbe = (
  connector: CompiledActions,
  actionName: string,
  { found, absent, output }: CompiledProbe,
  answer: OutboundResponse | CallFailed | EgressDenied,
  credentials: Credentials,
  nowMillis: number
): ProbeAnswer => {
  const question = `the probe of ${actionName}`
  if ("_tag" in answer) return { ...unanswered(connector, question, answer), outcomeUnknown: true }
  const seen = seenOf(connector, answer, credentials)
  const meaning = connector.rules.find(({ when }) => when(seen))?.meaning ?? byStatus(seen.status, connector.errors)
  const failed = refusedAnswer(connector, question, answer, seen.body, meaning, true, nowMillis)
  if (meaning !== "permanent") return failed
  const [isFound, isAbsent] = [found(seen), absent(seen)]
  if (isFound === isAbsent) {
    const message = `${connector.manifest.id} did not tell whether ${actionName} was carried out: its answer ${seen.status} means ${isFound ? "both found and absent" : "neither found nor absent"}.`
    return { ...failed, code: "unclear", message }
  }
  return isFound ? { kind: "succeeded", status: seen.status, output: output(seen.body) ?? null } : { kind: "absent" }
}
