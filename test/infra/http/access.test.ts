/** Who may ask what: keys, roles, spaces, tenants. */
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { type AskOptions, startServer, type TestServer } from "../../support/http-server.ts"

let server: TestServer
const keys: Record<string, string> = {}
const ask = (method: string, path: string, options?: AskOptions) => server.ask(method, path, options)

const makeKey = async (name: string, body: object) => {
  const { status, body: issued } = await ask("POST", "/api/v1/api-keys", { body: { label: name, ...body } })
  assert.strictEqual(status, 201)
  keys[name] = issued.key
}

beforeAll(async () => {
  server = await startServer()
  for (const id of ["acme-corp", "ana@example.com", "b/ü"])
    assert.strictEqual((await ask("POST", "/api/v1/tenants", { body: { id } })).status, 201)
  await makeKey("viewer", { role: "viewer" })
  await makeKey("acme", { role: "admin", tenant: "acme-corp" })
  await makeKey("user", { role: "tenant-user", tenant: "acme-corp" })
}, 30_000)
afterAll(() => server.stop())

describe("a key", () => {
  it("is asked for, and the way to send it told", async () => {
    const { status, headers, body } = await ask("GET", "/api/v1/tenants", { key: "" })
    assert.strictEqual(status, 401)
    assert.strictEqual(body.type, "/problems/key-not-accepted")
    assert.match(headers.get("www-authenticate") ?? "", /^Bearer/)
  })
  it("gets one answer whatever is wrong with it", async () => {
    const wrong = [`${server.adminKey.slice(0, -1)}b`, "trib_x", `trib_s${"a".repeat(19)}_${"b".repeat(12)}_${"c".repeat(32)}`]
    const answers = await Promise.all(wrong.map((key) => ask("GET", "/api/v1/tenants", { key })))
    assert.deepStrictEqual(new Set(answers.map(({ status, text }) => `${status} ${text}`)).size, 1)
    assert.strictEqual(answers[0]!.status, 401)
  })
  it("may come under its alias and as a bearer token", async () => {
    const alias = await ask("GET", "/api/v1/tenants", { key: "", headers: { "x-fastn-api-key": server.adminKey } })
    const bearer = await ask("GET", "/api/v1/tenants", { key: "", headers: { authorization: `Bearer ${server.adminKey}` } })
    assert.deepStrictEqual([alias.status, bearer.status], [200, 200])
  })
  it("ends at once when it is revoked", async () => {
    await makeKey("short", { role: "viewer" })
    assert.strictEqual((await ask("GET", "/api/v1/tenants", { key: keys["short"]! })).status, 200)
    const keyId = keys["short"]!.split("_")[2]
    assert.strictEqual((await ask("DELETE", `/api/v1/api-keys/${keyId}`)).status, 204)
    assert.strictEqual((await ask("GET", "/api/v1/tenants", { key: keys["short"]! })).status, 401)
  })
})

describe("a role", () => {
  it("is refused what the matrix does not grant, with the permission named", async () => {
    const { status, body } = await ask("POST", "/api/v1/tenants", { key: keys["viewer"]!, body: { id: "x" } })
    assert.strictEqual(status, 403)
    assert.strictEqual(body.permission, "tenants:write")
  })
  it("is checked before the body is looked at", async () =>
    assert.strictEqual((await ask("POST", "/api/v1/tenants", { key: keys["viewer"]!, body: "{" })).status, 403))
})

describe("a key of one tenant", () => {
  it("sees its own tenant", async () => {
    const { status, body } = await ask("GET", "/api/v1/tenants/acme-corp", { key: keys["acme"]! })
    assert.deepStrictEqual([status, body.id], [200, "acme-corp"])
  })
  it("gets the very same answer for another tenant and for none", async () => {
    const other = await ask("GET", "/api/v1/tenants/ana%40example.com", { key: keys["acme"]! })
    const none = await ask("GET", "/api/v1/tenants/ana%40example.org", { key: keys["acme"]! })
    assert.strictEqual(other.status, 404)
    assert.strictEqual(other.text.replaceAll(".com", ".org"), none.text)
    const names = (headers: Headers) => [...headers.keys()].filter((name) => name !== "date").sort()
    assert.deepStrictEqual(names(other.headers), names(none.headers))
  })
  it("may not ask about the whole space, but may see what all tenants share", async () => {
    assert.strictEqual((await ask("GET", "/api/v1/tenants", { key: keys["acme"]! })).status, 403)
    assert.strictEqual((await ask("GET", "/api/v1/connectors", { key: keys["user"]! })).status, 200)
  })
})

describe("the headers", () => {
  it("must not name another tenant than the path", async () => {
    for (const name of ["x-tenant-id", "x-fastn-space-tenantid"]) {
      const { status, body } = await ask("GET", "/api/v1/tenants/acme-corp", { headers: { [name]: "ana@example.com" } })
      assert.deepStrictEqual([status, body.type], [403, "/problems/tenant-not-of-path"])
    }
    assert.strictEqual((await ask("GET", "/api/v1/tenants/acme-corp", { headers: { "x-tenant-id": "acme-corp" } })).status, 200)
  })
  it("may spell a tenant percent-encoded or in UTF-8", async () => {
    const utf8 = Buffer.from("b/ü").toString("latin1")
    for (const spelling of ["b%2F%C3%BC", utf8])
      assert.strictEqual((await ask("GET", "/api/v1/tenants/b%2F%C3%BC", { headers: { "x-tenant-id": spelling } })).status, 200)
  })
  it("must not name another space than the key's", async () => {
    const space = server.adminKey.split("_")[1]!
    assert.strictEqual((await ask("GET", "/api/v1/tenants", { headers: { "x-space-id": space } })).status, 200)
    for (const name of ["x-space-id", "x-fastn-space-id"])
      assert.strictEqual((await ask("GET", "/api/v1/tenants", { headers: { [name]: `s${"a".repeat(19)}` } })).status, 403)
  })
})
