/** Turns errors that any endpoint may meet into those that the API declares. */
import { Effect, Layer } from "effect"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import { HttpApiSchemaError } from "effect/http-api/HttpApiError"
import { CommandIdReused } from "#services/transact.ts"
import { Described } from "../api/guards.ts"
import { requestInvalid } from "../problems.ts"

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
      return Effect.fail(error)
    }) as never
)
