/** The golden path: the whole product over HTTP against the real process, from the first key to a crash that nobody notices. */
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { type PlatformProcess, startPlatform } from "./faults/platform-process.ts"
import { type Client, eventually, follow, httpClient } from "./support/http-client.ts"
import { documentProblems, operationsOf } from "./support/open-api.ts"
import { order, sign } from "./support/orders.ts"
import { startVendor, type Vendor, type VendorAnswer } from "./support/vendor.ts"

const tenant = "/api/v1/tenants/ana%40example.com"
const apiKey = "ledger-token-of-ana"
const signingSecret = "the shop's signing secret"

const ledger = `
id: ledger
name: Ledger
baseUrl: "{address}/v1"
variables:
  address: { kind: origin }
auth:
  token: { kind: bearer }
actions:
  book:
    method: POST
    path: /bookings/{externalId}
    body: input
    effect: idempotent
    idempotencyHeader: idempotency-key
errors: { message: error.message }
`
const flow = (booked: string) => `
id: book-orders
trigger: { connector: shop, event: orders/create }
steps:
  - id: map
    kind: transform
    expression: '{ "externalId": $string(trigger.body.id), "total": $number(trigger.body.total_price) }'
  - id: book
    kind: action
    connector: ledger
    action: book
    input: "= ${booked}"
    retry: { attemptsMax: 3, backoffMillis: 10 }
`

/** What the ledger says from now on. */
let says: VendorAnswer = { status: 201, body: '{"booking":"b-1"}' }
let vendor: Vendor
let platform: PlatformProcess
let client: Client
let hook = ""
let first: { readonly id: string; readonly deliveryId: string }

const deliver = async (index: number, secret = signingSecret) => {
  const body = order(index)
  const response = await fetch(hook, {
    method: "POST",
    body,
    headers: {
      "content-type": "application/json",
      "x-shopify-topic": "orders/create",
      "x-shopify-webhook-id": `delivery-${index}`,
      "x-shopify-hmac-sha256": sign(body, secret)
    }
  })
  return { status: response.status, text: await response.text() }
}
const seen = new Set<string>()
/** The run that was started last, as soon as it has this status. Each is met once. */
const newRun = (status: string) =>
  eventually(`a new execution that is ${status}`, async () => {
    const [run] = (await client.ok("GET", `${tenant}/executions?limit=1`)).body.items
    if (run?.status !== status || seen.has(run.id)) return undefined
    seen.add(run.id)
    return run
  })
const sameRun = (id: string, status: string) =>
  eventually(`execution ${id} to be ${status}`, async () => {
    const run = (await client.ok("GET", `${tenant}/executions/${id}`)).body
    return run.status === status ? run : undefined
  })
/** Nothing is in hand, and every view has seen everything. */
const settled = () =>
  eventually("the platform to be at rest", async () => {
    const { text } = await client.ok("GET", "/metrics")
    const figures = [...text.matchAll(/^tributary_(?:work_open|work_in_flight|view_lag_events\{.*\}) (\d+)$/gmu)]
    return figures.length > 2 && figures.every(([, figure]) => figure === "0") ? true : undefined
  })
const names = (items: ReadonlyArray<{ readonly id: string }>) => items.map(({ id }) => id).sort()

beforeAll(async () => {
  vendor = await startVendor(() => says)
  platform = await startPlatform()
  client = httpClient(platform.url, platform.key)
})
afterAll(async () => {
  client?.close()
  await platform?.remove()
  await vendor?.close()
})

