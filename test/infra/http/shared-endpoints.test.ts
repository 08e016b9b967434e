/** One address for the webhooks of all tenants: each event finds its tenant by the account that it names. */
import { createHmac } from "node:crypto"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { type AskOptions, startServer, type TestServer } from "../../support/http-server.ts"

const manifest = {
  id: "market",
  name: "Market",
  auth: { token: { kind: "bearer" } },
  webhook: {
    signature: { algorithm: "hmac-sha256", parts: ["body"], headers: ["x-signature"], encoding: "hex" },
    elements: "notices",
    tenant: { element: "team" },
    event: { element: "kind" },
    deliveryId: { element: "id" }
  },
  triggers: [{ event: "sold" }]
}
const secret = "of the market"
const connection = (account?: string) => ({
  connector: "market",
  method: "token",
  secrets: { token: "t" },
  ...(account === undefined ? {} : { account })
})

let server: TestServer
let hook = ""
const ask = (method: string, path: string, options?: AskOptions) => server.ask(method, path, options)
const ok = async (method: string, path: string, body?: unknown) => {
  const answer = await ask(method, path, body === undefined ? {} : { body })
  assert.isBelow(answer.status, 300, answer.text)
  return answer
}
const deliver = (...notices: ReadonlyArray<{ readonly id: string; readonly team: string; readonly kind: string }>) => {
  const body = JSON.stringify({ notices })
  const signature = createHmac("sha256", secret).update(body).digest("hex")
  return fetch(hook, { method: "POST", body, headers: { "content-type": "application/json", "x-signature": signature } })
}
/** Bodies of the events that a tenant has, oldest first, as of the newest change. */
const noticesOf = async (id: string): Promise<ReadonlyArray<string>> => {
  // Any change of ours is recorded after what was acknowledged before.
  const position = (await ok("PUT", "/api/v1/settings/runs.retentionDays", { value: 30 + (marks++ % 50) })).headers.get("x-position")!
  const { body } = await ask("GET", `/api/v1/tenants/${id}/events?order=oldest`, { headers: { "x-min-position": position } })
  const contents = await Promise.all(
    body.items.map(async (event: { id: string }) => (await ok("GET", `/api/v1/tenants/${id}/events/${event.id}/content`)).body.body.id)
  )
  return contents.sort()
}
let marks = 0

beforeAll(async () => {
  server = await startServer()
  await ok("POST", "/api/v1/tenants/bulk", [{ id: "acme" }, { id: "globex" }])
  await ok("POST", "/api/v1/connectors", manifest)
  hook = (await ok("POST", "/api/v1/hooks", { connector: "market", secret })).body.url
  await ok("POST", "/api/v1/tenants/acme/connections", connection("team-a"))
  await ok("POST", "/api/v1/tenants/globex/connections", connection("team-g"))
}, 30_000)
afterAll(() => server.stop())

describe("a shared endpoint", () => {
  it("splits one call into the events of the tenants that it names", async () => {
    const answer = await deliver(
      { id: "1", team: "team-a", kind: "sold" },
      { id: "2", team: "team-g", kind: "sold" },
      { id: "3", team: "team-a", kind: "sold" }
    )
    assert.strictEqual(answer.status, 200)
    assert.deepStrictEqual(await noticesOf("acme"), ["1", "3"])
    assert.deepStrictEqual(await noticesOf("globex"), ["2"])
  })
  it("counts a repeat once for each of them", async () => {
    assert.strictEqual((await deliver({ id: "2", team: "team-g", kind: "sold" }, { id: "3", team: "team-a", kind: "sold" })).status, 200)
    assert.deepStrictEqual([await noticesOf("acme"), await noticesOf("globex")], [["1", "3"], ["2"]])
  })
  it("records nothing of a call that names an account nobody has", async () => {
    const answer = await deliver({ id: "4", team: "team-a", kind: "sold" }, { id: "5", team: "team-x", kind: "sold" })
    assert.deepStrictEqual([answer.status, ((await answer.json()) as { type: string }).type], [404, "/problems/tenant-unknown"])
    assert.notInclude(await noticesOf("acme"), "4")
  })
  it("finds an account from the moment that it is connected", async () => {
    await ok("POST", "/api/v1/tenants/globex/connections", connection("team-x"))
    assert.strictEqual((await deliver({ id: "6", team: "team-x", kind: "sold" })).status, 200)
    assert.include(await noticesOf("globex"), "6")
  })
})

describe("an account", () => {
  it("belongs to one tenant, which may connect it again", async () => {
    const taken = await ask("POST", "/api/v1/tenants/globex/connections", { body: connection("team-a") })
    assert.deepStrictEqual([taken.status, taken.body.type], [409, "/problems/account-taken"])
    assert.notInclude(taken.text, "acme")
    await ok("POST", "/api/v1/tenants/acme/connections", connection("team-a"))
  })
  it("is not claimed by a connection that does not connect", async () => {
    const wrong = { ...connection("team-n"), method: "no-such-method" }
    assert.strictEqual((await ask("POST", "/api/v1/tenants/acme/connections", { body: wrong })).status, 422)
    assert.strictEqual((await deliver({ id: "7", team: "team-n", kind: "sold" })).status, 404)
  })
  it("cannot be claimed with a key of one tenant, nor for the space itself", async () => {
    const { key } = (await ok("POST", "/api/v1/api-keys", { role: "admin", tenant: "acme", label: "of acme" })).body
    const own = await ask("POST", "/api/v1/tenants/acme/connections", { key, body: connection("team-z") })
    assert.deepStrictEqual([own.status, own.body.type], [403, "/problems/account-not-yours"])
    assert.strictEqual((await ask("POST", "/api/v1/tenants/acme/connections", { key, body: connection() })).status, 201)
    const fixed = await ask("POST", "/api/v1/connections", { body: connection("team-z") })
    assert.deepStrictEqual([fixed.status, fixed.body.findings[0].pointer], [422, "/account"])
    assert.strictEqual((await deliver({ id: "8", team: "team-z", kind: "sold" })).status, 404)
  })
})
