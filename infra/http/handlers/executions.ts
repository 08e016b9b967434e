/** Answers for executions. */
import * as Effect from "effect/Effect"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import type { RunId } from "#domain/ids.ts"
import { type Run, RunNotFound } from "#domain/run.ts"
import { streamName } from "#domain/scope.ts"
import { runs as view } from "#projections/runs.ts"
import { Feed } from "#services/ports/feed.ts"
import { Journal } from "#services/ports/journal.ts"
import { ViewServer } from "#services/ports/view-server.ts"
import { Runs } from "#services/runs.ts"
import { Api } from "../api/api.ts"
import { Caller, CurrentTenant } from "../api/guards.ts"
import { findViews, getView, pageAnswer, whereBetween, whereEqual } from "./pages.ts"
import { answerRevision } from "./revisions.ts"
import { followRuns, resumeAfter } from "./run-stream.ts"

const changed = (id: RunId, { state, revision }: { readonly state: Run; readonly revision: number }) =>
  Effect.as(answerRevision(revision), { id, status: state.status, revision })

export const layer = HttpApiBuilder.group(
  Api,
  "executions",
  Effect.fnUntraced(function* (handlers) {
    const runs = yield* Runs
    const views = yield* ViewServer
    const feed = yield* Feed
    const { journalId, readStream } = yield* Journal
    return handlers.handleAll({
      list: ({ query: { status, workflow, delivery, since, until, ...page } }) =>
        Effect.gen(function* () {
          const scope = yield* CurrentTenant
          const where = [...whereEqual({ status, flowId: workflow, deliveryId: delivery }), ...whereBetween("startedAt", since, until)]
          return yield* pageAnswer(yield* findViews(views, view, { scope, where }, page))
        }),
      get: ({ params }) =>
        Effect.gen(function* () {
          const found = yield* getView(views, view, yield* CurrentTenant, params.id)
          if (found === null) return yield* new RunNotFound({ runId: params.id })
          yield* answerRevision(found.revision)
          return found
        }),
      stream: ({ headers }) =>
        Effect.gen(function* () {
          const scope = yield* CurrentTenant
          const seen = yield* resumeAfter(feed, journalId, headers["last-event-id"])
          return yield* followRuns(feed, scope, { journalId, local: "run-", after: seen ?? (yield* feed.head) })
        }),
      streamOne: ({ params, headers }) =>
        Effect.gen(function* () {
          const scope = yield* CurrentTenant
          const seen = yield* resumeAfter(feed, journalId, headers["last-event-id"])
          const after = yield* feed.head
          const history = yield* readStream(scope, streamName(scope, `run-${params.id}`))
          if (history.length === 0) return yield* new RunNotFound({ runId: params.id })
          const before = history.filter(({ position }) => seen === undefined || position > seen)
          return yield* followRuns(feed, scope, { journalId, local: `run-${params.id}`, after, before, known: history.at(-1)!.position })
        }),
      step: ({ params }) => Effect.flatMap(CurrentTenant, (scope) => runs.step(scope, params.id, params.step)),
      cancel: ({ params, payload }) =>
        Effect.gen(function* () {
          const { expecting, origin } = yield* Caller
          return yield* changed(params.id, yield* runs.cancel(yield* CurrentTenant, params.id, payload.reason, origin, expecting))
        }),
      retry: ({ params }) =>
        Effect.gen(function* () {
          const { expecting, origin } = yield* Caller
          return yield* changed(params.id, yield* runs.retry(yield* CurrentTenant, params.id, origin, expecting))
        }),
      decide: ({ params, payload }) =>
        Effect.gen(function* () {
          const { expecting, origin } = yield* Caller
          const { decision, output } = payload
          const scope = yield* CurrentTenant
          return yield* changed(params.id, yield* runs.decide(scope, params.id, params.step, decision, output, origin, expecting))
        })
    })
  })
)
