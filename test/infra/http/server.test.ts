/** The socket and what every answer has, whoever gives it. */
import { connect } from "node:net"
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpApi from "effect/http-api/HttpApi"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { Described } from "#infra/http/api/guards.ts"
import { described } from "#infra/http/handlers/described.ts"
import { problem } from "#infra/http/problems.ts"
import { serve } from "#infra/http/serve.ts"
import { Metrics } from "#infra/metrics.ts"

class CupEmpty extends Schema.TaggedError<CupEmpty>()("CupEmpty", { cup: Schema.Int }) {
  override get message() {
    return `Cup ${this.cup} is empty. Nothing was drunk. Fill it.`
  }
}
class CupsApi extends HttpApiGroup.make("cups")
  .add(
    HttpApiEndpoint.post("fill", "/cups/:cup", {
      params: { cup: Schema.FiniteFromString },
      payload: Schema.Struct({ tea: Schema.NonEmptyString, "a/b": Schema.Array(Schema.Struct({ spoons: Schema.Int })) }),
      success: Schema.Struct({ cup: Schema.Finite })
    }),
    HttpApiEndpoint.get("drink", "/cups/:cup", {
      params: { cup: Schema.FiniteFromString },
      error: problem(CupEmpty, 409, "The cup is empty")
    }),
    HttpApiEndpoint.get("drop", "/drop")
  )
  .middleware(Described) {}
class Toy extends HttpApi.make("toy").add(CupsApi).annotate(HttpApi.ParseOptions, { errors: "all" }) {}

const cups = HttpApiBuilder.group(Toy, "cups", (handlers) =>
  handlers.handleAll({
    fill: ({ params }) => Effect.succeed({ cup: params.cup }),
    drink: ({ params }) => Effect.fail(new CupEmpty({ cup: params.cup })),
    drop: () => Effect.die(new Error("porcelain-secret"))
  })
)
const routes = HttpApiBuilder.layer(Toy).pipe(Layer.provide(cups), Layer.provide(described), Layer.provideMerge(HttpRouter.layer))

let url = ""
let stop = async () => {}
beforeAll(async () => {
  const started = Promise.withResolvers<string>()
  const ended = Promise.withResolvers<void>()
  const running = Effect.runPromise(
    Effect.gen(function* () {
      const server = yield* serve({
        host: "127.0.0.1",
        port: 0,
        graceMillis: 1_000,
        hooks: () => (request, response) => response.end(`hook ${request.url}`),
        routes: () => Promise.resolve(routes)
      })
      yield* server.built
      started.resolve(server.url)
      yield* Effect.promise(() => ended.promise)
    }).pipe(Effect.scoped, Effect.provide(Metrics.layer))
  )
  running.catch(started.reject)
  url = await started.promise
  stop = () => {
    ended.resolve()
    return running
  }
})
afterAll(() => stop())

const ask = async (path: string, init?: RequestInit) => {
  const response = await fetch(url + path, init)
  const text = await response.text()
  const type = response.headers.get("content-type") ?? ""
  return { status: response.status, type, headers: response.headers, body: type.includes("json") ? JSON.parse(text) : text }
}
const post = (path: string, body: string, type = "application/json") =>
  ask(path, { method: "POST", body, headers: { "content-type": type } })

/** What the server says to bytes that `fetch` would not send. */
const raw = (bytes: string) =>
  new Promise<string>((resolve, reject) => {
    const socket = connect(Number(new URL(url).port), "127.0.0.1", () => socket.write(bytes))
    let answer = ""
    socket.on("data", (chunk) => {
      answer += chunk
    })
    socket.on("close", () => resolve(answer))
    socket.on("error", reject)
  })

describe("the server", () => {
  it("hands webhooks to the bare path before anything else", async () => {
    assert.strictEqual((await ask("/hooks/abc?x=1")).body, "hook /hooks/abc?x=1")
  })
  it("says that it lives and that it is ready", async () => {
    assert.deepStrictEqual((await ask("/healthz")).body, { status: "ok" })
    assert.strictEqual((await ask("/readyz")).status, 200)
  })
  it("keeps answers from being sniffed, framed or cached", async () => {
    const { headers } = await ask("/cups/1")
    assert.strictEqual(headers.get("x-content-type-options"), "nosniff")
    assert.strictEqual(headers.get("cache-control"), "no-store")
  })
  it("refuses what is not HTTP with a problem, and cuts the line", async () => {
    const answer = await raw("THIS IS NOT HTTP\r\n\r\n")
    assert.match(answer, /^HTTP\/1.1 400 Bad Request\r\n/)
    assert.include(answer, "application/problem+json")
  })
  it("refuses headers beyond 16 KiB", async () => {
    assert.match(await raw(`GET / HTTP/1.1\r\nhost: a\r\nx: ${"y".repeat(17_000)}\r\n\r\n`), /^HTTP\/1.1 431 /)
  })
})

describe("a problem", () => {
  it("carries the rejection's message and fields", async () => {
    const { status, type, body } = await ask("/cups/7")
    assert.strictEqual(status, 409)
    assert.include(type, "application/problem+json")
    assert.deepStrictEqual(body, {
      type: "/problems/cup-empty",
      title: "The cup is empty",
      status: 409,
      detail: "Cup 7 is empty. Nothing was drunk. Fill it.",
      instance: "/cups/7",
      cup: 7
    })
  })
  it("points at every wrong value of a body", async () => {
    const { status, body } = await post("/cups/1", JSON.stringify({ tea: "", "a/b": [{ spoons: 1 }, { spoons: "two" }] }))
    assert.strictEqual(status, 400)
    assert.strictEqual(body.type, "/problems/request-invalid")
    assert.deepStrictEqual(
      body.errors.map(({ in: place, pointer }: { in: string; pointer: string }) => [place, pointer]),
      [
        ["body", "/tea"],
        ["body", "/a~1b/1/spoons"]
      ]
    )
  })
  it("does not repeat what was sent", async () => {
    const { body } = await post("/cups/1", JSON.stringify({ tea: 12345678, "a/b": "sup3r" }))
    assert.notInclude(JSON.stringify(body), "sup3r")
    assert.notInclude(JSON.stringify(body), "12345678")
  })
  it("answers a body that is not JSON", async () => {
    const { status, body } = await post("/cups/1", "{")
    assert.strictEqual(status, 400)
    assert.strictEqual(body.errors[0].in, "body")
  })
  it("answers a path value that does not fit", async () => assert.strictEqual((await ask("/cups/many")).body.errors[0].in, "path"))
  it("answers what is not there", async () => {
    const { status, type, body } = await ask("/nowhere?x=1")
    assert.strictEqual(status, 404)
    assert.include(type, "application/problem+json")
    assert.strictEqual(body.instance, "/nowhere")
  })
  it("answers a foreign content type", async () => {
    const { status, type } = await post("/cups/1", "<tea/>", "application/xml")
    assert.strictEqual(status, 415)
    assert.include(type, "application/problem+json")
  })
  it("answers a body beyond the limit", async () => {
    const { status, type } = await post("/cups/1", JSON.stringify({ tea: "x".repeat(2_100_000) }))
    assert.strictEqual(status, 413)
    assert.include(type, "application/problem+json")
  })
  it("tells of our own failures nothing but an id", async () => {
    const { status, body } = await ask("/drop")
    assert.strictEqual(status, 500)
    assert.match(body.errorId, /^[0-9a-f-]{36}$/)
    assert.notInclude(JSON.stringify(body), "porcelain")
  })
})
