/** Answers for connectors. */
import * as Effect from "effect/Effect"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import { connectors as view } from "#projections/connectors.ts"
import { Connectors } from "#services/connectors.ts"
import { ViewServer } from "#services/ports/view-server.ts"
import { Api } from "../api/api.ts"
import { textOf } from "../api/documents.ts"
import { Caller } from "../api/guards.ts"
import { findViews } from "./pages.ts"

/** A space has few connectors of its own; beyond these a list would need pages. */
const ownMax = 500

export const layer = HttpApiBuilder.group(
  Api,
  "connectors",
  Effect.fnUntraced(function* (handlers) {
    const connectors = yield* Connectors
    const views = yield* ViewServer
    const builtIn = connectors.builtIn.map(({ id, version, manifest }) => ({
      id,
      name: manifest.name,
      version,
      visibility: "community" as const
    }))
    return handlers.handleAll({
      list: () =>
        Effect.gen(function* () {
          const { space } = yield* Caller
          const found = yield* findViews(views, view, { scope: space }, { limit: ownMax, order: "oldest" })
          const own = found.items.map(({ connectorId, name, version }) => ({
            id: connectorId,
            name,
            version,
            visibility: "organisation" as const
          }))
          const taken = new Set<string>(own.map(({ id }) => id))
          return { items: [...own, ...builtIn.filter(({ id }) => !taken.has(id))] }
        }),
      publish: ({ payload }) =>
        Effect.gen(function* () {
          const { space, origin } = yield* Caller
          const { connectorId, version, contentHash } = yield* connectors.publish(space, textOf(payload), origin)
          return { id: connectorId, version, contentHash }
        }),
      get: ({ params }) =>
        Effect.gen(function* () {
          const { space } = yield* Caller
          const { id, version, manifest } = yield* connectors.compiled(space, params.id)
          return { id, version, manifest }
        })
    })
  })
)
