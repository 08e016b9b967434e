/** Answers for usage. */
import * as Effect from "effect/Effect"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import { CountedDimension } from "#domain/plan.ts"
import { usage as view } from "#projections/usage.ts"
import type { Condition } from "#services/ports/read-models.ts"
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
      history: ({ query: { dimension, window, reservedMin, ...page } }) =>
        Effect.gen(function* () {
          const scope = yield* CurrentTenant
          const where: ReadonlyArray<Condition> = [
            ...whereEqual({ dimension }),
            ...(window === undefined ? [] : [{ field: "window", is: "prefix" as const, value: window }]),
            ...(reservedMin === undefined ? [] : [{ field: "reserved", is: "gte" as const, value: reservedMin }])
          ]
          return yield* pageAnswer(yield* findViews(views, view, { scope, where }, page))
        }),
      ledger: ({ params: { dimension, window }, query }) =>
        Effect.gen(function* () {
          const { entries, next } = yield* quotas.ledger(yield* CurrentTenant, dimension, window, query.cursor)
          return yield* pageAnswer({ items: entries, next: next === null ? null : String(next) })
        })
    })
  })
)
