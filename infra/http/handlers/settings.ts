/** Answers for the configuration cascade. */
import * as Effect from "effect/Effect"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import * as Layer from "effect/Layer"
import type * as Schema from "effect/Schema"
import { platformScope, type Scope } from "#domain/scope.ts"
import { Settings } from "#services/settings.ts"
import { Api } from "../api/api.ts"
import { Caller, CurrentTenant } from "../api/guards.ts"
import { answerRevision } from "./revisions.ts"

interface Targeted {
  readonly query: { readonly connector?: string; readonly flow?: string }
}
interface Keyed extends Targeted {
  readonly params: { readonly key: string }
}

const targetOf = ({ connector, flow }: Targeted["query"]) => ({ connectorId: connector, flowId: flow })

/** The same answers on each level: only the scope differs. */
const answersIn = <R>(settings: Settings["Service"], scoped: Effect.Effect<Scope, never, R>) => {
  /** What holds depends on the levels above as well: so does the tag, which begins with the scope's own revision. */
  const tagged = (scope: Scope) => Effect.flatMap(settings.revisions(scope), (revisions) => answerRevision(...revisions))
  return {
    list: ({ query }: Targeted) =>
      Effect.gen(function* () {
        const scope = yield* scoped
        yield* tagged(scope)
        return { items: yield* settings.list(scope, targetOf(query)) }
      }),
    explain: ({ params, query: { at, ...target } }: Keyed & { readonly query: { readonly at?: number } }) =>
      Effect.flatMap(scoped, (scope) => settings.explain(scope, params.key, { ...targetOf(target), at })),
    set: ({ params, query, payload }: Keyed & { readonly payload: { readonly value: Schema.Json } }) =>
      Effect.gen(function* () {
        const { expecting, origin } = yield* Caller
        const scope = yield* scoped
        const done = yield* settings.set(scope, params.key, payload.value, targetOf(query), origin, expecting)
        yield* tagged(scope)
        return done
      }),
    clear: ({ params, query }: Keyed) =>
      Effect.gen(function* () {
        const { expecting, origin } = yield* Caller
        const scope = yield* scoped
        const done = yield* settings.clear(scope, params.key, targetOf(query), origin, expecting)
        yield* tagged(scope)
        return done
      })
  }
}

const platform = HttpApiBuilder.group(
  Api,
  "platformSettings",
  Effect.fnUntraced(function* (handlers) {
    return handlers.handleAll(answersIn(yield* Settings, Effect.succeed(platformScope)))
  })
)
const space = HttpApiBuilder.group(
  Api,
  "settings",
  Effect.fnUntraced(function* (handlers) {
    return handlers.handleAll(
      answersIn(
        yield* Settings,
        Effect.map(Caller, ({ space }) => space)
      )
    )
  })
)
const tenant = HttpApiBuilder.group(
  Api,
  "tenantSettings",
  Effect.fnUntraced(function* (handlers) {
    return handlers.handleAll(answersIn(yield* Settings, CurrentTenant))
  })
)

export const layer = Layer.mergeAll(platform, space, tenant)
