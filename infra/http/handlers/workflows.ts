/** Answers for workflows. */
import { Effect } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { flows as view } from "#projections/flows.ts"
import { type FlowDetails, Flows } from "#services/flows.ts"
import { ViewServer } from "#services/ports/view-server.ts"
import { Api } from "../api/api.ts"
import { textOf } from "../api/documents.ts"
import { Caller } from "../api/guards.ts"
import { findViews, pageAnswer } from "./pages.ts"

const detailsBody = ({ flowId, ...details }: FlowDetails) => ({ id: flowId, ...details })

export const layer = HttpApiBuilder.group(
  Api,
  "workflows",
  Effect.fnUntraced(function* (handlers) {
    const flows = yield* Flows
    const views = yield* ViewServer
    return handlers.handleAll({
      list: ({ query }) =>
        Effect.gen(function* () {
          const { space } = yield* Caller
          return yield* pageAnswer(yield* findViews(views, view, { scope: space }, query))
        }),
      draft: ({ payload }) =>
        Effect.gen(function* () {
          const { space, origin } = yield* Caller
          const { flowId, contentHash, findings } = yield* flows.draft(space, textOf(payload), origin)
          return { id: flowId, contentHash, findings }
        }),
      get: ({ params }) => Effect.flatMap(Caller, ({ space }) => Effect.map(flows.get(space, params.id), detailsBody)),
      version: ({ params }) => Effect.flatMap(Caller, ({ space }) => Effect.map(flows.get(space, params.id, params.version), detailsBody)),
      publish: ({ params }) =>
        Effect.gen(function* () {
          const { space, origin } = yield* Caller
          const { flowId, version, contentHash } = yield* flows.publish(space, params.id, origin)
          return { id: flowId, version, contentHash }
        }),
      archive: ({ params }) => Effect.flatMap(Caller, ({ space, origin }) => flows.archive(space, params.id, origin))
    })
  })
)
