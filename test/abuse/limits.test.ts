/** A1 and A2 in small: what is too large, too deep or too slow is refused or cut, and others are served meanwhile. */
import { createHmac } from "node:crypto"
import { gzipSync } from "node:zlib"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { type PlatformProcess, startPlatform } from "../faults/platform-process.ts"
import { ran } from "../support/cases.ts"
import { type Client, eventually, httpClient } from "../support/http-client.ts"
import { exchange, type Line, line } from "../support/raw-http.ts"
import { startVendor } from "../support/vendor.ts"

const secret = "a signing secret"
const tenant = "/api/v1/tenants/acme"
const slowSockets = 200
const depth = 100_000
/** The shortest names make the most of them. */
const keys = 1_000_000
const bodyBytesMax = 4_194_304

let platform: PlatformProcess
let client: Client
let hook = ""
let slow: ReadonlyArray<Line> = []
let slowSince = 0

const sign = (body: string) => createHmac("sha256", secret).update(body).digest("base64")
const deliver = (body: string, id: string) =>
  client.ask("POST", new URL(hook).pathname, {
    key: "",
    body,
    headers: { "x-shopify-topic": "orders/create", "x-shopify-webhook-id": id, "x-shopify-hmac-sha256": sign(body) }
  })
const chunked = (chunk: string, times: number) => `${`${chunk.length.toString(16)}\r\n${chunk}\r\n`.repeat(times)}0\r\n\r\n`
const rss = async () => Number(/resident_memory_bytes (\d+)/u.exec((await client.ok("GET", "/metrics")).text)![1])

beforeAll(async () => {
  platform = await startPlatform()
  client = httpClient(platform.url, platform.key)
  await client.ok("POST", "/api/v1/tenants", { id: "acme", plan: "enterprise" })
  hook = (await client.ok("POST", `${tenant}/hooks`, { connector: "shop", secret })).body.url
  await client.ok("POST", "/api/v1/workflows", {
    id: "count",
    trigger: { connector: "shop", event: "orders/create" },
    steps: [{ id: "count", kind: "transform", expression: "$count($keys(trigger.body))" }]
  })
  await client.ok("POST", "/api/v1/workflows/count/publish")
  await client.ok("PUT", `${tenant}/workflows/count`, {})
  // From here on they hold lines open, never ending their headers, while everything below is done.
  slowSince = performance.now()
  slow = Array.from({ length: slowSockets }, (_, index) => line(platform.url, `POST /hooks/slow HTTP/1.1\r\nhost: x\r\nx-slow-${index}: `))
})
afterAll(async () => {
  for (const { socket } of slow) socket.destroy()
  client?.close()
  await platform?.remove()
})

describe("A2: what is too large", () => {
  it("is refused by its declared length, by its real one, and before it is read", async () => {
    const path = new URL(hook).pathname
    const head = (url: string) =>
      `POST ${url} HTTP/1.1\r\nhost: x\r\nx-api-key: ${platform.key}\r\ncontent-type: application/json\r\nconnection: close\r\n`
    const big = "x".repeat(65_536)
    const asked: ReadonlyArray<readonly [string, string, number]> = [
      ["declared, webhook", `${head(path)}content-length: 2000000\r\n\r\n`, 413],
      ["declared beyond reason, webhook", `${head(path)}content-length: 99999999999999\r\n\r\n`, 413],
      ["chunked, webhook", `${head(path)}transfer-encoding: chunked\r\n\r\n${chunked(big, 20)}`, 413],
      ["chunked, API", `${head("/api/v1/tenants")}transfer-encoding: chunked\r\n\r\n${chunked(big, 40)}`, 413],
      ["declared, API", `${head("/api/v1/tenants")}content-length: 3000000\r\n\r\n${big.repeat(46)}`, 413],
      [
        "many headers",
        `GET / HTTP/1.1\r\nhost: x\r\n${Array.from({ length: 10_000 }, (_, index) => `x-${index}: y\r\n`).join("")}\r\n`,
        431
      ],
      ["a long path", `GET /${"a".repeat(20_000)} HTTP/1.1\r\nhost: x\r\n\r\n`, 431],
      ["length and chunks", `${head(path)}content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`, 400],
      ["two lengths", `${head(path)}content-length: 5\r\ncontent-length: 6\r\n\r\nhello`, 400],
      ["a negative length", `${head(path)}content-length: -1\r\n\r\n`, 400],
      ["chunks that lie", `${head(path)}transfer-encoding: chunked\r\n\r\nzz\r\nhello\r\n`, 400]
    ]
    for (const [what, bytes, status] of asked) assert.strictEqual((await exchange(platform.url, bytes)).status, status, what)
    ran("A2", asked.length, 10, "oversize and malformed requests")
  })

  it("is not blown up from a coding that nobody asked for", async () => {
    const before = await rss()
    const bomb = gzipSync(Buffer.alloc(200 * 1_048_576))
    const path = new URL(hook).pathname
    for (const url of ["/api/v1/tenants", path, `${tenant}/events`]) {
      const head = `POST ${url} HTTP/1.1\r\nhost: x\r\nx-api-key: ${platform.key}\r\ncontent-type: application/json\r\nconnection: close\r\n`
      const bytes = Buffer.concat([Buffer.from(`${head}content-encoding: gzip\r\ncontent-length: ${bomb.length}\r\n\r\n`), bomb])
      assert.oneOf((await exchange(platform.url, bytes)).status, [400, 401, 413, 415], url)
    }
    assert.isBelow((await rss()) - before, 100 * 1_048_576)
  })
})

