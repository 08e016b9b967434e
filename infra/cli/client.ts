/** Talks to a server over HTTP: requests with a JSON answer, and server-sent events that are taken up again where they broke off. */
import { randomUUID } from "node:crypto"
import { type ClientRequest, request as httpRequest, type IncomingMessage } from "node:http"
import { request as httpsRequest } from "node:https"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { CommandFailed, failed, type Problem } from "./failure.ts"
import type { Server } from "./installation.ts"
import { type SentEvent, sentEventsReader } from "./sent-events.ts"

export interface Ask {
  readonly method?: "GET" | "POST" | "PUT" | "PATCH" | "DELETE"
  /** Those that are undefined are left out. */
  readonly query?: Readonly<Record<string, string | number | undefined>>
  /** Sent as JSON, or as it is when it is text. */
  readonly body?: unknown
  /** Of a text body. */
  readonly contentType?: string
}

export interface Client {
  readonly url: string
  /** The answer's JSON; null where there is none. A problem fails with its detail. */
  readonly ask: <A>(path: string, ask?: Ask) => Effect.Effect<A, CommandFailed>
  /** One connection's events after `lastEventId`, until `take` is done, or the connection is lost. */
  readonly events: (
    path: string,
    lastEventId: string | undefined,
    take: (event: SentEvent) => "more" | "done"
  ) => Effect.Effect<"lost" | "done", CommandFailed>
}

/** How often a reading is tried while the server says that it is behind or starting. */
const triesMax = 8
const retryMaxMillis = 5_000
const answerTimeoutMillis = 30_000
/** The server sends a sign of life every 15 s: a stream that is silent for longer has lost its connection. */
const silenceMaxMillis = 45_000

interface Answer {
  readonly status: number
  readonly retryAfterMillis: number
  readonly text: string
}

/** Nobody listened: the request was not read by anyone. */
const notSent: ReadonlySet<string | undefined> = new Set(["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "EHOSTUNREACH", "ENETUNREACH"])

const unreachable = (url: string, cause: NodeJS.ErrnoException) => {
  const done = notSent.has(cause.code) ? "Nothing was done." : "Whether it was carried out is not known: look before you repeat it."
  return failed(
    "The server cannot be reached",
    `${url} does not answer (${cause.code ?? cause.message}). ${done} Check that it runs: tributary doctor`
  )
}

const problemOf = ({ status, text }: Answer): CommandFailed => {
  let found: unknown
  try {
    found = JSON.parse(text)
  } catch {
    found = undefined
  }
  const problem = typeof found === "object" && found !== null ? (found as Partial<Problem>) : {}
  const detail = problem.detail ?? `The server answered ${status} without saying why. Look into its log.`
  return new CommandFailed({ problem: { ...problem, title: problem.title ?? "The server refused", detail, status } })
}

export const makeClient = ({ url, key }: Server): Client => {
  const open = (path: string, ask: Ask, headers: Readonly<Record<string, string>>): ClientRequest => {
    const target = new URL(url + path)
    for (const [name, value] of Object.entries(ask.query ?? {})) if (value !== undefined) target.searchParams.set(name, String(value))
    const method = ask.method ?? "GET"
    const body = ask.body === undefined ? undefined : typeof ask.body === "string" ? ask.body : JSON.stringify(ask.body)
    const request = (target.protocol === "https:" ? httpsRequest : httpRequest)(target, {
      method,
      headers: {
        "x-api-key": Redacted.value(key),
        ...(body === undefined ? {} : { "content-type": ask.contentType ?? "application/json", "content-length": Buffer.byteLength(body) }),
        ...headers
      }
    })
    request.end(body)
    return request
  }

  const once = (path: string, ask: Ask, headers: Readonly<Record<string, string>>) =>
    Effect.callback<Answer, CommandFailed>((resume) => {
      const request = open(path, ask, headers)
      request.setTimeout(answerTimeoutMillis, () => request.destroy(new Error(`no answer within ${answerTimeoutMillis / 1000} s`)))
      request.on("error", (cause) => resume(Effect.fail(unreachable(url, cause))))
      request.on("response", (response) => {
        readAll(response).then(
          (text) => resume(Effect.succeed(answerOf(response, text))),
          (cause) => resume(Effect.fail(unreachable(url, cause)))
        )
      })
      return Effect.sync(() => request.destroy())
    })

  const ask = <A>(path: string, asked: Ask = {}): Effect.Effect<A, CommandFailed> => {
    const reading = asked.method === undefined || asked.method === "GET"
    const headers: Record<string, string> = reading ? {} : { "idempotency-key": randomUUID() }
    const attempt = (tries: number): Effect.Effect<A, CommandFailed> =>
      Effect.flatMap(once(path, asked, headers), (answer) => {
        if (answer.status < 300) return Effect.succeed((answer.text === "" ? null : JSON.parse(answer.text)) as A)
        if (answer.status !== 503 || tries >= triesMax) return Effect.fail(problemOf(answer))
        return Effect.delay(attempt(tries + 1), Math.min(answer.retryAfterMillis, retryMaxMillis))
      })
    return attempt(1)
  }

  const events: Client["events"] = (path, lastEventId, take) =>
    Effect.callback<"lost" | "done", CommandFailed>((resume) => {
      const after = lastEventId === undefined ? {} : { "last-event-id": lastEventId }
      const request = open(path, {}, { accept: "text/event-stream", ...after })
      const lost = () => resume(Effect.succeed("lost"))
      let done = false
      const taken = (event: SentEvent) => {
        if (done || take(event) === "more") return
        done = true
        resume(Effect.succeed("done"))
        request.destroy()
      }
      request.setTimeout(silenceMaxMillis, () => request.destroy())
      request.on("error", lost)
      request.on("response", (response) => {
        if (response.statusCode !== 200) {
          readAll(response).then((text) => resume(Effect.fail(problemOf(answerOf(response, text)))), lost)
          return
        }
        const read = sentEventsReader(taken)
        response.setEncoding("utf8")
        response.on("data", read)
        response.on("close", lost)
      })
      return Effect.sync(() => request.destroy())
    })

  return { url, ask, events }
}

const readAll = async (response: IncomingMessage): Promise<string> => {
  response.setEncoding("utf8")
  let text = ""
  for await (const chunk of response) text += chunk
  return text
}

const answerOf = (response: IncomingMessage, text: string): Answer => ({
  status: response.statusCode ?? 0,
  retryAfterMillis: (Number(response.headers["retry-after"]) || 1) * 1000,
  text
})
