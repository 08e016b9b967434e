/** Calls out over real sockets: deadlines, limits, what is known after a failure, and how connections are kept. */
import { once } from "node:events"
import type { IncomingMessage, ServerResponse } from "node:http"
import { createServer as createTlsServer } from "node:https"
import { createServer } from "node:net"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import { assert, describe, it } from "vitest"
import { parseAllowList } from "#adapters/net/egress.ts"
import { make, type OutboundOptions } from "#adapters/undici/outbound.ts"
import type { OutboundRequest } from "#services/ports/outbound.ts"
import { certificate, privateKey } from "../support/certificate.ts"
import { listen, listenHttp } from "../support/loopback.ts"

const run = <A, E>(effect: Effect.Effect<A, E, Scope.Scope>) => Effect.runPromise(Effect.scoped(effect))

const outbound = (allow: string, options: Partial<OutboundOptions> = {}) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => make({ allow: Result.getOrThrow(parseAllowList(allow)), ...options })),
      ({ close }) => close
    ),
    (made) => made.outbound
  )

const post = (url: string, more: Partial<OutboundRequest> = {}): OutboundRequest => ({
  method: "POST",
  url,
  headers: { "content-type": "text/plain" },
  body: "hello",
  timeoutMs: 20_000,
  responseBytesMax: 100,
  ...more
})

const text = (body: Uint8Array) => Buffer.from(body).toString()

/** Answers with what it received. */
const echo = (request: IncomingMessage, response: ServerResponse) => {
  const chunks: Array<Buffer> = []
  request.on("data", (chunk: Buffer) => chunks.push(chunk))
  request.on("end", () => response.end(`${request.method} ${request.url} ${Buffer.concat(chunks)}`))
}

