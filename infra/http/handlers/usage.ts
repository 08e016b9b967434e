/** Answers for usage. */
import { Effect } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { CountedDimension } from "#domain/plan.ts"
import { usage as view } from "#projections/usage.ts"
import { ViewServer } from "#services/ports/view-server.ts"
import { Quotas } from "#services/quotas.ts"
import { Api } from "../api/api.ts"
import { CurrentTenant } from "../api/guards.ts"
import { findViews, pageAnswer, whereEqual } from "./pages.ts"

export const layer = HttpApiBuilder.group(
  Api,
  "usage",
  Effect.fnUntraced(function* (handlers) {
    const quotas = yield* Quotas
    const views = yield* ViewServer
    return handlers.handleAll({
      standing: () =>
        Effect.gen(function* () {
          const scope = yield* CurrentTenant
          return { items: yield* Effect.forEach(CountedDimension.literals, (dimension) => quotas.standing(scope, dimension)) }
        }),
      history: ({ query: { dimension, ...page } }) =>
        Effect.gen(function* () {
          const scope = yield* CurrentTenant
          return yield* pageAnswer(yield* findViews(views, view, { scope, where: whereEqual({ dimension }), sort: ["window"] }, page))
        }),
      ledger: ({ params: { dimension, window }, query }) =>
        Effect.gen(function* () {
          const { entries, next } = yield* quotas.ledger(yield* CurrentTenant, dimension, window, query.cursor)
          return yield* pageAnswer({ items: entries, next: next === null ? null : String(next) })
        })
    })
  })
)
