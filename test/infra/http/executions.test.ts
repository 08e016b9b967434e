/** From a signed webhook to an execution that can be followed, looked into and explained: over HTTP alone. */
import { createHmac } from "node:crypto"
import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { type AskOptions, startServer, type TestServer } from "../../support/http-server.ts"

const workflow = {
  id: "orders",
  trigger: { connector: "shop", event: "orders/create" },
  steps: [
    {
      id: "map",
      kind: "transform",
      expression: "= { 'externalId': $string(trigger.body.id), 'total': trigger.body.total, 'currency': 'EUR' }"
    },
    { id: "enter", kind: "action", connector: "erp", action: "createOrder", input: "= steps.map.output" }
  ]
}
const secret = "a signing secret of the shop"
const tenant = "/api/v1/tenants/acme"

let server: TestServer
let erp: Server
let hook = ""
const received: Array<{ readonly key: string | undefined; readonly body: unknown }> = []
const ask = (method: string, path: string, options?: AskOptions) => server.ask(method, path, options)
const ok = async (method: string, path: string, body?: unknown) => {
  const answer = await ask(method, path, body === undefined ? {} : { body })
  assert.isBelow(answer.status, 300, answer.text)
  return answer
}

const deliver = (body: object, delivery: string, key = secret) => {
  const text = JSON.stringify(body)
  return fetch(hook, {
    method: "POST",
    body: text,
    headers: {
      "content-type": "application/json",
      "x-shopify-hmac-sha256": createHmac("sha256", key).update(text).digest("base64"),
      "x-shopify-webhook-id": delivery,
      "x-shopify-topic": "orders/create"
    }
  })
}

interface Told {
  readonly id: string | undefined
  readonly event: string
  readonly data: { readonly executionId: string; readonly revision: number }
}
/** Server-sent events until one is of a type; heartbeats left out. */
const follow = async (path: string, until: string, after?: string): Promise<ReadonlyArray<Told>> => {
  const stop = new AbortController()
  const response = await fetch(server.url + path, {
    signal: stop.signal,
    headers: { "x-api-key": server.adminKey, ...(after === undefined ? {} : { "last-event-id": after }) }
  })
  assert.strictEqual(response.status, 200)
  assert.include(response.headers.get("content-type"), "text/event-stream")
  const told: Array<Told> = []
  let text = ""
  for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
    text += chunk
    const blocks = text.split("\n\n")
    text = blocks.pop()!
    for (const block of blocks) {
      const field = (name: string) => new RegExp(`^${name}: ?(.*)$`, "m").exec(block)?.[1]
      told.push({ id: field("id"), event: field("event")!, data: JSON.parse(field("data")!) })
    }
    if (told.some(({ event }) => event === until)) break
  }
  stop.abort()
  return told.filter(({ event }) => event !== "heartbeat")
}

/** The newest execution, as soon as it has ended. */
const ended = async (): Promise<{ readonly id: string; readonly status: string; readonly deliveryId: string }> => {
  for (;;) {
    const [run] = (await ok("GET", `${tenant}/executions?limit=1`)).body.items
    if (run !== undefined && ["succeeded", "failed"].includes(run.status)) return run
  }
}

beforeAll(async () => {
  erp = createServer((request, response) => {
    let text = ""
    request.on("data", (chunk) => {
      text += chunk
    })
    request.on("end", () => {
      received.push({ key: request.headers["x-api-key"] as string | undefined, body: JSON.parse(text) })
      response.writeHead(201, { "content-type": "application/json" }).end('{"id":"erp-1"}')
    })
  }).listen(0, "127.0.0.1")
  server = await startServer()
  await ok("POST", "/api/v1/tenants", { id: "acme" })
  const drafted = await ok("POST", "/api/v1/workflows", workflow)
  assert.deepStrictEqual(drafted.body.findings, [])
  await ok("POST", "/api/v1/workflows/orders/publish")
  hook = (await ok("POST", `${tenant}/hooks`, { connector: "shop", secret })).body.url
  const enabled = await ok("PUT", `${tenant}/workflows/orders`, {})
  assert.deepStrictEqual(
    enabled.body.missing.map(({ connectorId }: { connectorId: string }) => connectorId),
    ["erp"]
  )
  const { port } = erp.address() as AddressInfo
  await ok("POST", `${tenant}/connections`, {
    connector: "erp",
    method: "apiKey",
    secrets: { apiKey: "the-erp-key" },
    variables: { address: `http://127.0.0.1:${port}` }
  })
}, 30_000)
afterAll(async () => {
  await server.stop()
  erp.close()
})

