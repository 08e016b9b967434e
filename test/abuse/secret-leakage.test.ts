/** A14: a secret is nowhere but in the vault and with the vendor; a customer's content is nowhere but where it is asked for. */
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { type PlatformProcess, startPlatform } from "../faults/platform-process.ts"
import { ran } from "../support/cases.ts"
import { type Client, eventually, follow, httpClient } from "../support/http-client.ts"
import { sign } from "../support/orders.ts"
import type { Vendor } from "../support/vendor.ts"
import { type Canary, canary, hitsIn } from "./canaries.ts"
import { manifest, startLeakyVendor, ways } from "./leaky-vendor.ts"

let platform: PlatformProcess
let vendor: Vendor
let client: Client

const secrets: Array<Canary> = []
/** Of customers: their orders, and the names that the space gave to tenants and connections. */
const contents: Array<Canary> = []
const sealedNames: Array<Canary> = []
const plant = (list: Array<Canary>, name: string): string => {
  const planted = canary(name)
  list.push(planted)
  return planted.text
}
const secret = (name: string) => plant(secrets, name)

interface Seen {
  readonly where: string
  text: string
}
const answers: Array<Seen> = []
/** A secret that is shown this once, as it has to be: from now on it is one more that must not turn up. */
const shownOnce = (name: string, text: string) => {
  for (const answer of answers.slice(-1)) answer.text = answer.text.replaceAll(text, "<shown once>")
  secrets.push({ name, text })
}

/** By the auth method's name: the secrets of one connection. */
const credentials = () => ({
  header: { apiKey: secret("header") },
  bearer: { token: secret("bearer") },
  basic: { username: secret("username"), password: secret("password") },
  query: { apiKey: secret("query") },
  cookie: { session: secret("cookie") },
  body: { client: secret("client"), secret: secret("body") }
})

/** Expressions that fail on a customer's text, each in its own way. */
const failing = [
  "$number(trigger.body.note)",
  "trigger.body.note + 1",
  "$assert(false, trigger.body.note)",
  "$error(trigger.body.note)",
  "$fromMillis(0, trigger.body.note)",
  "$toMillis(trigger.body.note, '[Y]')",
  "$formatNumber(1, trigger.body.note)",
  "$decodeUrl(trigger.body.note & '%')",
  "$parseInteger(trigger.body.note, '#')",
  "$substring(1, trigger.body.note)",
  "trigger.body.note(1)",
  "$each(trigger.body.note, 1)"
]
const tell = (way: string) => ({
  id: `tell${way}`,
  kind: "action",
  connector: "leaky",
  action: "tell",
  input: { way, note: "= trigger.body.note" },
  onError: "continue",
  retry: { attemptsMax: 2, backoffMillis: 1, backoffMaxMillis: 1 }
})
const leaks = {
  id: "leaks",
  trigger: { connector: "shop", event: "orders/create" },
  steps: [
    ...[...Object.keys(ways).filter((way) => way !== "broken"), "reset"].map(tell),
    { id: "again", kind: "transform", expression: "[steps.tellsuccess.output, steps.tellescapedSuccess.output]", onError: "continue" },
    ...failing.map((expression, index) => ({ id: `fails${index}`, kind: "transform", expression, onError: "continue" }))
  ]
}
// It comes last: a connection that was refused is not used again.
const breaks = {
  id: "breaks",
  trigger: { connector: "shop", event: "orders/paid" },
  steps: [tell("broken")]
}

const deliver = async (url: string, event: string, key: string, headers: Record<string, string> = {}) => {
  const body = JSON.stringify({ id: 1, note: plant(contents, `note-${event}`), customer: { email: plant(contents, "email") } })
  const response = await fetch(url, {
    method: "POST",
    body,
    headers: {
      "content-type": "application/json",
      "x-shopify-topic": event,
      "x-shopify-webhook-id": `${event}-${contents.length}`,
      "x-shopify-hmac-sha256": sign(body, key),
      "x-note": encodeURIComponent(plant(contents, "header-note")),
      ...headers
    }
  })
  answers.push({ where: `webhook ${url}`, text: await response.text() })
  return response.status
}

