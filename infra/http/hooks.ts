/** `/hooks/<endpoint id>`: the bare path of ingest, from the socket to the service without anything in between. */
import type { IncomingMessage, ServerResponse } from "node:http"
import { type Context, Effect } from "effect"
import { Ingest, type Reception, unavailable, unknownEndpoint, type WebhookAnswer } from "#services/ingest.ts"
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

/** Reads the body up to the limit; hands over null when it is larger, and nothing when the caller went away. */
const readBody = (request: IncomingMessage, bytesMax: number, then: (body: Uint8Array | null) => void) => {
  const declared = request.headers["content-length"]
  if (declared !== undefined && Number(declared) > bytesMax) return then(null)
  const chunks: Array<Buffer> = []
  let size = 0
  request.on("data", (chunk: Buffer) => {
    size += chunk.length
    if (size <= bytesMax) chunks.push(chunk)
    else {
      request.removeAllListeners("data").removeAllListeners("end")
      then(null)
    }
  })
  request.on("end", () => then(chunks.length === 1 ? chunks[0]! : chunks.length === 0 ? empty : Buffer.concat(chunks, size)))
}

/** An answer before the body was read: the rest of it is not waited for. */
const refuseUnread = (request: IncomingMessage, response: ServerResponse, given: WebhookAnswer) => {
  response.setHeader("connection", "close")
  answer(response, given)
  request.resume()
}

export const hooksListener = (context: Context.Context<Ingest>, { publicUrl }: HooksOptions): Listener => {
  const ingest = Effect.runSyncWith(context)(Ingest)
  const fork = Effect.runForkWith(context)
  const base = publicUrl.replace(/\/+$/u, "")

  const receive = (request: IncomingMessage, response: ServerResponse, reception: Reception) =>
    readBody(request, reception.bodyBytesMax, (rawBody) => {
      if (rawBody === null) return refuseUnread(request, response, tooLarge(reception.bodyBytesMax))
      const call = {
        method: request.method!,
        url: base + request.url!,
        headers: request.headers as Record<string, string | undefined>,
        rawBody,
        address: request.socket.remoteAddress ?? ""
      }
      fork(
        Effect.matchCause(reception.receive(call), {
          onSuccess: (given) => answer(response, given),
          onFailure: () => answer(response, unavailable)
        })
      )
    })

  return (request, response) => {
    const url = request.url!
    const query = url.indexOf("?")
    const endpointId = url.slice(prefix.length, query === -1 ? url.length : query)
    fork(
      Effect.matchCause(ingest.at(endpointId), {
        onSuccess: (reception) => {
          if (reception === null) return refuseUnread(request, response, unknownEndpoint)
          receive(request, response, reception)
        },
        onFailure: () => refuseUnread(request, response, unavailable)
      })
    )
  }
}
