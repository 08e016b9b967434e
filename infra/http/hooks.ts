/** `/hooks/<endpoint id>`: the bare path of ingest, from the socket to the service without anything in between. */
import type { IncomingMessage, ServerResponse } from "node:http"
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { Ingest, unavailable, unknownEndpoint, type WebhookAnswer } from "#services/ingest.ts"
import type { Listener } from "./server.ts"

export interface HooksOptions {
  /** The base of the URL that vendors call: signatures over URLs are checked against it. */
  readonly publicUrl: string
}

const prefix = "/hooks/"
const empty = new Uint8Array(0)

const problem = (response: ServerResponse, { status, code, detail, retryAfterSeconds }: Extract<WebhookAnswer, { _tag: "Refused" }>) => {
  const body = Buffer.from(JSON.stringify({ type: `/problems/${code}`, title: code.replaceAll("-", " "), status, detail }))
  response.writeHead(status, {
    "content-type": "application/problem+json",
    "content-length": body.length,
    ...(retryAfterSeconds === undefined ? {} : { "retry-after": String(retryAfterSeconds) })
  } satisfies Record<string, string | number>)
  response.end(body)
}

const answer = (response: ServerResponse, given: WebhookAnswer) => {
  if (response.headersSent || response.destroyed) return
  if (given._tag === "Refused") return problem(response, given)
  response.writeHead(given.status, { ...given.headers, "content-length": Buffer.byteLength(given.body) })
  response.end(given.body)
}

const tooLarge = (bytesMax: number): WebhookAnswer => ({
  _tag: "Refused",
  status: 413,
  code: "body-too-large",
  detail: `The body exceeds this endpoint's limit of ${bytesMax} bytes. Nothing was recorded.`
})

type Body = Uint8Array | "too-large" | "gone"

/** Reads the body up to the limit. `gone`: the caller went away before the end of it. */
const readBody = (request: IncomingMessage, bytesMax: number, then: (body: Body) => void) => {
  const declared = request.headers["content-length"]
  if (declared !== undefined && Number(declared) > bytesMax) return then("too-large")
  const chunks: Array<Buffer> = []
  let size = 0
  request.on("data", (chunk: Buffer) => {
    size += chunk.length
    if (size <= bytesMax) chunks.push(chunk)
    else {
      request.removeAllListeners("data").removeAllListeners("end")
      then("too-large")
    }
  })
  request.on("close", () => {
    if (!request.complete) then("gone")
  })
  request.on("end", () => then(chunks.length === 1 ? chunks[0]! : chunks.length === 0 ? empty : Buffer.concat(chunks, size)))
}

/** So much of a refused body is still taken and thrown away: who is cut off in the middle of sending often misses the answer. */
const drainedBytesMax = 67_108_864

/** An answer before the body was read: nobody looks at the rest of it. */
const refuseUnread = (request: IncomingMessage, response: ServerResponse, given: WebhookAnswer) => {
  if (Number(request.headers["content-length"] ?? 0) > drainedBytesMax) response.setHeader("connection", "close")
  answer(response, given)
  let left = drainedBytesMax
  request.on("data", (chunk: Buffer) => {
    left -= chunk.length
    if (left < 0) request.destroy()
  })
}

export const hooksListener = (context: Context.Context<Ingest>, { publicUrl }: HooksOptions): Listener => {
  const ingest = Effect.runSyncWith(context)(Ingest)
  const fork = Effect.runForkWith(context)
  const base = publicUrl.replace(/\/+$/u, "")

  const bodyOf = (request: IncomingMessage, bytesMax: number) =>
    Effect.callback<Body>((resume) => readBody(request, bytesMax, (body) => resume(Effect.succeed(body))))

  const received = Effect.fnUntraced(function* (request: IncomingMessage, response: ServerResponse, endpointId: string) {
    const reception = yield* ingest.at(endpointId)
    if (reception === null) return refuseUnread(request, response, unknownEndpoint)
    const rawBody = yield* bodyOf(request, reception.bodyBytesMax)
    if (rawBody === "gone") return
    if (rawBody === "too-large") return refuseUnread(request, response, tooLarge(reception.bodyBytesMax))
    const given = yield* reception.receive({
      method: request.method!,
      url: base + request.url!,
      headers: request.headers as Record<string, string | undefined>,
      rawBody,
      address: request.socket.remoteAddress ?? ""
    })
    answer(response, given)
  })

  return (request, response) => {
    const url = request.url!
    const query = url.indexOf("?")
    const endpointId = url.slice(prefix.length, query === -1 ? url.length : query)
    fork(
      Effect.catchCause(received(request, response, endpointId), (cause) =>
        Effect.andThen(
          Cause.hasDies(cause) ? Effect.logError("A webhook could not be taken in", cause) : Effect.void,
          Effect.sync(() => refuseUnread(request, response, unavailable))
        )
      )
    )
  }
}
