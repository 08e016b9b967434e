/** Handshakes: calls by which a vendor only asks whether this address is ours; a text of the call is sent back. */
import { predicateOf } from "#domain/condition.ts"
import { asText, readerOf } from "#domain/data-path.ts"
import type { HandshakeManifest } from "#domain/webhook-manifest.ts"
import { unfitForHeader } from "./request-template.ts"
import type { Headers } from "./verification.ts"

/** An echo longer than this is not answered: the call is then treated like any other. */
const echoLengthMax = 1024

export interface HandshakeAnswer {
  readonly status: 200
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}
export interface Handshake {
  /** Verify the call before it is answered. */
  readonly signed: boolean
  /** Undefined: the call is no handshake. `body` is the parsed one, undefined where it cannot be parsed. */
  readonly answer: (url: string, headers: Headers, body: unknown) => HandshakeAnswer | undefined
}

const queryOf = (url: string): Readonly<Record<string, string>> =>
  URL.canParse(url, "http://endpoint") ? Object.fromEntries(new URL(url, "http://endpoint").searchParams) : {}

const answerWith = (as: HandshakeManifest["as"], text: string): HandshakeAnswer | undefined => {
  // Never as a page: what is echoed was written by whoever called.
  const plain = { "content-type": "text/plain; charset=utf-8", "x-content-type-options": "nosniff" }
  if (as === "text") return { status: 200, headers: plain, body: text }
  if ("json" in as) return { status: 200, headers: { "content-type": "application/json" }, body: JSON.stringify({ [as.json]: text }) }
  return unfitForHeader(text) ? undefined : { status: 200, headers: { [as.header]: text }, body: "" }
}

export const compileHandshake = (rule: HandshakeManifest): Handshake => {
  const applies = predicateOf(rule.when)
  const read = readerOf(
    "body" in rule.echo ? `body.${rule.echo.body}` : "header" in rule.echo ? `headers.${rule.echo.header}` : `query.${rule.echo.query}`
  )
  return {
    signed: rule.signed ?? true,
    answer: (url, headers, body) => {
      const call = { headers, body, query: queryOf(url) }
      if (!applies(call)) return undefined
      const text = asText(read(call))
      return text === undefined || text.length > echoLengthMax ? undefined : answerWith(rule.as, text)
    }
  }
}
