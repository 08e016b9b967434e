/** A20: no value begins a header, a request or a log line of its own, and what is stored comes back as data. */
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { formatEntry } from "#infra/logging.ts"
import { type PlatformProcess, startPlatform } from "../faults/platform-process.ts"
import { ran } from "../support/cases.ts"
import { type Client, eventually, httpClient } from "../support/http-client.ts"
import { exchange } from "../support/raw-http.ts"
import { startVendor, type Vendor, type VendorCall } from "../support/vendor.ts"
import { payloads, unprintable } from "./injection-payloads.ts"

const tenant = "/api/v1/tenants/acme"
const manifest = {
  id: "carrier",
  name: "Carrier",
  baseUrl: "{address}/{region}",
  variables: { address: { kind: "origin" }, region: {} },
  auth: {
    custom: { kind: "custom", fields: { token: {} }, place: [{ in: "header", name: "x-token", prefix: "Token ", value: "{token}" }] }
  },
  actions: {
    send: {
      method: "POST",
      path: "/items/{value}",
      query: { q: "{value}" },
      headers: { "x-value": "{value}", "x-mixed": "ref={value};end" },
      body: { value: "{value}", text: "<{value}>" },
      effect: "idempotent",
      idempotencyHeader: "idempotency-key"
    },
    quietly: { method: "POST", path: "/quiet/{value}", query: { q: "{value}" }, body: { value: "{value}" }, effect: "safe" }
  }
}
const step = (id: string) => ({
  id,
  kind: "action",
  connector: "carrier",
  action: id,
  input: { value: "= trigger.body.value" },
  onError: "continue"
})
const flow = { id: "carry", trigger: { connector: "shop", event: "orders/create" }, steps: [step("send"), step("quietly")] }

let platform: PlatformProcess
let vendor: Vendor
let client: Client

const wellFormed = payloads.filter((payload) => payload.isWellFormed())
const headerNames = ({ rawHeaders }: VendorCall) => rawHeaders.filter((_, index) => index % 2 === 0).map((name) => name.toLowerCase())
/** What the platform may send, whatever the values are. */
const expected = ["accept", "connection", "content-length", "content-type", "host", "idempotency-key", "x-mixed", "x-token", "x-value"]

beforeAll(async () => {
  vendor = await startVendor(({ body }) => ({ status: 200, body }))
  platform = await startPlatform({ TRIBUTARY_LOG_LEVEL: "Trace" })
  client = httpClient(platform.url, platform.key)
  await client.ok("POST", "/api/v1/connectors", manifest)
  await client.ok("POST", "/api/v1/workflows", flow)
  await client.ok("POST", "/api/v1/workflows/carry/publish")
  await client.ok("POST", "/api/v1/tenants", { id: "acme", plan: "enterprise" })
  await client.ok("PUT", `${tenant}/workflows/carry`, {})
  const variables = { address: vendor.address, region: "eu" }
  await client.ok("POST", `${tenant}/connections`, { connector: "carrier", method: "custom", secrets: { token: "t" }, variables })
})
afterAll(async () => {
  client?.close()
  await platform?.remove()
  await vendor?.close()
})

