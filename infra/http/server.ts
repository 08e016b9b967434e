/** The listening socket: plain `node:http`, with the webhook path ahead of everything else. */
import { createServer, type IncomingMessage, type ServerResponse, STATUS_CODES } from "node:http"
import type { AddressInfo, Socket } from "node:net"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"

/** Answers a request by itself. Nothing is read, parsed or awaited before it. */
export type Listener = (request: IncomingMessage, response: ServerResponse) => void

export interface Routes {
  /** `/hooks/…`: ingest, a bare path. */
  readonly hooks: Listener
  /** Everything else. */
  readonly api: Listener
  /** Null when the process may be given work; else why not. */
  readonly notReady: () => string | null
}

export interface HttpServer {
  /** `http://127.0.0.1:8080`, with the port that was really taken. */
  readonly url: string
  readonly port: number
  /** Open connections, for the metrics. */
  readonly connections: () => number
}

/** The address could not be listened on. */
export class AddressNotFree extends Data.TaggedError("AddressNotFree")<{ readonly address: string; readonly cause: unknown }> {
  override get message() {
    return `Cannot listen on ${this.address} (${String((this.cause as NodeJS.ErrnoException).code ?? this.cause)}). Nothing was started. Stop what listens there, or choose another --port.`
  }
}

/** A whole request, headers included. */
const requestTimeoutMillis = 30_000
const headersTimeoutMillis = 10_000
/** How often the two limits above are looked at: nobody stays longer than a limit and this. */
const timeoutCheckMillis = 2_500
const keepAliveMillis = 65_000
const idleCheckMillis = 20
const headerBytesMax = 16 * 1024
const headersMax = 100
const connectionsMax = 20_000

/** On every answer except ingest's. */
const commonHeaders = new Map([
  ["x-content-type-options", "nosniff"],
  ["x-frame-options", "DENY"],
  ["referrer-policy", "no-referrer"],
  ["cache-control", "no-store"]
])

const answer = (response: ServerResponse, status: number, type: string, body: object) => {
  response.writeHead(status, { "content-type": type, ...(status === 503 ? { "retry-after": "1" } : {}) })
  response.end(JSON.stringify(body))
}

const dispatch =
  (routes: Routes): Listener =>
  (request, response) => {
    const url = request.url as string
    if (url.startsWith("/hooks/")) return routes.hooks(request, response)
    response.setHeaders(commonHeaders)
    if (url === "/healthz") return answer(response, 200, "application/json", { status: "ok" })
    if (url === "/readyz") {
      const reason = routes.notReady()
      return answer(response, reason === null ? 200 : 503, "application/json", reason === null ? { status: "ready" } : { status: reason })
    }
    routes.api(request, response)
  }

/** What cannot be parsed as HTTP, or took too long, never becomes a request: it is answered on the socket and cut. */
const refuseUnparsed = (error: NodeJS.ErrnoException, socket: Socket) => {
  if (error.code === "ECONNRESET" || !socket.writable) return socket.destroy()
  const status = error.code === "HPE_HEADER_OVERFLOW" ? 431 : error.code === "ERR_HTTP_REQUEST_TIMEOUT" ? 408 : 400
  const title = STATUS_CODES[status] as string
  const body = JSON.stringify({ type: "about:blank", title, status, detail: `The request could not be read: ${title}.` })
  const head = `HTTP/1.1 ${status} ${title}\r\ncontent-type: application/problem+json\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n`
  socket.end(head + body, () => socket.destroy())
}

/** Waits for open requests, then cuts what is left. */
const close = (server: ReturnType<typeof createServer>, graceMillis: number) =>
  Effect.callback<void>((resume) => {
    // A connection that was busy becomes idle later, and would be kept alive.
    const idle = setInterval(() => server.closeIdleConnections(), idleCheckMillis)
    const cut = setTimeout(() => server.closeAllConnections(), graceMillis)
    server.close(() => {
      clearInterval(idle)
      clearTimeout(cut)
      resume(Effect.void)
    })
  })

/** Listens until its scope closes; then takes no more, and gives what is open `graceMillis` to finish. */
export const listen = (options: { readonly host: string; readonly port: number; readonly graceMillis: number }, routes: Routes) =>
  Effect.acquireRelease(
    Effect.callback<{ readonly server: ReturnType<typeof createServer>; readonly running: HttpServer }, AddressNotFree>((resume) => {
      const server = createServer(
        {
          headersTimeout: headersTimeoutMillis,
          requestTimeout: requestTimeoutMillis,
          connectionsCheckingInterval: timeoutCheckMillis,
          keepAliveTimeout: keepAliveMillis,
          maxHeaderSize: headerBytesMax,
          noDelay: true
        },
        dispatch(routes)
      )
      server.maxHeadersCount = headersMax
      server.maxConnections = connectionsMax
      let connections = 0
      server.on("connection", (socket) => {
        connections++
        socket.once("close", () => connections--)
      })
      server.on("clientError", refuseUnparsed)
      const failed = (cause: Error) => resume(Effect.fail(new AddressNotFree({ address: `${options.host}:${options.port}`, cause })))
      server.once("error", failed)
      server.listen({ host: options.host, port: options.port, backlog: 1024 }, () => {
        server.off("error", failed)
        const { port } = server.address() as AddressInfo
        const host = options.host.includes(":") ? `[${options.host}]` : options.host
        resume(Effect.succeed({ server, running: { url: `http://${host}:${port}`, port, connections: () => connections } }))
      })
    }),
    ({ server }) => close(server, options.graceMillis)
  ).pipe(Effect.map(({ running }) => running))