describe("A2: what is too deep or has too many names", () => {
  const deepList = `${"[".repeat(depth)}${"]".repeat(depth)}`
  const deepObject = `${'{"a":'.repeat(depth)}1${"}".repeat(depth)}`
  const places: ReadonlyArray<readonly [string, string, (deep: string) => string]> = [
    ["POST", "/api/v1/tenants", (deep) => deep],
    ["POST", "/api/v1/tenants", (deep) => `{"id":"deep","displayName":${deep}}`],
    ["POST", `${tenant}/events`, (deep) => `{"connector":"shop","event":"orders/create","body":${deep}}`],
    ["POST", `${tenant}/connections`, (deep) => `{"connector":"erp","method":"apiKey","secrets":${deep}}`],
    ["PUT", `${tenant}/settings/runs.attemptsMax`, (deep) => `{"value":${deep}}`],
    ["POST", "/api/v1/connectors", (deep) => deep],
    ["POST", "/api/v1/connectors", (deep) => `{"id":"deep","name":"x","auth":${deep}}`],
    ["POST", "/api/v1/workflows", (deep) => deep],
    ["POST", "/api/v1/workflows", (deep) => `{"id":"deep","trigger":{"connector":"shop","event":"*","where":${deep}},"steps":[]}`]
  ]

  it("is refused by the API, and breaks nothing", async () => {
    const wrong: Array<string> = []
    let cases = 0
    for (const deep of [deepList, deepObject])
      for (const [method, path, write] of places)
        for (const type of ["application/json", ...(/connectors|workflows/u.test(path) ? ["application/yaml"] : [])]) {
          const { status, text } = await client.ask(method, path, { body: write(deep), headers: { "content-type": type } })
          cases++
          if (status < 400 || status >= 500) wrong.push(`${method} ${path} ${type}, ${deep.slice(0, 8)}: ${status} ${text.slice(0, 200)}`)
        }
    assert.deepStrictEqual(wrong, [])
    assert.strictEqual((await client.ask("GET", "/readyz")).status, 200)
    ran("A2", cases, 20, "documents 100,000 deep")
  })

  it("is taken from a vendor that signed it, and ends in a run that failed for a reason", async () => {
    for (const [index, body] of [deepList, deepObject].entries()) {
      const { status, text } = await deliver(body, `deep-${index}`)
      assert.oneOf(status, [200, 400], text)
    }
    const lines = platform.output()
    const events = (await client.ok("GET", `${tenant}/events`)).body.items as ReadonlyArray<{ readonly id: string }>
    for (const { id } of events) {
      const { body } = await eventually("the event to be dealt with", async () => {
        const explained = await client.ok("GET", `${tenant}/events/${id}/explain`)
        const { status, runs } = explained.body
        const open = status === "received" || runs.some((run: { status: string }) => run.status === "running")
        return open ? undefined : explained
      })
      assert.notInclude(["quarantined"], body.runs[0]?.status, `${JSON.stringify(body)}\n${lines}`)
    }
    assert.strictEqual((await client.ask("GET", "/readyz")).status, 200)
  })

  it("is refused at a million names, and mapped when it just fits", async () => {
    const named = (count: number) => `{${Array.from({ length: count }, (_, index) => `"${index.toString(36)}":1`).join(",")}}`
    const million = named(keys)
    // Each of ten calls hears why: none is cut off in the middle of sending.
    for (let call = 0; call < 10; call++) assert.strictEqual((await deliver(million, "a-million")).status, 413)
    await client.ok("PUT", `${tenant}/settings/ingest.bodyBytesMax`, { value: bodyBytesMax })
    assert.strictEqual((await deliver(million, "a-million")).status, 413)
    const before = await rss()
    const fits = named(Math.floor(keys * (bodyBytesMax / million.length)) - 1_000)
    assert.isBelow(fits.length, bodyBytesMax)
    const { status, text } = await deliver(fits, "just-fits")
    assert.strictEqual(status, 200, text)
    const run = await eventually("the run over so many names to end", async () => {
      const [found] = (await client.ok("GET", `${tenant}/executions?limit=1`)).body.items
      return ["succeeded", "failed"].includes(found?.status) ? found : undefined
    })
    const grown = Math.round(((await rss()) - before) / 1_048_576)
    console.log(`A2: a body of ${fits.length} bytes ${run.status}; memory grew by ${grown} MiB`)
    assert.strictEqual((await client.ask("GET", "/readyz")).status, 200)
    const over = await client.ask("PUT", `${tenant}/settings/ingest.bodyBytesMax`, { body: { value: bodyBytesMax + 1 } })
    assert.strictEqual(over.status, 422)
  })
})