/** Requests that are refused, each with a secret where one belongs or strays. */
const refusals = async (base: string) => {
  const variables = { address: vendor.address }
  const json = { "content-type": "application/json" }
  const long = secret("long").repeat(800)
  const asked: ReadonlyArray<readonly [string, string, unknown, Record<string, string>?]> = [
    ["POST", `${base}/connections`, { connector: "leaky", method: "nothing", secrets: { apiKey: secret("no-method") } }],
    ["POST", `${base}/connections`, { connector: "leaky", method: "header", secrets: { key: secret("no-field") }, variables }],
    ["POST", `${base}/connections`, { connector: "nobody", method: "header", secrets: { apiKey: secret("no-connector") } }],
    ["POST", `${base}/connections`, { connector: "leaky", method: "header", secrets: { apiKey: `${secret("line")}\n` }, variables }],
    ["POST", `${base}/connections`, { connector: "leaky", method: "header", secrets: { apiKey: long }, variables }],
    ["POST", `${base}/connections`, { connector: "leaky", method: "header", secrets: [secret("list")], variables }],
    ["POST", `${base}/connections`, { connector: "leaky", method: "header", secrets: { apiKey: { value: secret("object") } }, variables }],
    ["POST", `${base}/connections`, { connector: "leaky", method: "header", secrets: secret("text"), variables }],
    ["POST", `${base}/connections`, { connector: "leaky", method: "header", secrets: {}, secret: secret("excess") }],
    ["POST", `${base}/connections`, `{"connector":"leaky","secrets":{"apiKey":${secret("unquoted")}}}`, json],
    ["POST", `${base}/connections`, `{"connector":"leaky","secrets":{"apiKey":"${secret("unclosed").replaceAll('"', "")}`, json],
    ["POST", `${base}/connections`, secret("no-json"), json],
    ["POST", `${base}/connections`, secret("no-type"), { "content-type": "text/plain" }],
    ["POST", `${base}/hooks`, { connector: "shop", secret: { value: secret("hook-object") } }],
    ["POST", `${base}/hooks`, { connector: "leaky", secret: secret("hook-no-webhook") }],
    ["POST", `${base}/hooks`, { connector: "shop", secret: secret("hook-long").repeat(800) }],
    ["GET", "/api/v1/tenants", undefined, { "x-api-key": secret("wrong-key").replace(/[^\x21-\x7e]/gu, "") }],
    ["GET", "/api/v1/tenants", undefined, { "x-api-key": "", authorization: `Bearer ${encodeURIComponent(secret("wrong-bearer"))}` }],
    ["GET", "/api/v1/tenants", undefined, { cookie: `session=${encodeURIComponent(secret("stray-cookie"))}` }],
    ["GET", `/api/v1/tenants?cursor=${encodeURIComponent(secret("stray-query"))}`, undefined]
  ]
  for (const [method, path, body, headers = {}] of asked)
    await client.ask(method, path, { ...(body === undefined ? {} : { body }), headers })
  return asked.length
}

/** Everything that there is to read about a tenant. */
const readAll = async (tid: string) => {
  const base = `/api/v1/tenants/${encodeURIComponent(tid)}`
  interface Item {
    readonly id: string
    readonly connectionId: string
    readonly steps: ReadonlyArray<{ readonly id: string }>
  }
  const list = async (name: string) => (await client.ok("GET", `${base}/${name}?limit=200`)).body.items as ReadonlyArray<Item>
  for (const name of ["hooks", "workflows", "audit"]) await list(name)
  for (const name of ["", "/usage", "/settings"]) await client.ok("GET", base + name)
  for (const { connectionId } of await list("connections")) await client.ok("GET", `${base}/connections/${connectionId}`)
  for (const { id } of await list("events")) for (const path of ["", "/explain"]) await client.ok("GET", `${base}/events/${id}${path}`)
  for (const { id, steps } of await list("executions")) {
    await client.ok("GET", `${base}/executions/${id}`)
    for (const step of steps) await client.ok("GET", `${base}/executions/${id}/steps/${step.id}`)
    const last = ({ event }: { event: string }) => /^Run(?:Succeeded|Failed|Parked|Cancelled)$/u.test(event)
    const told = await follow(client, `${base}/executions/${id}/stream`, platform.key, last)
    answers.push({ where: `stream of ${id}`, text: JSON.stringify(told) })
  }
}

const filesIn = (folder: string): ReadonlyArray<{ readonly where: string; readonly bytes: Buffer }> =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => ({ where: name, bytes: readFileSync(join(parentPath, name)) }))
/** Without the one line that shows the first key. */
const logs = () => ({ where: "the log", bytes: Buffer.from(platform.output().replace(/^First admin key.*$/mu, "")) })

let planted = 0

beforeAll(async () => {
  vendor = await startLeakyVendor()
  platform = await startPlatform({ TRIBUTARY_LOG_LEVEL: "Trace" })
  client = httpClient(platform.url, platform.key, ({ method, path }, { headers, text }) =>
    answers.push({ where: `${method} ${path}`, text: `${JSON.stringify(headers)}\n${text}` })
  )
  secrets.push({ name: "first key", text: platform.key.split("_")[3]! })
  secrets.push({ name: "master key", text: readFileSync(join(platform.folder, "master.key"), "utf8").trim() })
})
afterAll(async () => {
  client?.close()
  await platform?.remove()
  await vendor?.close()
})

