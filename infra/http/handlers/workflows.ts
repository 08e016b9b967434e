/** Answers for workflows. */
import * as Effect from "effect/Effect"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import { flows as view } from "#projections/flows.ts"
import { type FlowDetails, Flows } from "#services/flows.ts"
import { ViewServer } from "#services/ports/view-server.ts"
import { Api } from "../api/api.ts"
import { textOf } from "../api/documents.ts"
import { Caller } from "../api/guards.ts"
import { findViews, pageAnswer, whereBetween, whereEqual } from "./pages.ts"
import { answerRevision } from "./revisions.ts"

const shown = ({ flowId, revision, ...details }: FlowDetails) => Effect.as(answerRevision(revision), { id: flowId, ...details })

export const layer = HttpApiBuilder.group(
  Api,
  "workflows",
  Effect.fnUntraced(function* (handlers) {
    const flows = yield* Flows
    const views = yield* ViewServer
    return handlers.handleAll({
      list: ({ query: { status, since, until, changedSince, changedUntil, ...page } }) =>
        Effect.gen(function* () {
          const { space } = yield* Caller
          const where = [
            ...whereEqual({ status }),
            ...whereBetween("createdAt", since, until),
            ...whereBetween("changedAt", changedSince, changedUntil)
          ]
          return yield* pageAnswer(yield* findViews(views, view, { scope: space, where }, page))
        }),
      draft: ({ payload }) =>
        Effect.gen(function* () {
          const { expecting, origin, space } = yield* Caller
          const { flowId, contentHash, findings, revision } = yield* flows.draft(space, textOf(payload), origin, expecting)
          yield* answerRevision(revision)
          return { id: flowId, contentHash, findings }
        }),
      get: ({ params }) => Effect.flatMap(Caller, ({ space }) => Effect.flatMap(flows.get(space, params.id), shown)),
      version: ({ params }) => Effect.flatMap(Caller, ({ space }) => Effect.flatMap(flows.get(space, params.id, params.version), shown)),
      publish: ({ params }) =>
        Effect.gen(function* () {
          const { expecting, origin, space } = yield* Caller
          const { flowId, version, contentHash, revision } = yield* flows.publish(space, params.id, origin, expecting)
          yield* answerRevision(revision)
          return { id: flowId, version, contentHash }
        }),
      archive: ({ params }) =>
        Effect.gen(function* () {
          const { expecting, origin, space } = yield* Caller
          const { revision } = yield* flows.archive(space, params.id, origin, expecting)
          yield* answerRevision(revision)
        })
    })
  })
)
