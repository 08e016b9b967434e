/** `/problems/<kind>`: what each problem's `type` leads to, made from the declarations; for a browser as a page, else as JSON. */
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import type { LocateFailure } from "#services/locators.ts"
import { verificationAdvice } from "#services/verification.ts"
import { type DeclaredProblem, declaredProblems, problemResponse } from "./problems.ts"

export interface Explained {
  readonly type: string
  readonly title: string
  readonly status: number
  /** What to do about it. The `detail` of an answer says it for the case at hand. */
  readonly advice: string
  /** What an answer may hold besides `type`, `title`, `status`, `detail` and `instance`. */
  readonly members: ReadonlyArray<string>
}

/** What a status means for the caller's next step. */
const byStatus: Readonly<Record<number, string>> = {
  400: "Correct what the answer points at, then send it again. The same request is refused again.",
  401: "Send a valid API key as x-api-key, or as a bearer token. Whatever is wrong with a key, the answer is the same.",
  403: "The key is known, but may not do this. Use a key whose role, tenant and space permit it, or ask who hands out keys.",
  404: "Check the id and the path. What belongs to another tenant or space is answered like what does not exist.",
  409: "The request does not fit what is there. Read what is there now, and decide anew.",
  410: "It is gone and does not come back. Do not ask for it again.",
  412: "Somebody has changed it since you read it. Get it again, decide anew, and send the new ETag as If-Match.",
  413: "Send less at a time.",
  422: "The request is well formed, but what it says cannot be done. Change what the answer names, then send it again.",
  429: "Wait as long as Retry-After says, then send it again, or ask for a larger quota.",
  503: "Nothing is wrong with the request. Wait as long as Retry-After says, then send it again, with the same Idempotency-Key if it had one."
}
const otherwise = "The answer's detail says what to do."

const located: Readonly<Record<LocateFailure["reason"], string>> = {
  "body-malformed": "The body is not JSON, nor the form that the connector expects.",
  "elements-missing": "The body has no array where the connector's manifest looks for its events.",
  "too-many-elements": "The call holds more events than one call may. Send fewer at a time.",
  "event-missing": "The call names no event where the connector's manifest looks for it.",
  "tenant-missing": "The call names no tenant where the connector's manifest looks for it."
}
const nothingRecorded = "Nothing was recorded. Deliver the event again once this is put right."

/** What a webhook call may be answered: these say it in their own code, not by a declaration of the API. */
const ofWebhooks: ReadonlyArray<Omit<Explained, "title" | "members">> = [
  ...Object.entries(verificationAdvice).map(([code, advice]) => ({ type: code, status: 401, advice: `${advice} ${nothingRecorded}` })),
  ...Object.entries(located).map(([code, advice]) => ({ type: code, status: 400, advice: `${advice} ${nothingRecorded}` })),
  { type: "endpoint-not-found", status: 404, advice: `There is no endpoint at this address. Check the URL. ${nothingRecorded}` },
  { type: "tenant-unknown", status: 404, advice: `No tenant has connected the account that the call names. ${nothingRecorded}` },
  { type: "body-too-large", status: 413, advice: "The body exceeds the endpoint's limit (ingest.bodyBytesMax). Nothing was recorded." },
  { type: "quota-exhausted", status: 429, advice: "The tenant's events of this window are used up. Deliver it again after Retry-After." },
  { type: "unavailable", status: 503, advice: "The event could not be recorded now. Deliver it again after Retry-After." }
]

const ofDeclared = ({ type, titles, status, members }: DeclaredProblem): Explained => ({
  type,
  title: titles.join("; "),
  status,
  advice: byStatus[status] ?? otherwise,
  members
})

/** Every kind, by its type. Where a webhook's code is a declared kind as well, the declaration holds. */
const explained = (): ReadonlyMap<string, Explained> => {
  const webhooks = ofWebhooks.map(({ type, ...rest }) => ({
    type: `/problems/${type}`,
    title: type.replaceAll("-", " "),
    members: [],
    ...rest
  }))
  const all = [...webhooks, ...declaredProblems().map(ofDeclared)].sort((left, right) => (left.type < right.type ? -1 : 1))
  return new Map(all.map((each) => [each.type, each]))
}
let known: ReadonlyMap<string, Explained> | undefined
/** Made when first asked for: by then every declaration is loaded. */
export const problemKinds = (): ReadonlyMap<string, Explained> => {
  known ??= explained()
  return known
}

const policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
const style =
  "body{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:3rem auto;padding:0 1rem;color-scheme:light dark}code{font-size:.95em}"

/** Nothing on a page comes from a request. */
const page = (title: string, body: string) =>
  HttpServerResponse.text(
    `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${title}</title><style>${style}</style><main><h1>${title}</h1>${body}</main></html>`,
    { contentType: "text/html; charset=utf-8", headers: { "content-security-policy": policy } }
  )

const pageOf = ({ type, title, status, advice, members }: Explained) =>
  page(
    title,
    `<p>Status <strong>${status}</strong>, type <code>${type}</code></p><h2>What to do</h2><p>${advice}</p><p>The <code>detail</code> of the answer says it for the case at hand.${
      members.length === 0 ? "" : ` It also holds ${members.map((name) => `<code>${name}</code>`).join(", ")}.`
    }</p><p><a href="/problems">All problems</a></p>`
  )
const indexPage = (all: ReadonlyArray<Explained>) =>
  page(
    "Problems",
    `<p>Errors are problem details (RFC 9457). Each has a <code>type</code> that leads to one of these.</p><ul>${all
      .map(({ type, title, status }) => `<li><a href="${type}">${title}</a> (${status})</li>`)
      .join("")}</ul>`
  )

const wantsPage = ({ headers }: HttpServerRequest.HttpServerRequest): boolean => (headers["accept"] ?? "").includes("text/html")
const json = (body: object) => HttpServerResponse.text(JSON.stringify(body), { contentType: "application/json" })

const index = Effect.map(HttpServerRequest.HttpServerRequest, (request) => {
  const all = [...problemKinds().values()]
  return wantsPage(request) ? indexPage(all) : json({ items: all })
})
const one = Effect.map(HttpServerRequest.HttpServerRequest, (request) => {
  const path = request.url.split("?", 1)[0] as string
  const found = problemKinds().get(path)
  if (found !== undefined) return wantsPage(request) ? pageOf(found) : json(found)
  return problemResponse({
    title: "Not found",
    status: 404,
    detail: "There is no problem of this kind. See /problems for those that there are.",
    instance: path
  })
})

export const layer = HttpRouter.use((router) =>
  Effect.andThen(router.add("GET", "/problems", index), router.add("GET", "/problems/:kind", one))
)