describe("a signed webhook", () => {
  it("becomes an execution with the tenant's credentials", async () => {
    assert.strictEqual((await deliver({ id: 7, total: 12.5 }, "d-1")).status, 200)
    const run = await ended()
    assert.strictEqual(run.status, "succeeded")
    assert.deepStrictEqual(received, [{ key: "the-erp-key", body: { externalId: "7", total: 12.5, currency: "EUR" } }])
  })
  it("is refused when it is forged, and leaves nothing behind", async () => {
    const answer = await deliver({ id: 8, total: 1 }, "d-2", "another secret")
    assert.strictEqual(answer.status, 401)
    assert.include(answer.headers.get("content-type"), "application/problem+json")
    assert.lengthOf((await ok("GET", `${tenant}/events`)).body.items, 1)
  })
  it("is done once when it comes again", async () => {
    assert.strictEqual((await deliver({ id: 7, total: 12.5 }, "d-1")).status, 200)
    assert.lengthOf((await ok("GET", `${tenant}/executions`)).body.items, 1)
  })
})

describe("an execution", () => {
  it("tells its story live, and goes on after the event that was seen last", async () => {
    const { id } = await ended()
    const path = `${tenant}/executions/${id}/stream`
    const all = await follow(path, "RunSucceeded")
    assert.strictEqual(all[0]!.event, "RunStarted")
    assert.deepStrictEqual(
      all.map(({ data }) => data.revision),
      all.map((_, index) => index)
    )
    assert.deepStrictEqual(await follow(path, "RunSucceeded", all[1]!.id), all.slice(2))
    assert.deepStrictEqual(await follow(`${tenant}/executions/stream`, "RunSucceeded", all[1]!.id), all.slice(2))
  })
  it("refuses to go on after a position that it never gave out", async () => {
    const [told] = await follow(`${tenant}/executions/${(await ended()).id}/stream`, "RunSucceeded")
    const [journalId] = told!.id!.split(":")
    for (const id of ["0", "9999999999999999", "x", `${journalId}:0`, `${journalId}:9999999999999999`]) {
      const { status, body } = await ask("GET", `${tenant}/executions/stream`, { headers: { "last-event-id": id } })
      assert.deepStrictEqual([status, body.errors[0].pointer], [400, "/last-event-id"])
    }
    const foreign = await ask("GET", `${tenant}/executions/stream`, {
      headers: { "last-event-id": told!.id!.replace(journalId!, "another") }
    })
    assert.deepStrictEqual([foreign.status, foreign.body.type], [409, "/problems/position-foreign"])
  })
  it("tells what happens from now on", async () => {
    const following = follow(`${tenant}/executions/stream`, "RunSucceeded")
    await ok("POST", `${tenant}/events`, { connector: "shop", event: "orders/create", body: { id: 9, total: 3 } })
    const told = await following
    assert.strictEqual(told.at(-1)!.event, "RunSucceeded")
  })
  it("shows what went through a step, without the credentials", async () => {
    const { id } = await ended()
    const { body, text } = await ok("GET", `${tenant}/executions/${id}/steps/enter`)
    assert.strictEqual(body.attempts[0].input.currency, "EUR")
    assert.deepStrictEqual(body.attempts[0].output, { id: "erp-1" })
    assert.notInclude(text, "the-erp-key")
  })
  it("is not there for another tenant", async () => {
    await ok("POST", "/api/v1/tenants", { id: "globex" })
    const { id } = await ended()
    for (const path of [`executions/${id}`, `executions/${id}/stream`, `executions/${id}/steps/enter`])
      assert.strictEqual((await ask("GET", `/api/v1/tenants/globex/${path}`)).status, 404)
    assert.strictEqual((await ask("POST", `/api/v1/tenants/globex/executions/${id}/retry`)).status, 404)
  })
  it("can be neither retried nor cancelled once it has succeeded", async () => {
    const { id } = await ended()
    const { status, body } = await ask("POST", `${tenant}/executions/${id}/retry`)
    assert.deepStrictEqual([status, body.type], [409, "/problems/run-not-in-state"])
  })
})

