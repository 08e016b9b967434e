/** The views' thread: reads the journal with a connection of its own, keeps the views and answers queries about them. */
import "effect/schema/SchemaJITCompiler/enable"
import { parentPort, workerData } from "node:worker_threads"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as journalReader from "#adapters/sqlite/journal-reader.ts"
import * as readModels from "#adapters/sqlite/read-models.ts"
import { type FromViews, sendFailure, type ToViews, type ViewsThreadOptions } from "#adapters/sqlite/views-protocol.ts"
import { allEvents } from "#domain/registry.ts"
import { projections } from "#projections/registry.ts"
import { ReadModelsUnavailable } from "#services/ports/unavailable.ts"
import type { ViewFailure, ViewServer } from "#services/ports/view-server.ts"
import { makeEngine } from "#services/projection-engine.ts"
import * as logging from "./logging.ts"
import { tidyWhenQuiet } from "./tidy.ts"

const options = workerData as ViewsThreadOptions
const port = parentPort!
const post = (message: FromViews) => port.postMessage(message)

const failureOf = (cause: Cause.Cause<ViewFailure>): ViewFailure => {
  const failed = cause.reasons.find(Cause.isFailReason)
  return failed?.error ?? new ReadModelsUnavailable({ reason: "a query failed; the log says why" })
}

const answer = (views: ViewServer["Service"], message: ToViews & { readonly is: "ask" }) => {
  // The main thread's side passes the arguments of the very method on.
  const args = message.args as ReadonlyArray<never>
  const asked =
    message.question === "projections"
      ? views.projections
      : (views[message.question] as (...args: ReadonlyArray<never>) => Effect.Effect<unknown, ViewFailure>)(...args)
  return asked.pipe(
    Effect.tapDefect((defect) => Effect.logError("A query failed", defect)),
    Effect.matchCause({
      onSuccess: (value) => post({ is: "answer", id: message.id, value }),
      onFailure: (cause) => post({ is: "failure", id: message.id, failure: sendFailure(failureOf(cause)) })
    })
  )
}

const serve = Effect.gen(function* () {
  const { views, wake } = yield* makeEngine(projections, allEvents)
  const context = yield* Effect.context<never>()
  const fork = Effect.runForkWith(context)
  yield* Effect.forkChild(tidyWhenQuiet)
  yield* Effect.callback<void>((resume) => {
    port.on("message", (message: ToViews) => {
      if (message.is === "ask") fork(answer(views, message))
      else if (message.is === "news") wake()
      else resume(Effect.void)
    })
    post({ is: "ready" })
  })
})

const stores = Layer.mergeAll(
  journalReader.layer({ file: options.journalFile }),
  readModels.layer({ file: options.viewsFile, journalId: options.journalId })
)
const thread = Effect.scoped(serve).pipe(
  Effect.provide(stores),
  Effect.tapCause((cause) => Effect.logError("The views' thread ends", cause)),
  Effect.provide(logging.layer("Info"))
)

await Effect.runPromise(thread).finally(() => port.close())
