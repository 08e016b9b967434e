/** Answers for projections. */
import { Effect } from "effect"
import { HttpApiBuilder } from "effect/http-api"
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