describe("A2: what a vendor answers", () => {
  it("is too large at some point, and then the step says so", async () => {
    const sizes = { small: 1, most: 3, much: 7, over: 9, far: 30 }
    const mebibytes = (url: string) => sizes[url.slice(1) as keyof typeof sizes]
    const vendor = await startVendor(({ url }) => ({ status: 200, body: `"${"x".repeat(mebibytes(url) * 1_048_576)}"` }))
    try {
      await client.ok("POST", "/api/v1/connectors", {
        id: "bulk",
        name: "Bulk",
        baseUrl: "{address}",
        variables: { address: { kind: "origin" } },
        auth: { none: { kind: "none" } },
        actions: { get: { method: "GET", path: "/{size}", effect: "safe" } }
      })
      const call = { kind: "action", connector: "bulk", action: "get", onError: "continue" }
      const names = [...Object.keys(sizes), "most", "most", "most", "most"]
      const steps = [
        ...names.map((size, index) => ({ ...call, id: `${size}${index}`, input: { size } })),
        // One after the other without a call between them: together more than the journal takes at once.
        ...Array.from({ length: 12 }, (_, index) => ({ id: `pad${index}`, kind: "transform", expression: "$pad('', 1000000, 'x')" }))
      ]
      await client.ok("POST", "/api/v1/workflows", { id: "bulk", trigger: { connector: "shop", event: "orders/paid" }, steps })
      await client.ok("POST", "/api/v1/workflows/bulk/publish")
      await client.ok("PUT", `${tenant}/workflows/bulk`, {})
      const variables = { address: vendor.address }
      await client.ok("POST", `${tenant}/connections`, { connector: "bulk", method: "none", secrets: {}, variables })
      await client.ok("POST", `${tenant}/events`, { connector: "shop", event: "orders/paid", body: {} })
      const run = await eventually("the run to end", async () => {
        const [found] = (await client.ok("GET", `${tenant}/executions?workflow=bulk`)).body.items
        return ["succeeded", "failed", "quarantined"].includes(found?.status) ? found : undefined
      })
      assert.strictEqual(run.status, "succeeded", JSON.stringify(run))
      const tooLarge = run.steps.filter(({ error }: { error?: { code: string } }) => error?.code === "too-large")
      assert.deepStrictEqual(
        tooLarge.map(({ id, status }: { id: string; status: string }) => [id, status]),
        [
          ["much2", "continued"],
          ["over3", "continued"],
          ["far4", "continued"]
        ]
      )
      assert.strictEqual(vendor.calls.length, names.length, "each is called once")
      ran("A2", vendor.calls.length, names.length, "answers of up to 30 MiB")
    } finally {
      await vendor.close()
    }
  })
})

describe("A1: who is too slow", () => {
  it("is cut, while others are served", { timeout: 60_000 }, async () => {
    let served = 0
    let open = true
    const cut = Promise.all(slow.map(({ answer }) => answer)).finally(() => {
      open = false
    })
    await eventually("the slow lines to be cut", async () => {
      for (const { socket } of slow) if (socket.writable) socket.write("y")
      assert.strictEqual((await client.ask("GET", "/healthz")).status, 200)
      assert.strictEqual((await deliver(`{"n":${served}}`, `meanwhile-${served}`)).status, 200)
      served++
      return open ? undefined : true
    })
    const ends = await cut
    assert.deepStrictEqual(ends.filter((end) => !end.cut).length, 0)
    assert.isTrue(ends.every(({ text }) => text === "" || text.startsWith("HTTP/1.1 408 ")))
    console.log(`A1: ${slowSockets} lines were cut after ${Math.round(performance.now() - slowSince)} ms, ${served} calls served meanwhile`)
    ran("A1", ends.length, slowSockets, "slow lines")
  })
})