describe("an event", () => {
  it("can be opened by who may see content, without signatures", async () => {
    const { deliveryId } = await ended()
    const path = `${tenant}/events/${deliveryId}/content`
    const { body, text } = await ok("GET", path)
    assert.deepStrictEqual([body.deliveryId, body.event], [deliveryId, "orders/create"])
    assert.oneOf(body.body.id, [7, 9])
    assert.notInclude(text, "hmac")
    assert.deepStrictEqual(Object.keys(body), ["event", "deliveryId", "receivedAt", "headers", "body"])
    const { key } = (await ok("POST", "/api/v1/api-keys", { role: "viewer", label: "looks on" })).body
    const refused = await ask("GET", path, { key })
    assert.deepStrictEqual([refused.status, refused.body.permission], [403, "events:content"])
    assert.strictEqual((await ask("GET", path.replace("acme", "globex"))).status, 404)
  })
  it("explains what became of it", async () => {
    const { deliveryId } = await ended()
    const { body } = await ok("GET", `${tenant}/events/${deliveryId}/explain`)
    assert.match(body.verdict, /It started one run: orders succeeded/)
  })
  it("can be opened however deep it nests", async () => {
    const deep = `${"[".repeat(20_000)}${"]".repeat(20_000)}`
    const signature = createHmac("sha256", secret).update(deep).digest("base64")
    const headers = {
      "content-type": "application/json",
      "x-shopify-hmac-sha256": signature,
      "x-shopify-webhook-id": "deep",
      "x-shopify-topic": "x"
    }
    assert.strictEqual((await fetch(hook, { method: "POST", body: deep, headers })).status, 200)
    let id: string | undefined
    while (id === undefined) id = (await ok("GET", `${tenant}/events?event=x`)).body.items[0]?.id
    assert.include((await ok("GET", `${tenant}/events/${id}/content`)).text, `"body":${deep}}`)
  })
  it("counts against the quota", async () => {
    const { body } = await ok("GET", `${tenant}/usage`)
    const events = body.items.find(({ dimension }: { dimension: string }) => dimension === "events")
    assert.isAtLeast(events.reserved, 2)
    const ledger = await ok("GET", `${tenant}/usage/events/${events.window}`)
    assert.lengthOf(ledger.body.items, events.reserved)
  })
})

describe("a workflow that is not valid", () => {
  it("is refused with every place that is wrong", async () => {
    const wrong = {
      ...workflow,
      id: "wrong",
      steps: [
        { id: "a", kind: "teleport" },
        { id: "b", kind: "transform" }
      ]
    }
    const { status, body } = await ask("POST", "/api/v1/workflows", { body: wrong })
    assert.deepStrictEqual([status, body.type], [422, "/problems/flow-invalid"])
    assert.deepStrictEqual(
      body.findings.map(({ pointer }: { pointer: string }) => pointer),
      ["/steps/0/kind", "/steps/1/expression"]
    )
  })
  it("may come as YAML", async () => {
    const yaml = "id: yaml\ntrigger: { connector: shop, event: '*' }\nsteps:\n  - { id: a, kind: transform, expression: '1' }\n"
    const { status } = await ask("POST", "/api/v1/workflows", { body: yaml, headers: { "content-type": "application/yaml" } })
    assert.strictEqual(status, 201)
    assert.strictEqual((await ok("GET", "/api/v1/workflows/yaml")).body.text, yaml)
  })
})
