/** Answers for a tenant's workflows. */
import * as Effect from "effect/Effect"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import { enablements as view } from "#projections/enablements.ts"
import { type EnabledResult, Enablements } from "#services/enablements.ts"
import { ViewServer } from "#services/ports/view-server.ts"
import { Api } from "../api/api.ts"
import { Caller, CurrentTenant } from "../api/guards.ts"
import { findViews, pageAnswer, whereBetween, whereEqual } from "./pages.ts"

const enabledBody = ({ flowId, version, missing }: EnabledResult) => ({
  id: flowId,
  version,
  missing: missing.map(({ connectorId, binding, problem }) => ({ connectorId, binding, problem: problem._tag, detail: problem.message }))
})

export const layer = HttpApiBuilder.group(
  Api,
  "tenantWorkflows",
  Effect.fnUntraced(function* (handlers) {
    const enablements = yield* Enablements
    const views = yield* ViewServer
    return handlers.handleAll({
      list: ({ query: { status, since, until, ...page } }) =>
        Effect.gen(function* () {
          const scope = yield* CurrentTenant
          const where = [...whereEqual({ status }), ...whereBetween("changedAt", since, until)]
          return yield* pageAnswer(yield* findViews(views, view, { scope, where }, page))
        }),
      enable: ({ params, payload }) =>
        Effect.gen(function* () {
          const { origin } = yield* Caller
          return enabledBody(yield* enablements.enable(yield* CurrentTenant, params.id, payload, origin))
        }),
      disable: ({ params }) =>
        Effect.gen(function* () {
          const { origin } = yield* Caller
          yield* enablements.disable(yield* CurrentTenant, params.id, origin)
        })
    })
  })
)
