/** Answers for tenants. */
import * as Effect from "effect/Effect"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import type { TenantScope } from "#domain/scope.ts"
import { tenants as view } from "#projections/tenants.ts"
import { ViewServer } from "#services/ports/view-server.ts"
import { type TenantDetails, Tenants } from "#services/tenants.ts"
import { Api } from "../api/api.ts"
import { Caller, CurrentTenant } from "../api/guards.ts"
import { findViews, pageAnswer, whereBetween, whereEqual } from "./pages.ts"
import { answerRevision } from "./revisions.ts"
import { bulkBody, readBulk } from "./tenants-bulk.ts"

const bodyOf = ({ tenantKey: _, revision: __, ...shown }: TenantDetails & { readonly createdAt?: number; readonly revision?: number }) =>
  shown

const all = HttpApiBuilder.group(
  Api,
  "tenants",
  Effect.fnUntraced(function* (handlers) {
    const tenants = yield* Tenants
    const views = yield* ViewServer
    return handlers.handleAll({
      list: ({ query: { status, plan, region, tier, since, until, ...page } }) =>
        Effect.gen(function* () {
          const { space } = yield* Caller
          const where = [...whereEqual({ status, plan, region, tier }), ...whereBetween("createdAt", since, until)]
          const found = yield* findViews(views, view, { scope: space, across: space, where }, page)
          const items = yield* tenants.open(space, found.items)
          return yield* pageAnswer({ items: items.map(bodyOf), next: found.next })
        }),
      create: ({ payload }) =>
        Effect.gen(function* () {
          const { space, origin } = yield* Caller
          const scope = yield* tenants.create(space, payload, origin)
          return bodyOf(yield* tenants.get(scope))
        }),
      createAll: ({ payload }) =>
        Effect.gen(function* () {
          const { space, origin } = yield* Caller
          const read = yield* readBulk(payload)
          const wanted = read.flatMap((found) => (Result.isSuccess(found) ? [found.success] : []))
          const outcomes = yield* tenants.createAll(space, wanted, origin)
          return bulkBody(read, outcomes)
        })
    })
  })
)

const one = HttpApiBuilder.group(
  Api,
  "tenant",
  Effect.fnUntraced(function* (handlers) {
    const tenants = yield* Tenants
    const show = Effect.fnUntraced(function* (scope: TenantScope) {
      const found = yield* tenants.get(scope)
      yield* answerRevision(found.revision)
      return bodyOf(found)
    })
    return handlers.handleAll({
      get: () => Effect.flatMap(CurrentTenant, show),
      change: ({ payload }) =>
        Effect.gen(function* () {
          const { expecting, origin } = yield* Caller
          const scope = yield* CurrentTenant
          yield* tenants.change(scope, payload, origin, expecting)
          return yield* show(scope)
        }),
      suspend: () =>
        Effect.gen(function* () {
          const { expecting, origin } = yield* Caller
          const scope = yield* CurrentTenant
          yield* tenants.suspend(scope, origin, expecting)
          return yield* show(scope)
        }),
      activate: () =>
        Effect.gen(function* () {
          const { expecting, origin } = yield* Caller
          const scope = yield* CurrentTenant
          yield* tenants.activate(scope, origin, expecting)
          return yield* show(scope)
        })
    })
  })
)

export const layer = Layer.mergeAll(all, one)
