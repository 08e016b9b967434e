/** Revisions on the wire: the ETag of an answer, 304 to who has it already, and If-Match of a request. */
import * as Effect from "effect/Effect"
import * as HttpEffect from "effect/http/HttpEffect"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import type { Expecting } from "#services/transact.ts"
import { RequestInvalid } from "../problems.ts"

/** The revision of what is shown, then those of what it inherits from. */
const tagOf = (revisions: ReadonlyArray<number>): string => `"${revisions.join(".")}"`

/** If-None-Match compares weakly: a proxy that compresses makes our tags weak ones. */
const hasIt = ({ method, headers }: HttpServerRequest, tag: string): boolean =>
  (method === "GET" || method === "HEAD") &&
  (headers["if-none-match"] ?? "").split(",").some((part) => part.trim().replace(/^W\//u, "") === tag)

/** The answer of this request is of this revision. */
export const answerRevision = (...revisions: ReadonlyArray<number>): Effect.Effect<void, never, HttpServerRequest> =>
  HttpEffect.appendPreResponseHandler((request, response) => {
    const tag = tagOf(revisions)
    return Effect.succeed(
      response.status === 200 && hasIt(request, tag)
        ? HttpServerResponse.empty({ status: 304, headers: { etag: tag } })
        : HttpServerResponse.setHeader(response, "etag", tag)
    )
  })

const expected = /^"(-?\d{1,15})(?:\.-?\d{1,15}){0,2}"$/u
const invalid = (detail: string) => new RequestInvalid({ errors: [{ in: "header", pointer: "/if-match", detail }] })

/** The revision that the caller decided on. Silently ignoring one would lose the very change that it was to protect. */
export const expectingOf = (
  { headers }: HttpServerRequest,
  revisions: "answered" | "expected" | undefined
): Effect.Effect<Expecting, RequestInvalid> => {
  const given = headers["if-match"]
  if (given === undefined) return Effect.succeed({})
  if (revisions !== "expected") return Effect.fail(invalid("This operation does not look at revisions. Leave it out"))
  const revision = expected.exec(given)?.[1]
  return revision === undefined
    ? Effect.fail(invalid('Expected one ETag of an earlier answer, as "7"'))
    : Effect.succeed({ ifRevision: Number(revision) })
}