describe("A20: injection", () => {
  it("splits no header and smuggles no request through an action's parameters", async () => {
    for (const value of payloads)
      await client.ok("POST", `${tenant}/events`, { connector: "shop", event: "orders/create", body: { value } })
    let cursor = ""
    const runs = await eventually("every run to end", async () => {
      const items: Array<{ readonly id: string; readonly status: string }> = []
      for (cursor = ""; ; ) {
        const page = (await client.ok("GET", `${tenant}/executions?limit=200&status=succeeded${cursor}`)).body
        items.push(...page.items)
        if (page.next === null) break
        cursor = `&cursor=${encodeURIComponent(page.next)}`
      }
      return items.length === payloads.length ? items : undefined
    })
    const strange = vendor.calls.filter(
      (call) =>
        headerNames(call).some((name) => !expected.includes(name)) ||
        new Set(headerNames(call)).size !== headerNames(call).length ||
        !/^\/eu\/(?:items|quiet)\/[^/?#\s]+\?q=[^&#\s]*$/u.test(call.url) ||
        call.method !== "POST"
    )
    assert.deepStrictEqual(strange, [])
    // What a header cannot carry is refused; what a path and a body can carry arrives as it is.
    const arrived = vendor.calls.filter(({ url }) => url.includes("/quiet/")).map(({ body }) => JSON.parse(body).value)
    assert.sameMembers(arrived, wellFormed)
    const inHeaders = vendor.calls.filter(({ url }) => url.includes("/items/"))
    assert.isAbove(inHeaders.length, 30)
    for (const { headers, body } of inHeaders) {
      const { value } = JSON.parse(body)
      assert.deepStrictEqual([headers["x-value"], headers["x-mixed"]], [value.trim(), `ref=${value};end`])
    }
    ran("A20", runs.length, 200, `runs with such a parameter, ${vendor.calls.length} calls of the vendor`)
  })

  it("takes no such text for a secret, a variable, a header or a name that it would have to carry", async () => {
    const wrong: Array<string> = []
    let cases = 0
    const refused = (what: string, payload: string, { status, text }: { readonly status: number; readonly text: string }, only = true) => {
      cases++
      if (status >= 500 || (only && status < 400)) wrong.push(`${what} ${JSON.stringify(payload)}: ${status} ${text}`)
    }
    const variables = { address: vendor.address, region: "eu" }
    for (const payload of payloads) {
      const unfit = unprintable.test(payload)
      const connect = { connector: "carrier", method: "custom", secrets: { token: "t" }, variables }
      const connected = (change: object) => client.ask("POST", `${tenant}/connections`, { body: { ...connect, ...change } })
      if (!/^[\w.~-]+$/u.test(payload)) refused("region", payload, await connected({ variables: { ...variables, region: payload } }))
      if (unfit) {
        refused("address", payload, await connected({ variables: { ...variables, address: `http://a${payload}` } }))
        refused("tenant", payload, await client.ask("POST", "/api/v1/tenants", { body: { id: payload } }))
        refused("name", payload, await client.ask("POST", "/api/v1/tenants", { body: { id: "named", displayName: payload } }))
      }
      const inHeaders = [...payload].every((character) => character >= " " && character <= "\u00ff" && character !== "\u007f")
      if (!inHeaders) refused("secret", payload, await connected({ secrets: { token: payload } }))
      refused("key", payload, await client.ask("POST", "/api/v1/api-keys", { body: { role: "viewer", label: payload } }), false)
      const named = { ...manifest, id: "named", actions: { send: { ...manifest.actions.send, headers: { [payload]: "x" } } } }
      refused("header name", payload, await client.ask("POST", "/api/v1/connectors", { body: named }), unfit)
    }
    assert.deepStrictEqual(wrong, [])
    ran("A20", cases, 400, "refusals of such texts")
  })

  it("answers one head per request, whatever is in path, query and headers", async () => {
    let cases = 0
    for (const payload of payloads) {
      const target = encodeURIComponent(payload.toWellFormed())
      const spelt = Buffer.from(payload.replace(/[\r\n\0]/gu, " "), "utf8").toString("latin1")
      const heads = [
        `GET /api/v1/tenants/${target} HTTP/1.1\r\n`,
        `GET /api/v1/tenants?limit=1&region=eu&x=${target} HTTP/1.1\r\n`,
        `GET /${target} HTTP/1.1\r\nx-tenant-id: ${spelt}\r\ntraceparent: ${spelt}\r\n`
      ]
      for (const head of heads) {
        const { text } = await exchange(
          platform.url,
          Buffer.from(`${head}host: x\r\nx-api-key: ${platform.key}\r\nconnection: close\r\n\r\n`, "latin1")
        )
        const [top = ""] = text.split("\r\n\r\n", 1)
        assert.strictEqual(text.split("HTTP/1.1 ").length, 2, `${JSON.stringify(payload)}: ${text}`)
        assert.notMatch(top, /^x-injected/imu)
        assert.match(top, /^content-type: (?:application\/json|application\/problem\+json)$/imu, `${JSON.stringify(payload)}: ${top}`)
        cases++
      }
    }
    ran("A20", cases, 300, "requests")
  })

  it("gives markup and formulas back as data, in a type that no browser runs", async () => {
    const shown = payloads.filter((payload) => !unprintable.test(payload) && payload.trim() !== "" && payload.length <= 128)
    for (const [index, displayName] of shown.entries()) {
      const path = `/api/v1/tenants/shown-${index}`
      await client.ok("POST", "/api/v1/tenants", { id: `shown-${index}`, displayName })
      const { body, headers } = await client.ok("GET", path)
      assert.strictEqual(body.displayName, displayName.normalize("NFC"))
      assert.deepStrictEqual([headers["content-type"], headers["x-content-type-options"]], ["application/json", "nosniff"])
    }
    const [run] = (await client.ok("GET", `${tenant}/executions?limit=1`)).body.items
    const step = await client.ok("GET", `${tenant}/executions/${run.id}/steps/quietly`)
    assert.deepStrictEqual([step.headers["content-type"], step.headers["x-content-type-options"]], ["application/json", "nosniff"])
    ran("A20", shown.length, 20, "names came back as they were")
  })

  it("writes one line of JSON for each entry of the log", () => {
    for (const payload of payloads) {
      const annotations = { path: payload, [payload]: payload, nested: { [payload]: [payload] } }
      const text = formatEntry({ level: payload, at: new Date(0), message: [payload, new Error(payload)], annotations })
      assert.notMatch(text, unprintable, JSON.stringify(payload))
      assert.isObject(JSON.parse(text))
      assert.strictEqual(JSON.parse(text).time, "1970-01-01T00:00:00.000Z")
    }
    const lines = platform
      .output()
      .split("\n")
      .filter((line) => line !== "")
      .slice(4)
    for (const line of lines) assert.isObject(JSON.parse(line), line)
    ran("A20", payloads.length, 200, `log entries, and ${lines.length} lines of the platform itself`)
  })
})