describe("outbound", () => {
  it("sends method, path, query, headers and body, and returns the answer whole", () =>
    run(
      Effect.gen(function* () {
        const server = yield* listenHttp((request, response) => {
          response.setHeader("set-cookie", ["a=1", "b=2"])
          response.setHeader("X-Seen", String(request.headers["x-one"]))
          echo(request, response)
        })
        const { call } = yield* outbound(server.host)
        const answer = yield* call(post(`${server.url}/a%20b?c=d#e`, { headers: { "x-one": "1" }, body: Buffer.from("bytes") }))
        assert.strictEqual(answer.status, 200)
        assert.strictEqual(text(answer.body), "POST /a%20b?c=d bytes")
        assert.strictEqual(answer.headers["set-cookie"], "a=1, b=2")
        assert.strictEqual(answer.headers["x-seen"], "1")
      })
    ))

  it("joins a body that arrives in pieces, and ignores interim answers", () =>
    run(
      Effect.gen(function* () {
        const server = yield* listenHttp((_request, response) => {
          response.writeEarlyHints({ link: "</style.css>; rel=preload" })
          response.write("one ")
          setImmediate(() => response.end("two"))
        })
        const { call } = yield* outbound(server.host)
        const answer = yield* call(post(server.url))
        assert.deepStrictEqual([answer.status, text(answer.body)], [200, "one two"])
      })
    ))

  it("follows no redirect", () =>
    run(
      Effect.gen(function* () {
        const canary = yield* listenHttp(echo)
        const server = yield* listenHttp((_request, response) => response.writeHead(302, { location: canary.url }).end())
        const { call } = yield* outbound(`${server.host},${canary.host}`)
        const answer = yield* call(post(server.url))
        assert.deepStrictEqual([answer.status, answer.headers.location], [302, canary.url])
        assert.strictEqual(canary.seen.connections, 0)
      })
    ))

  it("keeps a connection for the next call", () =>
    run(
      Effect.gen(function* () {
        const server = yield* listenHttp(echo)
        const { call } = yield* outbound(server.host)
        for (let n = 0; n < 5; n++) yield* call(post(server.url))
        assert.strictEqual(server.seen.connections, 1)
      })
    ))

  it("opens a new connection after the server closed one", () =>
    run(
      Effect.gen(function* () {
        const server = yield* listenHttp((request, response) => {
          response.setHeader("connection", "close")
          echo(request, response)
        })
        const { call } = yield* outbound(server.host)
        for (let n = 0; n < 3; n++) assert.strictEqual((yield* call(post(server.url))).status, 200)
        assert.strictEqual(server.seen.connections, 3)
      })
    ))

  it("opens no more connections than its limit; the rest waits, and above that is refused", () =>
    run(
      Effect.gen(function* () {
        const held: Array<() => void> = []
        const full = yield* Deferred.make<void>()
        const server = yield* listenHttp((request, response) => {
          held.push(() => echo(request, response))
          if (held.length === 2) Deferred.doneUnsafe(full, Effect.void)
        })
        const { call } = yield* outbound(server.host, { connectionsPerOriginMax: 2, waitingPerOriginMax: 3 })
        const fibers = yield* Effect.forEach([1, 2, 3, 4, 5], () => Effect.forkChild(call(post(server.url)), { startImmediately: true }))
        const refused = yield* Effect.flip(call(post(server.url)))
        assert.deepInclude(refused, { _tag: "CallFailed", kind: "connect", sent: "no" })
        yield* Deferred.await(full)
        server.server.removeAllListeners("request").on("request", echo)
        for (const answer of held) answer()
        for (const fiber of fibers) assert.strictEqual((yield* Fiber.join(fiber)).status, 200)
        assert.strictEqual(server.seen.connections, 2)
      })
    ))

  it("gives up at its time limit, whether headers, the rest of a body or the address do not come", () =>
    run(
      Effect.gen(function* () {
        const silent = yield* listenHttp(() => undefined)
        const halting = yield* listenHttp((_request, response) => response.writeHead(200, { "content-length": 10 }).write("half"))
        const { call } = yield* outbound(`${silent.host},${halting.host},slow.example`, { resolve: () => new Promise(() => undefined) })
        const limited = (url: string) => Effect.flip(call(post(url, { timeoutMs: 60 })))
        assert.deepInclude(yield* limited(silent.url), { _tag: "CallFailed", kind: "timeout", sent: "unknown" })
        assert.deepInclude(yield* limited(halting.url), { _tag: "CallFailed", kind: "timeout", sent: "unknown" })
        assert.deepInclude(yield* limited("http://slow.example/"), { _tag: "CallFailed", kind: "timeout", sent: "no" })
      })
    ))

  it("refuses an answer above its size limit, announced or not, and headers without end", () =>
    run(
      Effect.gen(function* () {
        const announced = yield* listenHttp((_request, response) => response.end("x".repeat(101)))
        const chunked = yield* listenHttp((_request, response) => {
          response.write("x".repeat(60))
          response.end("x".repeat(60))
        })
        const headers = yield* listenHttp((_request, response) => response.writeHead(200, { "x-large": "x".repeat(40_000) }).end())
        const { call } = yield* outbound(`${announced.host},${chunked.host},${headers.host}`)
        for (const { url } of [announced, chunked, headers]) {
          assert.deepInclude(yield* Effect.flip(call(post(url))), { _tag: "CallFailed", kind: "too-large", sent: "unknown" })
        }
        assert.strictEqual((yield* call(post(announced.url, { responseBytesMax: 101 }))).body.length, 101)
      })
    ))

  it("does not send after `sendBy`, and keeps the connection that it would have used", () =>
    run(
      Effect.gen(function* () {
        const clock = { millis: 1_000 }
        let requests = 0
        const server = yield* listenHttp((request, response) => {
          requests++
          echo(request, response)
        })
        const { call, now } = yield* outbound(server.host, { now: () => clock.millis })
        yield* call(post(server.url, { sendBy: now() }))
        clock.millis = 2_000
        const late = yield* Effect.flip(call(post(server.url, { sendBy: 1_999 })))
        assert.deepInclude(late, { _tag: "CallFailed", kind: "too-late", sent: "no" })
        yield* call(post(server.url, { sendBy: 2_000 }))
        assert.deepStrictEqual([requests, server.seen.connections], [2, 1])
      })
    ))

  it("checks `sendBy` when the connection is ready, not when the call was made", () =>
    run(
      Effect.gen(function* () {
        const clock = { millis: 0 }
        let requests = 0
        const server = yield* listenHttp((request, response) => {
          requests++
          echo(request, response)
        })
        const { call } = yield* outbound(`shop.example:${server.port}`, {
          now: () => clock.millis,
          resolve: async () => {
            clock.millis = 500
            return ["127.0.0.1"]
          }
        })
        const late = yield* Effect.flip(call(post(`http://shop.example:${server.port}/`, { sendBy: 100 })))
        assert.deepInclude(late, { kind: "too-late", sent: "no" })
        assert.strictEqual(requests, 0)
      })
    ))

  it("says that nothing was sent when no connection opened", () =>
    run(
      Effect.gen(function* () {
        const closed = yield* Effect.scoped(listenHttp(echo))
        const { call } = yield* outbound(`${closed.host},gone.example`, { resolve: () => Promise.reject(new Error("ENOTFOUND")) })
        assert.deepInclude(yield* Effect.flip(call(post(closed.url))), { _tag: "CallFailed", kind: "connect", sent: "no" })
        assert.deepInclude(yield* Effect.flip(call(post("http://gone.example/"))), { kind: "connect", sent: "no" })
      })
    ))

  it("does not know whether it was done when the connection breaks, and works again after it", () =>
    run(
      Effect.gen(function* () {
        const faults: Array<(response: ServerResponse) => void> = [
          (response) => response.socket?.resetAndDestroy(),
          (response) => response.socket?.end(),
          (response) => response.writeHead(200, { "content-length": 10 }).write("half", () => response.socket?.destroy()),
          (response) => response.socket?.end("no such protocol\r\n\r\n")
        ]
        const server = yield* listenHttp((request, response) => {
          const fault = faults.shift()
          if (fault === undefined) echo(request, response)
          else fault(response)
        })
        const { call } = yield* outbound(server.host)
        for (const _ of [1, 2, 3, 4]) {
          assert.deepInclude(yield* Effect.flip(call(post(server.url))), { _tag: "CallFailed", kind: "reset", sent: "unknown" })
        }
        assert.strictEqual((yield* call(post(server.url))).status, 200)
      })
    ))

  it("aborts the call when its effect is interrupted", () =>
    run(
      Effect.gen(function* () {
        const arrived = yield* Deferred.make<IncomingMessage>()
        const server = yield* listenHttp((request) => Deferred.doneUnsafe(arrived, Effect.succeed(request)))
        const { call } = yield* outbound(server.host)
        const fiber = yield* Effect.forkChild(call(post(server.url)), { startImmediately: true })
        const { socket } = yield* Deferred.await(arrived)
        const closed = once(socket, "close")
        yield* Fiber.interrupt(fiber)
        yield* Effect.promise(() => closed)
      })
    ))

  it("sends nothing for a call that was interrupted before its connection was ready", () =>
    run(
      Effect.gen(function* () {
        let answer = (_addresses: ReadonlyArray<string>) => {}
        const paths: Array<string> = []
        const server = yield* listenHttp((request, response) => {
          paths.push(request.url ?? "")
          echo(request, response)
        })
        const { call } = yield* outbound(`shop.example:${server.port}`, {
          connectionsPerOriginMax: 1,
          resolve: () => new Promise((resolve) => (answer = resolve))
        })
        const base = `http://shop.example:${server.port}`
        const first = yield* Effect.forkChild(call(post(`${base}/first`)), { startImmediately: true })
        const second = yield* Effect.forkChild(call(post(`${base}/second`)), { startImmediately: true })
        const third = yield* Effect.forkChild(call(post(`${base}/third`)), { startImmediately: true })
        yield* Fiber.interrupt(first)
        yield* Fiber.interrupt(second)
        answer(["127.0.0.1"])
        yield* Fiber.join(third)
        assert.deepStrictEqual(paths, ["/third"])
      })
    ))

  it("fails the calls in progress when it closes", () =>
    run(
      Effect.gen(function* () {
        const arrived = yield* Deferred.make<void>()
        const server = yield* listen(createServer(() => Deferred.doneUnsafe(arrived, Effect.void)))
        const made = make({ allow: Result.getOrThrow(parseAllowList(server.host)), connectionsPerOriginMax: 1 })
        const fibers = yield* Effect.forEach([1, 2], () =>
          Effect.forkChild(Effect.flip(made.outbound.call(post(server.url))), { startImmediately: true })
        )
        yield* Deferred.await(arrived)
        yield* made.close
        for (const fiber of fibers) assert.strictEqual((yield* Fiber.join(fiber))._tag, "CallFailed")
      })
    ))

  it("checks a server's certificate against the URL's name, on the address that the guard judged", () =>
    run(
      Effect.gen(function* () {
        let requests = 0
        const server = yield* listen(
          createTlsServer({ cert: certificate, key: privateKey }, (request, response) => {
            requests++
            echo(request, response)
          })
        )
        const { call } = yield* outbound("127.0.0.0/8", { ca: certificate, resolve: async () => ["127.0.0.1"] })
        const answer = yield* call(post(`https://shop.example:${server.port}/`))
        assert.strictEqual(answer.status, 200)
        const other = yield* Effect.flip(call(post(`https://other.example:${server.port}/`)))
        assert.deepInclude(other, { _tag: "CallFailed", kind: "connect", sent: "no" })
        assert.strictEqual(requests, 1)
      })
    ))
})
