/** A9: no name that somebody else chose reaches a built-in prototype, in any thread; and what is named like a member of one is ordinary. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { type PlatformProcess, startPlatform } from "../faults/platform-process.ts"
import { ran } from "../support/cases.ts"
import { type Client, eventually, httpClient } from "../support/http-client.ts"
import { startServer, type TestServer } from "../support/http-server.ts"
import { sign } from "../support/orders.ts"
import { startVendor, type Vendor } from "../support/vendor.ts"
import { inheritedNames, mergeFlow, requestPayloads, webhookPayloads } from "./pollution-payloads.ts"

const secret = "a signing secret"
const tenant = "/api/v1/tenants/acme"
const watch = new URL("./prototype-watch.mjs", import.meta.url)

let vendor: Vendor
beforeAll(async () => {
  // An app that answers with what it was sent, and with names of its own.
  vendor = await startVendor(({ body }) => ({ status: 201, body: `{"__proto__":{"pollutedByVendor":1},"body":${body || "null"}}` }))
})
afterAll(() => vendor?.close())

/** A tenant whose webhooks are mapped in every way that names members by data. */
const prepare = async (client: Client): Promise<string> => {
  await client.ok("POST", "/api/v1/tenants", { id: "acme", plan: "enterprise" })
  assert.deepStrictEqual((await client.ok("POST", "/api/v1/workflows", mergeFlow)).body.findings, [])
  await client.ok("POST", "/api/v1/workflows/merge/publish")
  await client.ok("PUT", `${tenant}/workflows/merge`, {})
  const variables = { address: vendor.address }
  await client.ok("POST", `${tenant}/connections`, { connector: "erp", method: "apiKey", secrets: { apiKey: "k" }, variables })
  return (await client.ok("POST", `${tenant}/hooks`, { connector: "shop", secret })).body.url
}

const deliver = async (hook: string, body: string, index: number): Promise<number> => {
  const response = await fetch(hook, {
    method: "POST",
    body,
    headers: {
      "content-type": "application/json",
      "x-shopify-topic": "orders/create",
      "x-shopify-webhook-id": `d-${index}`,
      "x-shopify-hmac-sha256": sign(body, secret)
    }
  })
  await response.arrayBuffer()
  return response.status
}

/** Sends everything; `after` looks for damage behind each payload. */
const attack = async (client: Client, hook: string, after: (what: string) => void): Promise<number> => {
  const failed: Array<string> = []
  let payloads = 0
  for (const { method, path, ...options } of requestPayloads) {
    const { status, text } = await client.ask(method, path, options)
    if (status >= 500) failed.push(`${method} ${path} ${String(options.body)}: ${status} ${text}`)
    after(`${method} ${path} ${String(options.body)}`)
    payloads++
  }
  for (const [index, body] of webhookPayloads.entries()) {
    const status = await deliver(hook, body, index)
    if (status !== 200) failed.push(`webhook ${body}: ${status}`)
    payloads++
  }
  const runs = await eventually("every webhook to have run", async () => {
    const { items } = (await client.ok("GET", `${tenant}/executions?limit=200`)).body
    const ended = items.filter(({ status }: { status: string }) => status === "succeeded")
    return ended.length === webhookPayloads.length ? items : undefined
  })
  after("the webhooks")
  for (const run of runs)
    for (const { id } of run.steps) {
      const { status, text } = await client.ask("GET", `${tenant}/executions/${run.id}/steps/${id}`)
      if (status !== 200) failed.push(`content of ${id}: ${status} ${text}`)
    }
  after("reading the steps")
  assert.deepStrictEqual(failed, [])
  return payloads
}

const builtIns = { Object, Array, String, Number, Boolean, Function, Date, RegExp, Error, Map, Set, Promise, Uint8Array }
const fingerprint = () =>
  JSON.stringify(Object.entries(builtIns).map(([name, { prototype }]) => [name, Reflect.ownKeys(prototype).map(String)]))

describe("A9: prototype pollution", () => {
  let server: TestServer
  afterAll(() => server?.stop())

  it("leaves the prototypes of the engine's own process alone, payload by payload", async () => {
    server = await startServer()
    const client = httpClient(server.url, server.adminKey)
    const hook = await prepare(client)
    const before = fingerprint()
    const payloads = await attack(client, hook, (what) => assert.strictEqual(fingerprint(), before, `changed by ${what}`))
    client.close()
    ran("A9", payloads, 200, "payloads against the engine in this process")
  })
})

