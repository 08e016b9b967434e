/** Turns errors that any endpoint may meet into those that the API declares. */
import * as Effect from "effect/Effect"
import * as HttpEffect from "effect/http/HttpEffect"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import { HttpApiSchemaError } from "effect/http-api/HttpApiError"
import * as Layer from "effect/Layer"
import { CommandIdReused, RevisionMismatch } from "#services/transact.ts"
import { Described } from "../api/guards.ts"
import { requestInvalid } from "../problems.ts"
import { answerRevision } from "./revisions.ts"

const retryAfterOf = (error: unknown): number | undefined => {
  const seconds = typeof error === "object" && error !== null && "retryAfterSeconds" in error ? error.retryAfterSeconds : undefined
  return typeof seconds === "number" ? seconds : undefined
}
const answerRetryAfter = (seconds: number) =>
  HttpEffect.appendPreResponseHandler((_request, response) =>
    Effect.succeed(HttpServerResponse.setHeader(response, "retry-after", String(Math.max(1, Math.ceil(seconds)))))
  )

export const described = Layer.succeed(
  Described,
  (handler) =>
    Effect.catch(handler as Effect.Effect<never, unknown, never>, (error) => {
      if (HttpApiSchemaError.is(error)) {
        const found = requestInvalid(error)
        return found === undefined ? Effect.die(error) : Effect.fail(found)
      }
      if (error instanceof CommandIdReused)
        return Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ headers }) =>
          Effect.fail(new CommandIdReused({ commandId: headers["idempotency-key"] ?? error.commandId }))
        )
      if (error instanceof RevisionMismatch) return Effect.andThen(answerRevision(error.revision), Effect.fail(error))
      const retryAfter = retryAfterOf(error)
      return retryAfter === undefined ? Effect.fail(error) : Effect.andThen(answerRetryAfter(retryAfter), Effect.fail(error))
    }) as never
)
