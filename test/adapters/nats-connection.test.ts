/** The connection to NATS: what it takes, what it refuses and how it says so. */
import { createServer, type Server } from "node:net"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import { afterEach, assert, describe, it } from "vitest"
import { Nats } from "#adapters/nats/connection.ts"
import { parseServerUrl } from "#adapters/nats/server-url.ts"
import { notVerified } from "../support/count-reporter.ts"
import { connectionTo } from "../support/nats-layers.ts"
import { installedVersion, type NatsServer, startNatsServer } from "../support/nats-server.ts"

const parse = (url: string) => parseServerUrl(Redacted.make(url))
const optionsOf = (url: string) => Result.getOrThrow(parse(url)).options
const connect = (url: string) =>
  Effect.runPromise(
    Effect.result(
      Effect.provide(
        Effect.flatMap(Nats, ({ facts }) => facts),
        connectionTo(url)
      )
    )
  )
const refusal = async (url: string) => {
  const result = await connect(url)
  if (Result.isSuccess(result)) assert.fail("It was accepted.")
  assert.notInclude(result.failure.message, "secret")
  assert.notInclude(result.failure.message, "\n")
  return result.failure
}

describe("a NATS URL", () => {
  it("names servers, with a port or without", () => {
    assert.deepStrictEqual(optionsOf("nats://one,two:4333").servers, ["one:4222", "two:4333"])
    assert.strictEqual(Result.getOrThrow(parse("nats://u:secret@one")).shown, "one:4222")
  })
  it("gives user and password, or a token, percent-decoded", () => {
    const { user, pass } = optionsOf("nats://us%40er:se%3Acret@one")
    assert.deepStrictEqual([user, pass], ["us@er", "se:cret"])
    assert.strictEqual(optionsOf("nats://to%2Fken@one").token, "to/ken")
  })
  it("insists on TLS by its scheme or by a certificate", () => {
    assert.isUndefined(optionsOf("nats://one").tls)
    assert.deepStrictEqual(optionsOf("tls://one").tls, {})
    assert.deepStrictEqual(optionsOf("nats://one?ca=/dev/null").tls, { caFile: "/dev/null" })
  })
  it("is refused in one line, without what is secret in it", () => {
    for (const url of ["", "http://secret@one", "nats://", "nats://u:secret@one?insecure=1", "nats://one?credentials=/nowhere/creds"]) {
      const result = parse(url)
      assert.isTrue(Result.isFailure(result), url)
      if (Result.isFailure(result)) assert.notMatch(result.failure, /secret|\n/u)
    }
    const missing = parse("nats://one?credentials=/nowhere/creds")
    assert.isTrue(Result.isFailure(missing) && missing.failure.includes("/nowhere/creds"))
  })
})

describe("a server that cannot be used", () => {
  let old: Server | undefined
  afterEach(() => void old?.close())
  it("is refused where nobody answers", async () => {
    const { why, message } = await refusal("nats://u:secret@127.0.0.1:1")
    assert.strictEqual(why, "unreachable")
    assert.include(message, "127.0.0.1:1")
  })
  it("is refused when it is too old", async () => {
    old = createServer((socket) => {
      socket.write('INFO {"server_id":"x","version":"2.8.4","proto":1,"headers":true,"max_payload":1048576}\r\n')
      socket.on("data", (data) => data.includes("PING") && socket.write("PONG\r\n"))
      socket.on("error", () => undefined)
    }).listen(0, "127.0.0.1")
    await new Promise((resolve) => old!.once("listening", resolve))
    const { why, message } = await refusal(`nats://127.0.0.1:${(old.address() as { port: number }).port}`)
    assert.strictEqual(why, "too-old")
    assert.include(message, "2.8.4")
  })
})

describe.skipIf(installedVersion === undefined)(
  installedVersion === undefined ? `nats-server: ${notVerified}` : "a real nats-server",
  () => {
    let server: NatsServer
    afterEach(() => server.remove())

    it("says what doctor wants to know", async () => {
      server = await startNatsServer()
      const facts = Result.getOrThrow(await connect(server.url))
      assert.deepStrictEqual(facts, {
        servers: `127.0.0.1:${server.port}`,
        connected: true,
        version: installedVersion!,
        encrypted: false,
        messageBytesMax: 1_048_576,
        streams: 0,
        storageBytes: 0,
        storageBytesMax: -1
      })
    })
    it("is refused with the wrong credentials, and taken with the right ones", async () => {
      server = await startNatsServer({ config: 'authorization { user: "u", password: "right-secret" }' })
      const at = (login: string) => server.url.replace("//", `//${login}@`)
      assert.strictEqual((await refusal(server.url)).why, "credentials")
      assert.strictEqual((await refusal(at("u:wrong-secret"))).why, "credentials")
      assert.isTrue(Result.isSuccess(await connect(at("u:right-secret"))))
    })
    it("takes a token", async () => {
      server = await startNatsServer({ config: 'authorization { token: "t-secret" }' })
      assert.isTrue(Result.isSuccess(await connect(server.url.replace("//", "//t-secret@"))))
    })
    it("is refused without JetStream", async () => {
      server = await startNatsServer({ jetStream: false })
      assert.strictEqual((await refusal(server.url)).why, "no-jetstream")
    })
    it("is refused when it speaks no TLS and the URL insists on it", async () => {
      server = await startNatsServer()
      assert.strictEqual((await refusal(server.url.replace("nats:", "tls:"))).why, "unreachable")
    })
  }
)
