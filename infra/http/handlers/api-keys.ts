/** Answers for API keys. */
import * as Effect from "effect/Effect"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import * as Redacted from "effect/Redacted"
import { type SpaceScope, tenantScope } from "#domain/scope.ts"
import { type ApiKeyView, apiKeys as view } from "#projections/api-keys.ts"
import { ApiKeys, type IssuedApiKey } from "#services/api-keys.ts"
import { ViewServer } from "#services/ports/view-server.ts"
import { Tenants } from "#services/tenants.ts"
import { Api } from "../api/api.ts"
import { Caller } from "../api/guards.ts"
import { findViews, pageAnswer, whereBetween, whereEqual } from "./pages.ts"

const issuedBody = ({ keyId, text }: IssuedApiKey) => ({ keyId, key: Redacted.value(text) })

export const layer = HttpApiBuilder.group(
  Api,
  "apiKeys",
  Effect.fnUntraced(function* (handlers) {
    const keys = yield* ApiKeys
    const tenants = yield* Tenants
    const views = yield* ViewServer

    /** A tenant whose keys are gone has no id that could be shown. */
    const bodyOf = Effect.fnUntraced(function* (space: SpaceScope, { tenantKey, ...shown }: ApiKeyView) {
      if (tenantKey === null) return { ...shown, tenant: null }
      const { id } = yield* tenants.get(tenantScope(space.space, tenantKey)).pipe(
        Effect.catchTags({
          SecretGone: () => Effect.succeed({ id: "(erased)" }),
          TenantNotFound: () => Effect.succeed({ id: "(erased)" })
        })
      )
      return { ...shown, tenant: id }
    })

    return handlers.handleAll({
      list: ({ query: { role, status, since, until, ...page } }) =>
        Effect.gen(function* () {
          const { space } = yield* Caller
          const where = [...whereEqual({ role, status }), ...whereBetween("createdAt", since, until)]
          const found = yield* findViews(views, view, { scope: space, where }, page)
          const items = yield* Effect.forEach(found.items, (item) => bodyOf(space, item))
          return yield* pageAnswer({ items, next: found.next })
        }),
      create: ({ payload: { tenant, ...key } }) =>
        Effect.gen(function* () {
          const { space, principal, origin } = yield* Caller
          const tenantKey = tenant === undefined ? undefined : (yield* tenants.find(space, tenant)).key
          return issuedBody(yield* keys.create(space, { ...key, tenantKey }, principal, origin))
        }),
      rotate: ({ params, payload }) =>
        Effect.gen(function* () {
          const { space, principal, origin } = yield* Caller
          return issuedBody(yield* keys.rotate(space, params.keyId, principal, origin, payload.graceSeconds))
        }),
      revoke: ({ params }) => Effect.flatMap(Caller, ({ space, principal, origin }) => keys.revoke(space, params.keyId, principal, origin))
    })
  })
)
