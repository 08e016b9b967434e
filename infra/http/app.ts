/** From the declared API to a `node:http` listener, with a problem for everything that has no better answer. */
import { randomUUID } from "node:crypto"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as ByteSize from "effect/ByteSize"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HttpIncomingMessage from "effect/http/HttpIncomingMessage"
import * as HttpRouter from "effect/http/HttpRouter"
import { type HttpServerError, isHttpServerError } from "effect/http/HttpServerError"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import { methodsOf } from "./paths.ts"
import { problemResponse } from "./problems.ts"
import type { Listener } from "./server.ts"

/** Bodies of the API itself; ingest has its own limit, by setting. */
const bodyBytesMax = ByteSize.mebibytes(2)
/** A tenant's id may be 128 bytes, each of them percent-encoded. */
const pathParameterCharactersMax = 400

const notFound = (path: string) =>
  problemResponse({ title: "Not found", status: 404, detail: `There is nothing at ${path}. See /docs for what there is.`, instance: path })

const wrongMethod = (path: string, method: string, allowed: ReadonlyArray<string>) =>
  problemResponse(
    { title: "Method not allowed", status: 405, detail: `${path} does not answer ${method}, only ${allowed.join(", ")}.`, instance: path },
    { allow: allowed.join(", ") }
  )

const tooLarge = (path: string) =>
  problemResponse(
    {
      title: "Content too large",
      status: 413,
      detail: `The body exceeds ${ByteSize.toNumberUnsafe(bodyBytesMax)} bytes. Nothing was changed. Send less at a time.`,
      instance: path
    },
    { connection: "close" }
  )

const unsupported = (path: string) =>
  problemResponse({
    title: "Unsupported media type",
    status: 415,
    detail: "The body's content type cannot be read here. Nothing was changed. Send application/json.",
    instance: path
  })

const unreadable = (path: string) =>
  problemResponse({
    title: "Bad request",
    status: 400,
    detail: "The request could not be read to its end. Nothing was changed.",
    instance: path
  })

const tooDeep = (path: string) =>
  problemResponse({
    title: "Bad request",
    status: 400,
    detail: "The request nests too deep to be understood. Flatten it.",
    instance: path
  })

const stoppingNow = (path: string) =>
  problemResponse(
    {
      title: "Stopping",
      status: 503,
      detail: "This process is about to stop. Nothing is known to have changed. Try again.",
      instance: path
    },
    { "retry-after": "1" }
  )

/** Our own failure: logged once with an id, and told to the caller by that id alone. */
const failed = (path: string, cause: Cause.Cause<unknown>) => {
  const errorId = randomUUID()
  return Effect.logError("A request failed unexpectedly.", cause).pipe(
    Effect.annotateLogs({ errorId, path }),
    Effect.as(
      problemResponse({
        title: "Internal server error",
        status: 500,
        detail: `Something failed here that should not. Whether anything changed is not known. Report the error id ${errorId}.`,
        instance: path,
        errorId
      })
    )
  )
}

const ofServerError = ({ reason }: HttpServerError, path: string, method: string) => {
  if (reason._tag === "RouteNotFound") {
    const allowed = methodsOf(path)
    return allowed.length === 0 ? notFound(path) : wrongMethod(path, method, allowed)
  }
  if (reason._tag !== "RequestParseError") return undefined
  return reason.reason === "BodyTooLarge" ? tooLarge(path) : unreadable(path)
}

/** JSON may nest as deep as it is long; whoever walks through it may not. */
const isOverflow = (found: unknown): boolean => found instanceof RangeError && found.message.includes("call stack")

const ofCause = (cause: Cause.Cause<unknown>, path: string, method: string) => {
  if (Cause.hasInterruptsOnly(cause)) return Effect.succeed(stoppingNow(path))
  const found = Cause.squash(cause)
  const known = isHttpServerError(found) ? ofServerError(found, path, method) : isOverflow(found) ? tooDeep(path) : undefined
  return known === undefined ? failed(path, cause) : Effect.succeed(known)
}

/** Headers that a status calls for. */
const finished = (response: HttpServerResponse.HttpServerResponse) => {
  if (response.status === 503 || response.status === 429) return HttpServerResponse.setHeader(response, "retry-after", "1")
  return response.status === 401 ? HttpServerResponse.setHeader(response, "www-authenticate", 'Bearer realm="tributary"') : response
}

/** Answers a problem for whatever the routes leave open. */
const withProblems = <E, R>(app: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>) =>
  Effect.gen(function* () {
    const request = yield* HttpServerRequest.HttpServerRequest
    const path = request.url.split("?", 1)[0] as string
    const response = yield* Effect.catchCause(app, (cause) => ofCause(cause, path, request.method))
    if (response.status === 415) return unsupported(path)
    return finished(response)
  })

/** Succeeds when the process begins to stop: what streams without end listens to it. */
export const Stopping = Context.Reference<Effect.Effect<void>>("tributary/http/Stopping", { defaultValue: () => Effect.never })

/** Builds the routes once; requests run as fibers of the surrounding scope. */
export const makeListener = <E, R>(routes: Layer.Layer<never, E, R>, stopping: Effect.Effect<void>) =>
  Effect.gen(function* () {
    const scope = yield* Effect.scope
    const app = yield* HttpRouter.toHttpEffect(routes.pipe(Layer.provide(NodeHttpServer.layerHttpServices)))
    const limited = withProblems(
      app as Effect.Effect<HttpServerResponse.HttpServerResponse, unknown, HttpServerRequest.HttpServerRequest>
    ).pipe(Effect.provideService(HttpIncomingMessage.MaxBodySize, bodyBytesMax), Effect.provideService(Stopping, stopping))
    return (yield* NodeHttpServer.makeHandler(limited, { scope })) as Listener
  }).pipe(Effect.provideService(HttpRouter.RouterConfig, { maxParamLength: pathParameterCharactersMax }))
