/** Answers lists from views: limit, cursor, order and the link to the next page. */
import * as Effect from "effect/Effect"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import { withHeaders } from "effect/http-api/HttpApiSchema"
import type { Scope, SpaceScope } from "#domain/scope.ts"
import type { Projection } from "#projections/projection.ts"
import type { Condition } from "#services/ports/read-models.ts"
import type { ViewServer } from "#services/ports/view-server.ts"
import { limitDefault } from "../api/common.ts"
import { Caller } from "../api/guards.ts"

export interface PageRequest {
  readonly limit?: number
  readonly cursor?: string
  readonly order?: "newest" | "oldest"
  /** First field of one of the projection's sorts; the first of them when left out. */
  readonly sort?: string
}
export interface ViewQuery {
  readonly scope: Scope
  /** Those of all tenants of the space, besides the space's own. */
  readonly across?: SpaceScope
  readonly where?: ReadonlyArray<Condition>
}

/** Equality on each field that was given. */
export const whereEqual = (fields: Readonly<Record<string, string | number | boolean | undefined>>): ReadonlyArray<Condition> =>
  Object.entries(fields).flatMap(([field, value]) => (value === undefined ? [] : [{ field, is: "eq" as const, value }]))

/** `since` inclusive, `until` exclusive, both epoch milliseconds. */
export const whereBetween = (field: string, since: number | undefined, until: number | undefined): ReadonlyArray<Condition> => [
  ...(since === undefined ? [] : [{ field, is: "gte" as const, value: since }]),
  ...(until === undefined ? [] : [{ field, is: "lt" as const, value: until }])
]

type Views = ViewServer["Service"]
interface Found<View> {
  readonly items: ReadonlyArray<View>
  readonly next: string | null
}

/** One page of a projection's views as they are stored, as of the position that the caller has seen. */
// biome-ignore lint/suspicious/noExplicitAny: each projection folds its own events.
export const findViews = <View extends object>(views: Views, projection: Projection<any, View>, query: ViewQuery, page: PageRequest) =>
  Effect.gen(function* () {
    const { after } = yield* Caller
    const { limit = limitDefault, cursor, order = "newest", sort } = page
    const sorts: ReadonlyArray<ReadonlyArray<string>> = projection.sorts
    const by = sorts.find(([first]) => first === sort) ?? sorts[0] ?? []
    const found = yield* views.find(
      projection.name,
      { ...query, sort: by, descending: order === "newest", limit, ...(cursor === undefined ? {} : { cursor }) },
      after
    )
    return found as unknown as Found<View>
  })

/** One view, or null, as of the position that the caller has seen. */
// biome-ignore lint/suspicious/noExplicitAny: each projection folds its own events.
export const getView = <View extends object>(views: Views, projection: Projection<any, View>, scope: Scope, id: string) =>
  Effect.gen(function* () {
    const { after } = yield* Caller
    return (yield* views.get(projection.name, scope, id, after)) as View | null
  })

/** The page with its link: the same request with the next cursor. */
export const pageAnswer = <Item>({ items, next }: Found<Item>) =>
  Effect.map(HttpServerRequest.HttpServerRequest, ({ url }) =>
    withHeaders({ body: { items, next }, headers: next === null ? {} : { link: linkTo(url, next) } })
  )

const linkTo = (url: string, cursor: string): string => {
  const [path, query = ""] = url.split("?", 2) as [string, string?]
  const parameters = new URLSearchParams(query)
  parameters.set("cursor", cursor)
  return `<${path}?${parameters}>; rel="next"`
}
