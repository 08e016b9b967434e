/** Answers for events. */
import * as Effect from "effect/Effect"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import { DeliveryNotFound } from "#domain/delivery.ts"
import { deliveries as view } from "#projections/deliveries.ts"
import { Deliveries } from "#services/deliveries.ts"
import { ViewServer } from "#services/ports/view-server.ts"
import { Api } from "../api/api.ts"
import { Caller, CurrentTenant } from "../api/guards.ts"
import { findViews, getView, pageAnswer, whereBetween, whereEqual } from "./pages.ts"

export const layer = HttpApiBuilder.group(
  Api,
  "events",
  Effect.fnUntraced(function* (handlers) {
    const deliveries = yield* Deliveries
    const views = yield* ViewServer
    return handlers.handleAll({
      list: ({ query: { status, connector, event, since, until, ...page } }) =>
        Effect.gen(function* () {
          const scope = yield* CurrentTenant
          const where = [...whereEqual({ status, connectorId: connector, event }), ...whereBetween("receivedAt", since, until)]
          return yield* pageAnswer(yield* findViews(views, view, { scope, where }, page))
        }),
      get: ({ params }) =>
        Effect.gen(function* () {
          const found = yield* getView(views, view, yield* CurrentTenant, params.id)
          return found ?? (yield* new DeliveryNotFound({ deliveryId: params.id }))
        }),
      content: ({ params }) =>
        Effect.gen(function* () {
          const { body, ...head } = yield* deliveries.content(yield* CurrentTenant, params.id)
          const opening = JSON.stringify({ ...head, deliveryId: params.id }).slice(0, -1)
          return HttpServerResponse.text(`${opening},"body":${body}}`, { contentType: "application/json" })
        }),
      explain: ({ params }) =>
        Effect.gen(function* () {
          const explained = yield* deliveries.explain(yield* CurrentTenant, params.id)
          return { ...explained, deliveryId: params.id }
        }),
      send: ({ payload: { connector, ...sent } }) =>
        Effect.gen(function* () {
          const { origin } = yield* Caller
          return yield* deliveries.send(yield* CurrentTenant, { ...sent, connectorId: connector }, origin)
        })
    })
  })
)
