/** Calls to the outside by undici's HTTP/1.1 client, behind the egress guard. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import buildConnector from "undici/lib/core/connect.js"
import { type CallFailed, EgressDenied, Outbound, type OutboundRequest, type OutboundResponse } from "#services/ports/outbound.ts"
import { admitUrl, type Destination, type EgressAllowList } from "../net/egress.ts"
import { cachedResolve, guardedLookup, type Resolve, systemResolve } from "../net/egress-lookup.ts"
import { Connections } from "./connections.ts"
import { Exchange } from "./exchange.ts"

export interface OutboundOptions {
  readonly allow: EgressAllowList
  /** Connections to one origin at a time. */
  readonly connectionsPerOriginMax?: number
  /** Calls to one origin that may wait for a connection. */
  readonly waitingPerOriginMax?: number
  /** PEM of authorities to trust instead of the system's. */
  readonly ca?: string
  readonly resolve?: Resolve
  readonly now?: () => number
}

const connectTimeoutMillis = 10_000
/** Set by the connection itself, or able to lead a request elsewhere. */
const reservedHeaders = new Set([
  "connection",
  "content-length",
  "expect",
  "host",
  "keep-alive",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade"
])

/** As undici takes them, name after value; or the name of one that a caller may not set. undici itself checks the characters. */
const headersOf = (headers: Readonly<Record<string, string>>): Array<string> | string => {
  const list: Array<string> = []
  for (const name in headers) {
    if (reservedHeaders.has(name.toLowerCase())) return name
    list.push(name, headers[name]!)
  }
  return list
}

const hasBlanks = /[^\x21-\x7e\u0080-\uffff]/

const parse = (text: string): Result.Result<URL, EgressDenied> => {
  const url = hasBlanks.test(text) ? null : URL.parse(text)
  return url === null ? Result.fail(new EgressDenied({ url: "", reason: "its URL is not valid" })) : Result.succeed(url)
}

export const make = (options: OutboundOptions) => {
  const { allow, connectionsPerOriginMax = 4_096, waitingPerOriginMax = 16_384, now = () => performance.now() } = options
  const resolve = cachedResolve(options.resolve ?? systemResolve, now)
  const origins = new Map<string, Connections>()

  const connectionsTo = (origin: string, destination: Destination): Connections => {
    const connect = buildConnector({
      allowH2: false,
      timeout: connectTimeoutMillis,
      lookup: guardedLookup(destination, allow, resolve),
      ...(options.ca === undefined ? {} : { ca: options.ca })
    })
    const connections = new Connections(origin, {
      connectionsMax: connectionsPerOriginMax,
      waitingMax: waitingPerOriginMax,
      connect,
      emptied: () => origins.delete(origin)
    })
    origins.set(origin, connections)
    return connections
  }

  /** What depends on the origin alone is judged once, and again after its last connection is gone. */
  const connectionsFor = (origin: string, url: URL): Result.Result<Connections, EgressDenied> => {
    const known = url.username === "" && url.password === "" ? origins.get(origin) : undefined
    if (known !== undefined) return Result.succeed(known)
    const destination = admitUrl(url, allow)
    return Result.isFailure(destination)
      ? Result.fail(new EgressDenied({ url: origin, reason: destination.failure }))
      : Result.succeed(connectionsTo(origin, destination.success))
  }

  const call = (request: OutboundRequest): Effect.Effect<OutboundResponse, EgressDenied | CallFailed> =>
    Effect.callback((resume) => {
      const url = parse(request.url)
      if (Result.isFailure(url)) return resume(Effect.fail(url.failure))
      // Not `URL.origin`: that of `blob:https://host/…` is the host's.
      const origin = `${url.success.protocol}//${url.success.host}`
      const headers = headersOf(request.headers)
      if (typeof headers === "string") {
        return resume(Effect.fail(new EgressDenied({ url: origin, reason: `the header ${headers} may not be set` })))
      }
      const connections = connectionsFor(origin, url.success)
      if (Result.isFailure(connections)) return resume(Effect.fail(connections.failure))
      const exchange = new Exchange(request, origin, url.success, headers, now, {
        succeed: (response) => resume(Effect.succeed(response)),
        fail: (failure) => resume(Effect.fail(failure))
      })
      connections.success.send(exchange)
      return Effect.sync(() => exchange.stop("reset", "it was interrupted"))
    })

  const close = Effect.promise(() => Promise.all(Array.from(origins.values(), (connections) => connections.destroy())))

  return { outbound: Outbound.of({ now, call }), close }
}

export const layer = (options: OutboundOptions) =>
  Layer.effect(
    Outbound,
    Effect.map(
      Effect.acquireRelease(
        Effect.sync(() => make(options)),
        ({ close }) => close
      ),
      ({ outbound }) => outbound
    )
  )
