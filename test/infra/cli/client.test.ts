/** Asking a server: problems, waiting while it is behind, and following a stream over lost connections. */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { afterEach, assert, describe, it } from "vitest"
import { type Client, makeClient } from "#infra/cli/client.ts"
import { pages } from "#infra/cli/command.ts"
import type { CommandFailed } from "#infra/cli/failure.ts"
import { follow } from "#infra/cli/follow.ts"

type Answer = (request: IncomingMessage, response: ServerResponse, call: number) => void
const servers: Array<ReturnType<typeof createServer>> = []
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections()
    server.close()
  }
})

/** A stand-in that answers as told, and counts. */
const serving = async (answer: Answer): Promise<Client> => {
  let calls = 0
  const server = createServer((request, response) => answer(request, response, ++calls))
  servers.push(server)
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done))
  return makeClient({ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, key: Redacted.make("the-key") })
}
const json = (response: ServerResponse, status: number, body: unknown, headers: Record<string, string> = {}) =>
  response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(body))
const failureOf = async (effect: Effect.Effect<unknown, CommandFailed>): Promise<CommandFailed> =>
  Option.getOrThrow(Exit.findErrorOption(await Effect.runPromiseExit(effect)))

describe("a client", () => {
  it("sends the key, the query and a body, and reads the answer", async () => {
    const seen: Array<unknown> = []
    const client = await serving((request, response) => {
      seen.push(request.method, request.url, request.headers["x-api-key"], typeof request.headers["idempotency-key"])
      json(response, 201, { id: "a" })
    })
    const answer = await Effect.runPromise(client.ask("/x", { method: "POST", query: { a: "é&", b: undefined }, body: { n: 1 } }))
    assert.deepStrictEqual(answer, { id: "a" })
    assert.deepStrictEqual(seen, ["POST", "/x?a=%C3%A9%26", "the-key", "string"])
  })
  it("fails with the problem that the server answers", async () => {
    const client = await serving((_, response) => json(response, 409, { title: "No", detail: "It is done." }))
    const { problem } = await failureOf(client.ask("/x"))
    assert.deepStrictEqual(problem, { title: "No", detail: "It is done.", status: 409 })
  })
  it("says so when the answer is no problem document", async () => {
    const client = await serving((_, response) => response.writeHead(502).end("<html>"))
    assert.include((await failureOf(client.ask("/x"))).message, "answered 502")
  })
  it("asks again while the server is behind, under the same idempotency key", async () => {
    const keys = new Set<unknown>()
    const client = await serving((request, response, call) => {
      keys.add(request.headers["idempotency-key"])
      if (call < 3) json(response, 503, { detail: "Behind." }, { "retry-after": "0.01" })
      else json(response, 200, "here")
    })
    assert.strictEqual(await Effect.runPromise(client.ask("/x", { method: "POST" })), "here")
    assert.strictEqual(keys.size, 1)
  })
  it("says that nothing was done when nobody listens", async () => {
    const client = makeClient({ url: "http://127.0.0.1:1", key: Redacted.make("k") })
    assert.include((await failureOf(client.ask("/x"))).message, "Nothing was done.")
  })
  it("reads page after page up to the count that is wanted", async () => {
    const client = await serving((request, response) => {
      const from = Number(new URL(request.url!, "http://x").searchParams.get("cursor") ?? 0)
      json(response, 200, { items: [from, from + 1], next: String(from + 2) })
    })
    assert.deepStrictEqual((await Effect.runPromise(pages<number>(client, "/x", {}, 5))).items, [0, 1, 2, 3, 4, 5])
  })
})

describe("following a stream", () => {
  const event = (id: number) => `id: ${id}\nevent: E\ndata: ${id}\n\n`
  it("takes it up after the last event when the connection is lost, and hands each event over once", async () => {
    const resumed: Array<unknown> = []
    const client = await serving((request, response, call) => {
      resumed.push(request.headers["last-event-id"])
      response.writeHead(200, { "content-type": "text/event-stream" })
      if (call === 1) response.write(`${event(1)}${event(2)}id: 3\ndata: cut o`, () => response.destroy())
      else response.write(event(3) + event(4))
    })
    const seen: Array<string> = []
    await Effect.runPromise(
      follow(client, "/stream", undefined, ({ data }) => {
        seen.push(data)
        return data === "4" ? "done" : "more"
      })
    )
    assert.deepStrictEqual(seen, ["1", "2", "3", "4"])
    assert.deepStrictEqual(resumed, [undefined, "2"])
  })
  it("gives up when the server refuses", async () => {
    const client = await serving((_, response) => json(response, 401, { title: "No", detail: "Who are you?" }))
    const followed = follow(client, "/stream", undefined, () => "more")
    assert.strictEqual((await failureOf(followed)).message, "Who are you?")
  })
})