describe("A9: a platform whose threads are watched", () => {
  let platform: PlatformProcess
  let client: Client
  let hook = ""
  const folder = mkdtempSync(join(tmpdir(), "tributary-watch-"))
  const file = join(folder, "beats.jsonl")

  beforeAll(async () => {
    platform = await startPlatform({ NODE_OPTIONS: `--import=${watch.href}`, PROTOTYPE_WATCH_FILE: file })
    client = httpClient(platform.url, platform.key)
    hook = await prepare(client)
  })
  afterAll(async () => {
    client?.close()
    await platform?.remove()
    rmSync(folder, { recursive: true })
  })

  it("comes through all payloads with every prototype as it was, in every thread", async () => {
    const look = () =>
      Promise.all(["connectors/erp", "settings", "workflows/merge", "tenants"].map((name) => client.ok("GET", `/api/v1/${name}`)))
    const before = (await look()).map(({ text }) => text)
    const payloads = await attack(client, hook, () => {})
    const end = Date.now()
    const threads = await eventually("a later look of every thread", () => {
      const beats = readFileSync(file, "utf8")
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line))
      const late = beats.filter(({ at }) => at > end)
      return new Set(late.map(({ thread }) => thread)).size === 3 ? late : undefined
    })
    assert.deepStrictEqual(
      threads.flatMap(({ changed }) => changed),
      []
    )
    const after = (await look()).map(({ text }) => text)
    assert.deepStrictEqual(after.slice(0, 3), before.slice(0, 3))
    for (const text of after) assert.notInclude(text, "polluted")
    ran("A9", payloads, 200, "payloads against three watched threads")
  })

  it("takes what is named like a member of a prototype for what it is", async () => {
    for (const id of inheritedNames) {
      assert.strictEqual((await client.ask("GET", `/api/v1/tenants/${id}`)).status, 404, id)
      await client.ok("POST", "/api/v1/tenants", { id, plan: "enterprise" })
      assert.strictEqual((await client.ok("GET", `/api/v1/tenants/${id}`)).body.id, id)
      assert.strictEqual((await client.ask("GET", `/api/v1/connectors/${id}`)).status, 404, id)
      assert.strictEqual((await client.ask("POST", `/api/v1/projections/${id}/rebuild`)).status, 404, id)
      assert.strictEqual((await client.ask("PUT", `/api/v1/settings/${id}`, { body: { value: 1 } })).status, 404, id)
    }
    const manifest = {
      id: "constructor",
      name: "toString",
      baseUrl: "{valueOf}/x",
      variables: { valueOf: { kind: "origin" } },
      auth: { hasOwnProperty: { kind: "custom", fields: { toString: {} }, place: [{ in: "header", name: "x-key", value: "{toString}" }] } },
      actions: { isPrototypeOf: { method: "POST", path: "/{toString}", body: "input", effect: "unsafe" } },
      webhook: {
        signature: { algorithm: "hmac-sha256", parts: ["body"], headers: ["valueof"], encoding: "hex" },
        event: { body: "constructor" }
      },
      triggers: [{ event: "valueOf" }, { event: "__proto__" }]
    }
    await client.ok("POST", "/api/v1/connectors", manifest)
    const steps = ["constructor", "toString", "valueOf", "hasOwnProperty"]
    await client.ok("POST", "/api/v1/workflows", {
      id: "constructor",
      trigger: { connector: "constructor", event: "__proto__" },
      steps: [
        ...steps.map((id) => ({ id, kind: "transform", expression: "{ 'toString': trigger.body.toString }" })),
        { id: "isPrototypeOf", kind: "action", connector: "constructor", action: "isPrototypeOf", input: "= steps.constructor.output" }
      ]
    })
    const published = await client.ask("POST", "/api/v1/workflows/constructor/publish")
    assert.strictEqual(published.status, 200, published.text)
    await client.ok("PUT", "/api/v1/tenants/toString/workflows/constructor", {})
    await client.ok("POST", "/api/v1/tenants/toString/connections", {
      connector: "constructor",
      method: "hasOwnProperty",
      secrets: { toString: "the-key" },
      variables: { valueOf: vendor.address }
    })
    const body = { toString: "path" }
    await client.ok("POST", "/api/v1/tenants/toString/events", { connector: "constructor", event: "__proto__", body })
    const run = await eventually("the run to end", async () => {
      const [found] = (await client.ok("GET", "/api/v1/tenants/toString/executions")).body.items
      return ["succeeded", "failed"].includes(found?.status) ? found : undefined
    })
    assert.strictEqual(run.status, "succeeded", JSON.stringify(run))
    const call = vendor.calls.find(({ url }) => url === "/x/path")
    assert.deepStrictEqual([call?.body, call?.headers["x-key"]], ['{"toString":"path"}', "the-key"])
    ran("A9", inheritedNames.length * 5 + 1, 30, "uses of inherited names as ordinary ones")
  })
})
