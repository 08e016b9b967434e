/** Answers for tenants. */
import { Effect, Layer } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import type { TenantScope } from "#domain/scope.ts"
import { tenants as view } from "#projections/tenants.ts"
import { ViewServer } from "#services/ports/view-server.ts"
import { type TenantDetails, Tenants } from "#services/tenants.ts"
import { Api } from "../api/api.ts"
import { Caller, CurrentTenant } from "../api/guards.ts"
import { partOf } from "./origins.ts"
import { findViews, pageAnswer, whereEqual } from "./pages.ts"

const bodyOf = ({ tenantKey: _, ...shown }: TenantDetails & { readonly createdAt?: number }) => shown

const all = HttpApiBuilder.group(
  Api,
  "tenants",
  Effect.fnUntraced(function* (handlers) {
    const tenants = yield* Tenants
    const views = yield* ViewServer
    return handlers.handleAll({
      list: ({ query: { status, plan, region, ...page } }) =>
        Effect.gen(function* () {
          const { space } = yield* Caller
          const where = whereEqual({ status, plan, region })
          const found = yield* findViews(views, view, { scope: space, across: space, where, sort: ["createdAt"] }, page)
          const items = yield* tenants.open(space, found.items)
          return yield* pageAnswer({ items: items.map(bodyOf), next: found.next })
        }),
      create: ({ payload }) =>
        Effect.gen(function* () {
          const { space, origin } = yield* Caller
          const scope = yield* tenants.create(space, payload, origin)
          return bodyOf(yield* tenants.get(scope))
        })
    })
  })
)

const one = HttpApiBuilder.group(
  Api,
  "tenant",
  Effect.fnUntraced(function* (handlers) {
    const tenants = yield* Tenants
    const show = (scope: TenantScope) => Effect.map(tenants.get(scope), bodyOf)
    return handlers.handleAll({
      get: () => Effect.flatMap(CurrentTenant, show),
      change: ({ payload }) =>
        Effect.gen(function* () {
          const { origin } = yield* Caller
          const scope = yield* CurrentTenant
          if (payload.plan !== undefined) yield* tenants.changePlan(scope, payload.plan, partOf(origin, "plan"))
          if (payload.displayName !== undefined) yield* tenants.rename(scope, payload.displayName, partOf(origin, "name"))
          return yield* show(scope)
        }),
      suspend: () =>
        Effect.gen(function* () {
          const { origin } = yield* Caller
          const scope = yield* CurrentTenant
          yield* tenants.suspend(scope, origin)
          return yield* show(scope)
        }),
      activate: () =>
        Effect.gen(function* () {
          const { origin } = yield* Caller
          const scope = yield* CurrentTenant
          yield* tenants.activate(scope, origin)
          return yield* show(scope)
        })
    })
  })
)

export const layer = Layer.mergeAll(all, one)
