/** How tests speak HTTP with a platform: paths go out as they are written, and every answer comes back whole, refusals included. */
import { Agent, type IncomingHttpHeaders, type IncomingMessage, request } from "node:http"
import { setTimeout as pause } from "node:timers/promises"
import { assert } from "vitest"

export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly text: string
  /** Parsed where it is JSON, problem details included. */
  // biome-ignore lint/suspicious/noExplicitAny: tests look at what they know is there.
  readonly body: any
}
export interface AskOptions {
  /** An empty one sends none. */
  readonly key?: string
  /** Text goes as it is, as JSON unless `content-type` says otherwise; anything else is written as JSON. */
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
}
export interface Client {
  readonly url: string
  readonly ask: (method: string, path: string, options?: AskOptions) => Promise<Answer>
  /** The answer to a request that has to succeed; what it reads contains all that this client has changed. */
  readonly ok: (method: string, path: string, body?: unknown, headers?: AskOptions["headers"]) => Promise<Answer>
  readonly close: () => void
}
/** Sees every exchange. */
export type Witness = (asked: { readonly method: string; readonly path: string }, answer: Answer) => void

/** A stream without end is left as soon as its head is here. */
const textOf = async (message: IncomingMessage): Promise<string> => {
  if ((message.headers["content-type"] ?? "").startsWith("text/event-stream")) {
    message.destroy()
    return ""
  }
  const chunks: Array<Buffer> = []
  for await (const chunk of message) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString()
}

const answerOf = async (message: IncomingMessage): Promise<Answer> => {
  const text = await textOf(message)
  const json = (message.headers["content-type"] ?? "").includes("json") && text !== ""
  return { status: message.statusCode!, headers: message.headers, text, body: json ? JSON.parse(text) : undefined }
}

export const httpClient = (url: string, adminKey: string, witness: Witness = () => {}): Client => {
  const { hostname, port } = new URL(url)
  const agent = new Agent({ keepAlive: true, maxSockets: 16 })

  const send = (method: string, path: string, { key = adminKey, body, headers = {} }: AskOptions): Promise<Answer> =>
    new Promise((resolve, reject) => {
      const text = body === undefined || typeof body === "string" ? body : JSON.stringify(body)
      const sent = request({
        agent,
        hostname,
        port,
        method,
        path,
        headers: {
          ...(key === "" ? {} : { "x-api-key": key }),
          ...(text === undefined ? {} : { "content-type": "application/json", "content-length": Buffer.byteLength(text) }),
          ...headers
        }
      })
      sent.on("error", reject)
      sent.on("response", (message) => answerOf(message).then(resolve, reject))
      sent.end(text)
    })

  const ask: Client["ask"] = async (method, path, options = {}) => {
    const answer = await send(method, path, options)
    witness({ method, path }, answer)
    return answer
  }
  let position = "0"
  return {
    url,
    ask,
    ok: async (method, path, body, headers = {}) => {
      const read = method === "GET" && position !== "0" ? { "x-min-position": position } : {}
      const answer = await ask(method, path, { ...(body === undefined ? {} : { body }), headers: { ...read, ...headers } })
      assert.isBelow(answer.status, 300, `${method} ${path}: ${answer.text}`)
      position = String(answer.headers["x-position"] ?? position)
      return answer
    },
    close: () => agent.destroy()
  }
}

/** Asks again until there is something, and fails when the deadline passes. */
export const eventually = async <A>(
  what: string,
  probe: () => Promise<A | undefined> | A | undefined,
  deadlineMillis = 30_000
): Promise<A> => {
  const deadline = performance.now() + deadlineMillis
  for (;;) {
    const found = await probe()
    if (found !== undefined) return found
    if (performance.now() > deadline) throw new Error(`Waited ${deadlineMillis} ms in vain: ${what}.`)
    await pause(20)
  }
}

export interface ServerSentEvent {
  readonly id: string | undefined
  readonly event: string
  // biome-ignore lint/suspicious/noExplicitAny: tests look at what they know is there.
  readonly data: any
}
/** Server-sent events up to the first that fits, heartbeats left out; `opened` is called when the stream stands. */
export const follow = async (
  client: Client,
  path: string,
  key: string,
  fits: (event: ServerSentEvent) => boolean,
  { after, opened }: { readonly after?: string; readonly opened?: () => void } = {}
): Promise<ReadonlyArray<ServerSentEvent>> => {
  const response = await fetch(client.url + path, {
    signal: AbortSignal.timeout(30_000),
    headers: { "x-api-key": key, ...(after === undefined ? {} : { "last-event-id": after }) }
  })
  assert.strictEqual(response.status, 200)
  assert.include(response.headers.get("content-type"), "text/event-stream")
  opened?.()
  const told: Array<ServerSentEvent> = []
  let text = ""
  for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
    text += chunk
    const blocks = text.split("\n\n")
    text = blocks.pop()!
    for (const block of blocks) {
      const field = (name: string) => new RegExp(`^${name}: ?(.*)$`, "m").exec(block)?.[1]
      const event = { id: field("id"), event: field("event")!, data: JSON.parse(field("data")!) }
      if (event.event !== "heartbeat") told.push(event)
      if (fits(event)) return told
    }
  }
  throw new Error(`The stream ${path} ended after ${told.length} events without the one that was awaited.`)
}
