/** Brings the HTTP side up: listens at once, and builds the API behind the open port. */
import type { IncomingMessage, ServerResponse } from "node:http"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { counterBy, gauge, Metrics } from "../metrics.ts"
import { type Listener, listen } from "./server.ts"

/** Requests that may wait for their part to be built; the port is open a moment before that. */
const earlyRequestsMax = 1_000

interface Gate {
  readonly listener: Listener
  readonly open: (listener: Listener) => void
  readonly isOpen: () => boolean
  readonly requests: () => number
}

/** Holds requests until what answers them is there, then stands aside. */
const gate = (): Gate => {
  let target: Listener | undefined
  let early: Array<readonly [IncomingMessage, ServerResponse]> = []
  let requests = 0
  return {
    listener: (request, response) => {
      requests++
      if (target !== undefined) return target(request, response)
      if (early.length < earlyRequestsMax) early.push([request, response])
      else response.writeHead(503, { "retry-after": "1" }).end()
    },
    open: (listener) => {
      target = listener
      for (const [request, response] of early) if (!response.destroyed) listener(request, response)
      early = []
    },
    isOpen: () => target !== undefined,
    requests: () => requests
  }
}

export interface ServeOptions<E, R> {
  readonly host: string
  readonly port: number
  readonly graceMillis: number
  /** Given the URL under which this process listens. */
  readonly hooks: (url: string) => Listener
  /** Imported and built after the port is open, given its URL. */
  readonly routes: (url: string) => Promise<Layer.Layer<never, E, R>>
  /** Null while everything behind HTTP is able to take work; else why not. */
  readonly notReady?: () => string | null
}

/** Serves until the scope closes: first `readyz` says 503, then no connection is taken, then what is open gets its time. */
export const serve = <E, R>(options: ServeOptions<E, R>) =>
  Effect.gen(function* () {
    const metrics = yield* Metrics
    const api = gate()
    const hooks = gate()
    const stop = yield* Deferred.make<void>()
    const notReady = () => (Deferred.isDoneUnsafe(stop) ? "stopping" : api.isOpen() ? (options.notReady?.() ?? null) : "starting")
    // Older than the socket, so that requests outlive the last connection.
    const requests = yield* Effect.acquireRelease(Scope.make(), (scope, exit) => Scope.close(scope, exit))
    yield* Effect.addFinalizer(() => Effect.logInfo("Every request is answered or cut."))
    const server = yield* listen(options, { hooks: hooks.listener, api: api.listener, notReady })
    hooks.open(options.hooks(server.url))
    const building = yield* Effect.gen(function* () {
      const [{ makeListener }, routes] = yield* Effect.promise(() => Promise.all([import("./app.ts"), options.routes(server.url)]))
      api.open(yield* makeListener(routes, Deferred.await(stop)))
    }).pipe(Scope.provide(requests), Effect.forkIn(requests))
    yield* Effect.addFinalizer(() => Effect.andThen(Effect.logInfo("Stopping: no new requests."), Deferred.succeed(stop, undefined)))
    metrics.register(
      Effect.sync(() => [
        gauge("http_connections", "Open connections.", server.connections()),
        counterBy("http_requests_total", "Requests by the part that takes them.", "part", { api: api.requests(), hooks: hooks.requests() })
      ])
    )
    return { ...server, built: Fiber.join(building) }
  })