describe("the golden path", () => {
  it("begins with the first admin key, and without it nothing opens", async () => {
    assert.strictEqual((await client.ask("GET", "/api/v1/tenants", { key: "" })).status, 401)
    assert.deepStrictEqual((await client.ok("GET", "/api/v1/tenants")).body, { items: [], next: null })
  })

  it("makes a tenant under the space's own id for it", async () => {
    const created = await client.ok("POST", "/api/v1/tenants", { id: "ana@example.com", displayName: "Ana", plan: "growth" })
    assert.strictEqual(created.status, 201)
    assert.strictEqual((await client.ok("GET", tenant)).body.displayName, "Ana")
    assert.strictEqual((await client.ask("POST", "/api/v1/tenants", { body: { id: "ana@example.com" } })).status, 409)
  })

  it("publishes a connector beside the built-in ones", async () => {
    const published = await client.ok("POST", "/api/v1/connectors", ledger, { "content-type": "application/yaml" })
    assert.deepInclude(published.body, { id: "ledger", version: 1 })
    assert.includeMembers(names((await client.ok("GET", "/api/v1/connectors")).body.items), ["erp", "ledger", "shop"])
  })

  it("connects the tenant, and never gives the secret back", async () => {
    const wrong = await client.ask("POST", `${tenant}/connections`, {
      body: { connector: "ledger", method: "token", secrets: { tokn: apiKey }, variables: {} }
    })
    assert.strictEqual(wrong.status, 422)
    assert.includeMembers(
      wrong.body.findings.map(({ pointer }: { pointer: string }) => pointer),
      ["/secrets/tokn", "/secrets/token", "/variables/address"]
    )
    const made = await client.ok("POST", `${tenant}/connections`, {
      connector: "ledger",
      method: "token",
      secrets: { token: apiKey },
      variables: { address: vendor.address },
      label: "Ana's ledger"
    })
    const list = await client.ok("GET", `${tenant}/connections`)
    const one = await client.ok("GET", `${tenant}/connections/${made.body.connectionId}`)
    assert.strictEqual(one.body.label, "Ana's ledger")
    assert.strictEqual(list.body.items[0].connectionId, made.body.connectionId)
    for (const { text } of [wrong, made, list, one]) assert.notInclude(text, apiKey)
  })

  it("points at the mistake in a workflow, and publishes it once that is gone", async () => {
    const yaml = { "content-type": "application/yaml" }
    const drafted = await client.ok("POST", "/api/v1/workflows", flow("steps.mapp.output"), yaml)
    assert.strictEqual(drafted.body.findings[0].pointer, "/steps/1/input")
    assert.include(drafted.body.findings[0].message, "mapp")
    const refused = await client.ask("POST", "/api/v1/workflows/book-orders/publish")
    assert.deepStrictEqual([refused.status, refused.body.type], [422, "/problems/flow-invalid"])
    assert.deepStrictEqual(refused.body.findings, drafted.body.findings)
    assert.deepStrictEqual((await client.ok("POST", "/api/v1/workflows", flow("steps.map.output"), yaml)).body.findings, [])
    assert.strictEqual((await client.ok("POST", "/api/v1/workflows/book-orders/publish")).body.version, 1)
  })

  it("enables it for the tenant and makes an address for the shop", async () => {
    assert.deepStrictEqual((await client.ok("PUT", `${tenant}/workflows/book-orders`, {})).body, {
      id: "book-orders",
      version: 1,
      missing: []
    })
    const made = await client.ok("POST", `${tenant}/hooks`, { connector: "shop", secret: signingSecret })
    assert.isNull(made.body.secret)
    hook = made.body.url
    assert.isTrue(hook.startsWith(`${platform.url}/hooks/`))
  })

  it("turns a signed webhook into a run with the tenant's credentials, and a forged one into nothing", async () => {
    assert.strictEqual((await deliver(1, "another secret")).status, 401)
    assert.strictEqual((await deliver(1)).status, 200)
    const run = await newRun("succeeded")
    first = run
    assert.deepStrictEqual(
      run.steps.map(({ id, status, attempts }: { id: string; status: string; attempts: number }) => [id, status, attempts]),
      [
        ["map", "succeeded", 1],
        ["book", "succeeded", 1]
      ]
    )
    assert.lengthOf(vendor.calls, 1)
    assert.strictEqual(vendor.calls[0]!.headers.authorization, `Bearer ${apiKey}`)
    assert.deepStrictEqual(JSON.parse(vendor.calls[0]!.body), { externalId: "5600000001", total: 61.7 })
    const step = await client.ok("GET", `${tenant}/executions/${run.id}/steps/book`)
    assert.deepStrictEqual(step.body.attempts[0].output, { booking: "b-1" })
    assert.strictEqual(step.body.attempts[0].input.externalId, "5600000001")
    assert.notInclude(step.text, apiKey)
  })

  it("runs a repeated delivery once", async () => {
    assert.strictEqual((await deliver(1)).status, 200)
    assert.lengthOf((await client.ok("GET", `${tenant}/events`)).body.items, 1)
    assert.lengthOf((await client.ok("GET", `${tenant}/executions`)).body.items, 1)
  })

  it("explains what became of the event", async () => {
    const { body } = await client.ok("GET", `${tenant}/events/${first.deliveryId}/explain`)
    assert.match(body.verdict, /It started one run: book-orders succeeded/)
    assert.isAtLeast(body.facts.length, 2)
  })

  it("tells a run live, and goes on where a reader was cut off", async () => {
    const whole = await follow(client, `${tenant}/executions/${first.id}/stream`, platform.key, ({ event }) => event === "RunSucceeded")
    assert.strictEqual(whole[0]!.event, "RunStarted")
    const rest = await follow(client, `${tenant}/executions/stream`, platform.key, ({ event }) => event === "RunSucceeded", {
      after: whole[1]!.id!
    })
    assert.deepStrictEqual(rest, whole.slice(2))
    const opened = Promise.withResolvers<void>()
    const ends = ({ event, data }: { event: string; data: { executionId: string } }) =>
      event === "RunSucceeded" && data.executionId !== first.id
    const live = follow(client, `${tenant}/executions/stream`, platform.key, ends, { opened: () => opened.resolve() })
    await opened.promise
    await deliver(2)
    assert.strictEqual((await live)[0]!.event, "RunStarted")
    await newRun("succeeded")
  })

  it("keeps what failed, and goes on from there when the vendor is well again", async () => {
    says = { status: 422, body: '{"error":{"message":"this period is closed"}}' }
    await deliver(3)
    const failed = await newRun("failed")
    assert.deepInclude(failed.steps[1].error, { code: "http-422", status: 422, kind: "permanent" })
    const step = await client.ok("GET", `${tenant}/executions/${failed.id}/steps/book`)
    assert.strictEqual(step.body.attempts[0].error.detail, "this period is closed")
    const calls = vendor.calls.length
    says = { status: 201, body: '{"booking":"b-3"}' }
    await client.ok("POST", `${tenant}/executions/${failed.id}/retry`)
    const retried = await sameRun(failed.id, "succeeded")
    assert.strictEqual(vendor.calls.length, calls + 1)
    assert.strictEqual(retried.steps[0].attempts, 1, "what had succeeded was kept")
  })

  it("cancels a run that waits for its next attempt", async () => {
    says = { status: 503, headers: { "retry-after": "3600" } }
    await deliver(4)
    const waiting = await newRun("waiting")
    const cancelled = await client.ok("POST", `${tenant}/executions/${waiting.id}/cancel`, { reason: "The order was a test" })
    assert.strictEqual(cancelled.body.status, "cancelled")
    assert.strictEqual((await sameRun(waiting.id, "cancelled")).reason, "The order was a test")
    const again = await client.ok("POST", `${tenant}/executions/${waiting.id}/cancel`, {})
    assert.strictEqual(again.body.revision, cancelled.body.revision, "what holds already decides nothing")
    says = { status: 201 }
  })

  it("lets a tenant's setting win over the space's, and says so", async () => {
    await client.ok("PUT", "/api/v1/settings/runs.attemptsMax", { value: 9 })
    await client.ok("PUT", `${tenant}/settings/runs.attemptsMax`, { value: 2 })
    const { body } = await client.ok("GET", `${tenant}/settings/runs.attemptsMax/explain`)
    assert.deepStrictEqual([body.value, body.winner.level], [2, "tenant"])
    assert.deepStrictEqual(
      body.overridden.map(({ level, value }: { level: string; value: number }) => [level, value]),
      [
        ["space", 9],
        ["default", 6]
      ]
    )
    assert.strictEqual((await client.ask("PUT", `${tenant}/settings/runs.attemptsMax`, { body: { value: "many" } })).status, 422)
    assert.strictEqual((await client.ask("PUT", `${tenant}/settings/runs.atemptsMax`, { body: { value: 2 } })).status, 404)
  })

  it("refuses the event above the quota, counted exactly", async () => {
    const used = (await client.ok("GET", `${tenant}/usage`)).body.items.find(
      ({ dimension }: { dimension: string }) => dimension === "events"
    )
    assert.strictEqual(used.reserved, 4)
    await client.ok("PUT", `${tenant}/settings/quota.eventsPerDay.limit`, { value: 5 })
    assert.strictEqual((await deliver(5)).status, 200)
    await newRun("succeeded")
    const refused = await deliver(6)
    assert.strictEqual(refused.status, 429)
    assert.include(refused.text, "/problems/quota-exhausted")
    assert.lengthOf((await client.ok("GET", `${tenant}/events`)).body.items, 5)
    await client.ok("DELETE", `${tenant}/settings/quota.eventsPerDay.limit`)
    assert.strictEqual((await deliver(6)).status, 200)
    await newRun("succeeded")
  })

  it("knows who did what", async () => {
    const viewer = (await client.ok("POST", "/api/v1/api-keys", { role: "viewer", label: "A look" })).body.key as string
    const by = `key:${platform.key.split("_")[2]}`
    const { body } = await client.ok("GET", `${tenant}/audit?limit=200&by=${encodeURIComponent(by)}`)
    const did = body.items.map(({ action }: { action: string }) => action)
    assert.includeMembers(did, ["TenantCreated", "ConnectionAuthorized", "FlowEnabled", "RunCancelled", "RunRetried", "SettingChanged"])
    assert.strictEqual(body.items[0].actor.address, "127.0.0.1")
    const space = (await client.ok("GET", "/api/v1/audit?limit=200")).body.items.map(({ action }: { action: string }) => action)
    assert.includeMembers(space, ["ConnectorPublished", "FlowPublished", "ApiKeyCreated"])
    assert.strictEqual((await client.ask("GET", `${tenant}/audit`, { key: viewer })).status, 403)
    assert.strictEqual((await client.ask("GET", `${tenant}/executions`, { key: viewer })).status, 200)
  })

  it("rebuilds a projection while it goes on answering", async () => {
    await settled()
    const list = () => client.ok("GET", `${tenant}/executions`)
    const before = (await list()).text
    const model = (await client.ok("POST", "/api/v1/projections/runs/rebuild")).body
    const old = model.serving.model
    let served = 0
    await eventually("the new generation to serve", async () => {
      assert.strictEqual((await list()).text, before)
      served++
      const { items } = (await client.ok("GET", "/api/v1/projections")).body
      const runs = items.find(({ name }: { name: string }) => name === "runs")
      return runs.serving.model !== old && runs.building === null ? runs : undefined
    })
    assert.isAtLeast(served, 1)
    assert.strictEqual((await list()).text, before)
  })

  it("describes itself by a sound document, and answers every path of it", async () => {
    const { body: document } = await client.ok("GET", "/openapi.json")
    assert.deepStrictEqual(documentProblems(document), [])
    const operations = operationsOf(document)
    assert.isAtLeast(operations.length, 60)
    for (const { method, path } of operations) {
      const filled = path.replace("{tid}", "ana%40example.com").replace(/\{\w+\}/gu, "none")
      const { status, text, headers } = await client.ask(method, filled, method === "GET" || method === "DELETE" ? {} : { body: "[]" })
      assert.isBelow(status, 500, `${method} ${path}: ${text}`)
      assert.notInclude([401, 403, 405], status, `${method} ${path}`)
      assert.notInclude(text, "There is nothing at", `${method} ${path}`)
      if (status >= 400) assert.include(headers["content-type"], "application/problem+json", `${method} ${path}`)
    }
    for (const path of ["/docs", "/healthz", "/readyz", "/metrics"]) assert.strictEqual((await client.ask("GET", path)).status, 200)
  })

  it("has everything as it was after a crash", async () => {
    const paths = ["", "/connections", "/hooks", "/workflows", "/executions", "/events", "/settings", "/usage/windows", "/audit"]
    const look = () => Promise.all(paths.map(async (path) => (await client.ok("GET", tenant + path)).text))
    const shared = () =>
      Promise.all(["workflows", "connectors", "settings", "api-keys"].map(async (name) => (await client.ok("GET", `/api/v1/${name}`)).text))
    await settled()
    const before = [await look(), await shared()]
    await platform.kill()
    await platform.start()
    assert.notInclude(platform.output(), "First admin key")
    await settled()
    assert.deepStrictEqual([await look(), await shared()], before)
    assert.strictEqual((await deliver(6)).status, 200)
    assert.strictEqual((await deliver(7)).status, 200)
    assert.lengthOf((await newRun("succeeded")).steps, 2)
    assert.lengthOf((await client.ok("GET", `${tenant}/events`)).body.items, 7)
  })
})
