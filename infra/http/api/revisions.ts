/** Optimistic concurrency: answers carry the revision that they show as their ETag, and a change may name the one that it was decided on. */
import * as Context from "effect/Context"
import * as OpenApi from "effect/http-api/OpenApi"
import { RevisionMismatch } from "#services/transact.ts"
import { problem } from "../problems.ts"

/** What an endpoint does with revisions: `answered` as the ETag, `expected` in If-Match too. */
export class Revisions extends Context.Service<Revisions, "answered" | "expected">()("tributary/http/Revisions") {}

export const revisionMismatch = problem(RevisionMismatch, 412, "It has changed meanwhile")

type Operation = { parameters?: Array<object>; responses?: Record<string, { headers?: object; description?: string }> }

const etag = {
  etag: { schema: { type: "string" }, description: 'The revision that is there, as `"7"`: for `If-None-Match` and `If-Match`.' }
}
const ifNoneMatch = {
  name: "if-none-match",
  in: "header",
  required: false,
  schema: { type: "string" },
  description: "The ETag of an earlier answer: 304 without a body when nothing has changed since."
}
const ifMatch = {
  name: "if-match",
  in: "header",
  required: false,
  schema: { type: "string" },
  description:
    'The ETag of the answer that the change was decided on: 412 when something has changed since. `"-1"`: it must not exist yet. Left out: whatever is there.'
}

const describing =
  (parameter: object, statuses: RegExp, more: object) =>
  (found: Operation): Operation => ({
    ...found,
    parameters: [...(found.parameters ?? []), parameter],
    responses: {
      ...Object.fromEntries(
        Object.entries(found.responses ?? {}).map(([status, response]) =>
          statuses.test(status) ? [status, { ...response, headers: { ...response.headers, ...etag } }] : [status, response]
        )
      ),
      ...more
    }
  })

const marked = (revisions: "answered" | "expected", transform: (found: Operation) => Operation) =>
  Context.make(Revisions, revisions).pipe(Context.add(OpenApi.Transform, transform as never))

/** Annotations of a reading: it answers its revision, and 304 to who has it already. */
export const answersRevision = marked(
  "answered",
  describing(ifNoneMatch, /^2/u, { 304: { description: "Nothing has changed", headers: etag } })
)

/** Annotations of a change: it may expect a revision, and answers the one that it made. `revisionMismatch` is among its errors. */
export const expectsRevision = marked("expected", describing(ifMatch, /^2|412/u, {}))
