/** Answers for webhook endpoints. */
import * as Effect from "effect/Effect"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { EndpointNotFound } from "#domain/endpoint.ts"
import type { EndpointId } from "#domain/ids.ts"
import type { SpaceScope, TenantScope } from "#domain/scope.ts"
import { type EndpointView, endpoints as view } from "#projections/endpoints.ts"
import { Endpoints, type NewEndpoint } from "#services/endpoints.ts"
import { ViewServer } from "#services/ports/view-server.ts"
import { PublicUrl } from "../../config.ts"
import { Api } from "../api/api.ts"
import { Caller, CurrentTenant } from "../api/guards.ts"
import { findViews, getView, type PageRequest, pageAnswer, whereBetween, whereEqual } from "./pages.ts"
import { answerRevision } from "./revisions.ts"

interface Asked {
  readonly params: { readonly id: EndpointId }
}
interface ListQuery extends PageRequest {
  readonly connector?: string
  readonly status?: EndpointView["status"]
  readonly since?: number
  readonly until?: number
}
type NewEndpointBody = Omit<NewEndpoint, "connectorId"> & { readonly connector: string }

const shown = (secret: Redacted.Redacted<string> | null) => (secret === null ? null : Redacted.value(secret))

/** The same answers for a tenant and for the space: only the scope differs. */
const answersIn = Effect.fnUntraced(function* <R>(scoped: Effect.Effect<SpaceScope | TenantScope, never, R>) {
  const endpoints = yield* Endpoints
  const views = yield* ViewServer
  const publicUrl = yield* PublicUrl
  const withUrl = (endpoint: EndpointView) => ({ ...endpoint, url: `${publicUrl}/hooks/${endpoint.endpointId}` })

  /** An id leads to its stream by itself: it must be one of the scope that was asked. */
  const mine = Effect.fnUntraced(function* (endpointId: EndpointId) {
    const scope = yield* scoped
    if (endpoints.scopeOf(endpointId)?.key !== scope.key) return yield* new EndpointNotFound({ endpointId })
    return endpointId
  })

  return {
    list: ({ query: { connector, status, since, until, ...page } }: { readonly query: ListQuery }) =>
      Effect.gen(function* () {
        const where = [...whereEqual({ connectorId: connector, status }), ...whereBetween("createdAt", since, until)]
        const { items, next } = yield* findViews(views, view, { scope: yield* scoped, where }, page)
        return yield* pageAnswer({ items: items.map(withUrl), next })
      }),
    create: ({ payload: { connector, ...endpoint } }: { readonly payload: NewEndpointBody }) =>
      Effect.gen(function* () {
        const { origin } = yield* Caller
        const { endpointId, path, secret } = yield* endpoints.create(yield* scoped, { ...endpoint, connectorId: connector }, origin)
        return { endpointId, url: publicUrl + path, secret: shown(secret) }
      }),
    get: ({ params }: Asked) =>
      Effect.gen(function* () {
        const found = yield* getView(views, view, yield* scoped, params.id)
        if (found === null) return yield* new EndpointNotFound({ endpointId: params.id })
        yield* answerRevision(found.revision)
        return withUrl(found)
      }),
    rotate: ({ params, payload }: Asked & { readonly payload: { readonly secret?: Redacted.Redacted<string> } }) =>
      Effect.gen(function* () {
        const { expecting, origin } = yield* Caller
        const { endpointId, field, revision, secret } = yield* endpoints.rotate(yield* mine(params.id), payload.secret, origin, expecting)
        yield* answerRevision(revision)
        return { endpointId, field, secret: shown(secret) }
      }),
    removeSecret: ({ params }: { readonly params: { readonly id: EndpointId; readonly field: string } }) =>
      Effect.gen(function* () {
        const { expecting, origin } = yield* Caller
        const { revision } = yield* endpoints.removeSecret(yield* mine(params.id), params.field, origin, expecting)
        yield* answerRevision(revision)
      }),
    remove: ({ params }: Asked) =>
      Effect.gen(function* () {
        const { expecting, origin } = yield* Caller
        const { revision } = yield* endpoints.remove(yield* mine(params.id), origin, expecting)
        yield* answerRevision(revision)
      })
  }
})

const shared = HttpApiBuilder.group(
  Api,
  "spaceHooks",
  Effect.fnUntraced(function* (handlers) {
    return handlers.handleAll(yield* answersIn(Effect.map(Caller, ({ space }) => space)))
  })
)
const own = HttpApiBuilder.group(
  Api,
  "hooks",
  Effect.fnUntraced(function* (handlers) {
    return handlers.handleAll(yield* answersIn(CurrentTenant))
  })
)

export const layer = Layer.mergeAll(shared, own)
