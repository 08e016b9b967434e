/** Which methods a path answers: for 405 and `allow`. */
import type * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import type * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import { Api } from "./api/api.ts"

interface Pattern {
  readonly method: string
  readonly segments: ReadonlyArray<string>
}

const endpointsOf = (): ReadonlyArray<HttpApiEndpoint.Top> =>
  (Object.values(Api.groups) as unknown as ReadonlyArray<HttpApiGroup.Top>).flatMap((group) => Object.values(group.endpoints))

let patterns: ReadonlyArray<Pattern> | undefined
const known = (): ReadonlyArray<Pattern> => {
  patterns ??= endpointsOf().map(({ method, path }) => ({ method, segments: path.split("/") }))
  return patterns
}

const matches = (pattern: ReadonlyArray<string>, asked: ReadonlyArray<string>): boolean =>
  pattern.length === asked.length &&
  pattern.every((segment, index) => (segment.startsWith(":") ? asked[index] !== "" : segment === asked[index]))

/** Empty when no endpoint has this path. */
export const methodsOf = (path: string): ReadonlyArray<string> => {
  const asked = path.split("/")
  return [...new Set(known().flatMap(({ method, segments }) => (matches(segments, asked) ? [method] : [])))].sort()
}
