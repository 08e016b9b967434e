/** Answers for the audit log. */
import * as Effect from "effect/Effect"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import * as Layer from "effect/Layer"
import type { Scope } from "#domain/scope.ts"
import { audit as view } from "#projections/audit.ts"
import { ViewServer } from "#services/ports/view-server.ts"
import { Api } from "../api/api.ts"
import { Caller, CurrentTenant } from "../api/guards.ts"
import { findViews, type PageRequest, pageAnswer, whereBetween, whereEqual } from "./pages.ts"

interface AuditQuery extends PageRequest {
  readonly since?: number
  readonly until?: number
  readonly by?: string
  readonly action?: string
  readonly kind?: string
  readonly target?: string
}

const listIn = (views: ViewServer["Service"], scope: Scope, { since, until, by, action, kind, target, ...page }: AuditQuery) => {
  const where = [...whereEqual({ by, action, kind, target }), ...whereBetween("at", since, until)]
  return Effect.flatMap(findViews(views, view, { scope, where }, page), pageAnswer)
}

const space = HttpApiBuilder.group(
  Api,
  "audit",
  Effect.fnUntraced(function* (handlers) {
    const views = yield* ViewServer
    return handlers.handle("list", ({ query }) => Effect.flatMap(Caller, ({ space }) => listIn(views, space, query)))
  })
)
const tenant = HttpApiBuilder.group(
  Api,
  "tenantAudit",
  Effect.fnUntraced(function* (handlers) {
    const views = yield* ViewServer
    return handlers.handle("list", ({ query }) => Effect.flatMap(CurrentTenant, (scope) => listIn(views, scope, query)))
  })
)

export const layer = Layer.mergeAll(space, tenant)
