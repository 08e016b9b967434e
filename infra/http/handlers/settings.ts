/** Answers for the configuration cascade. */
import { Effect, Layer } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { platformScope } from "#domain/scope.ts"
import { Settings } from "#services/settings.ts"
import { Api } from "../api/api.ts"
import { Caller, CurrentTenant } from "../api/guards.ts"

const targetOf = ({ connector, flow }: { readonly connector?: string; readonly flow?: string }) => ({
  connectorId: connector,
  flowId: flow
})

const platform = HttpApiBuilder.group(
  Api,
  "platformSettings",
  Effect.fnUntraced(function* (handlers) {
    const settings = yield* Settings
    return handlers.handleAll({
      list: ({ query }) => Effect.map(settings.list(platformScope, targetOf(query)), (items) => ({ items })),
      explain: ({ params, query }) => settings.explain(platformScope, params.key, { ...targetOf(query), at: query.at }),
      set: ({ params, query, payload }) =>
        Effect.flatMap(Caller, ({ origin }) => settings.set(platformScope, params.key, payload.value, targetOf(query), origin)),
      clear: ({ params, query }) =>
        Effect.flatMap(Caller, ({ origin }) => settings.clear(platformScope, params.key, targetOf(query), origin))
    })
  })
)

const space = HttpApiBuilder.group(
  Api,
  "settings",
  Effect.fnUntraced(function* (handlers) {
    const settings = yield* Settings
    return handlers.handleAll({
      list: ({ query }) => Effect.flatMap(Caller, ({ space }) => Effect.map(settings.list(space, targetOf(query)), (items) => ({ items }))),
      explain: ({ params, query }) =>
        Effect.flatMap(Caller, ({ space }) => settings.explain(space, params.key, { ...targetOf(query), at: query.at })),
      set: ({ params, query, payload }) =>
        Effect.flatMap(Caller, ({ space, origin }) => settings.set(space, params.key, payload.value, targetOf(query), origin)),
      clear: ({ params, query }) =>
        Effect.flatMap(Caller, ({ space, origin }) => settings.clear(space, params.key, targetOf(query), origin))
    })
  })
)

const tenant = HttpApiBuilder.group(
  Api,
  "tenantSettings",
  Effect.fnUntraced(function* (handlers) {
    const settings = yield* Settings
    return handlers.handleAll({
      list: ({ query }) =>
        Effect.flatMap(CurrentTenant, (scope) => Effect.map(settings.list(scope, targetOf(query)), (items) => ({ items }))),
      explain: ({ params, query }) =>
        Effect.flatMap(CurrentTenant, (scope) => settings.explain(scope, params.key, { ...targetOf(query), at: query.at })),
      set: ({ params, query, payload }) =>
        Effect.gen(function* () {
          const { origin } = yield* Caller
          return yield* settings.set(yield* CurrentTenant, params.key, payload.value, targetOf(query), origin)
        }),
      clear: ({ params, query }) =>
        Effect.gen(function* () {
          const { origin } = yield* Caller
          return yield* settings.clear(yield* CurrentTenant, params.key, targetOf(query), origin)
        })
    })
  })
)

export const layer = Layer.mergeAll(platform, space, tenant)