describe("A14: secrets and contents", () => {
  it("are planted in every field and taken through everything that can happen to them", { timeout: 60_000 }, async () => {
    await client.ok("POST", "/api/v1/connectors", manifest)
    for (const flow of [leaks, breaks]) {
      await client.ok("POST", "/api/v1/workflows", flow)
      await client.ok("POST", `/api/v1/workflows/${flow.id}/publish`)
    }
    const tids: Array<string> = []
    for (const [method, given] of Object.entries(credentials())) {
      const tid = plant(sealedNames, `tenant-${method}`)
      tids.push(tid)
      const base = `/api/v1/tenants/${encodeURIComponent(tid)}`
      await client.ok("POST", "/api/v1/tenants", { id: tid, displayName: plant(sealedNames, "display"), plan: "enterprise" })
      const label = plant(sealedNames, "label")
      const stale = Object.fromEntries(Object.keys(given).map((field) => [field, secret(`${method}-before-rotation`)]))
      const variables = { address: vendor.address }
      const made = await client.ok("POST", `${base}/connections`, { connector: "leaky", method, secrets: stale, variables, label })
      await client.ok("POST", `${base}/connections/${made.body.connectionId}/rotate`, { secrets: given })
      for (const flow of [leaks, breaks]) await client.ok("PUT", `${base}/workflows/${flow.id}`, {})

      const own = secret(`${method}-hook`)
      const hook = (await client.ok("POST", `${base}/hooks`, { connector: "shop", secret: own })).body
      const fresh = (await client.ok("POST", `${base}/hooks`, { connector: "shop" })).body
      shownOnce(`${method}-made-hook`, fresh.secret)
      const rotated = (await client.ok("POST", `${base}/hooks/${hook.endpointId}/secrets`, {})).body
      shownOnce(`${method}-rotated-hook`, rotated.secret)
      const issued = (await client.ok("POST", "/api/v1/api-keys", { role: "viewer", label: method, tenant: tid })).body
      shownOnce(`${method}-key`, issued.key.split("_")[3])
      const again = (await client.ok("POST", `/api/v1/api-keys/${issued.keyId}/rotate`, {})).body
      shownOnce(`${method}-rotated-key`, again.key.split("_")[3])

      assert.strictEqual(await deliver(hook.url, "orders/create", own), 200)
      assert.strictEqual(await deliver(hook.url, "orders/create", "forged"), 401)
      // A vendor that is set up wrongly sends the secret itself.
      assert.strictEqual(await deliver(hook.url, "orders/create", own, { "x-shopify-hmac-sha256": encodeURIComponent(own) }), 401)
      planted += await refusals(base)
      const ended = (flowId: string, ...statuses: ReadonlyArray<string>) =>
        eventually(`${flowId} with ${method}`, async () => {
          const { items } = (await client.ok("GET", `${base}/executions?workflow=${flowId}`)).body
          return statuses.includes(items[0]?.status) ? items[0] : undefined
        })
      await ended("leaks", "succeeded")
      assert.strictEqual(await deliver(fresh.url, "orders/paid", fresh.secret), 200)
      await ended("breaks", "parked")
    }
    const tried = vendor.calls.length
    // Side by side, and each once: only these two are worth another attempt.
    assert.strictEqual(tried, tids.length * (Object.keys(ways).length + 1 + ["later", "reset"].length))
    for (const tid of tids) await readAll(tid)
    for (const path of ["connectors", "workflows", "api-keys?limit=200", "audit?limit=200", "projections", "system", "settings"])
      await client.ok("GET", `/api/v1/${path}`)
    await client.ok("GET", "/metrics")
    planted += secrets.length
    ran(
      "A14",
      planted,
      100,
      `secrets planted; ${tried} calls repeated them in ${Object.keys(ways).length} ways, ${answers.length} answers kept`
    )
  })

  it("are in no answer, in no form, a secret never and content only where a step's content is asked for", () => {
    const places = answers.map(({ where, text }) => ({ where, bytes: Buffer.from(text) }))
    assert.deepStrictEqual(hitsIn(places, secrets), [])
    const elsewhere = places.filter(({ where }) => !/\/steps\/\w+$/u.test(where))
    assert.deepStrictEqual(hitsIn(elsewhere, contents), [])
    assert.isAbove(hitsIn(places, contents).length, 0, "content is given to those who may see it")
  })

  it("are in no file of the data folder, and in no log", async () => {
    const everything = [...secrets, ...contents, ...sealedNames]
    const data = join(platform.folder, "data")
    const names = () => filesIn(data).map(({ where }) => where)
    assert.includeMembers(names(), ["journal.db", "vault.db", "views.db", "server.json"])
    assert.isTrue(names().some((name) => name.endsWith("-wal")))
    assert.deepStrictEqual(hitsIn([...filesIn(data), logs()], everything), [])
    await platform.kill()
    assert.deepStrictEqual(hitsIn(filesIn(data), everything), [])
    await platform.start()
    await client.ok("GET", "/metrics")
    assert.deepStrictEqual(hitsIn([...filesIn(data), logs()], everything), [])
    ran("A14", everything.length, 100, `texts looked for in ${names().length} files`)
  })
})
