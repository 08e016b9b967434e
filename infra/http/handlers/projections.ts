/** Answers for projections. */
import * as Effect from "effect/Effect"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import { ViewServer } from "#services/ports/view-server.ts"
import { Api } from "../api/api.ts"

export const layer = HttpApiBuilder.group(
  Api,
  "projections",
  Effect.fnUntraced(function* (handlers) {
    const views = yield* ViewServer
    return handlers.handleAll({
      list: () => Effect.map(views.projections, (items) => ({ items })),
      rebuild: ({ params }) => views.rebuild(params.name)
    })
  })
)
