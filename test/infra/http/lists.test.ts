/** Lists: every order that a projection declares, filters on its declared fields, and nothing that is silently ignored. */
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { projections } from "#projections/registry.ts"
import { type AskOptions, startServer, type TestServer } from "../../support/http-server.ts"

const tenant = "/api/v1/tenants/acme"
let server: TestServer
let position = ""
const ask = (method: string, path: string, options?: AskOptions) => server.ask(method, path, options)
const change = async (method: string, path: string, body?: object) => {
  const answer = await ask(method, path, body === undefined ? {} : { body })
  assert.isBelow(answer.status, 300, answer.text)
  position = answer.headers.get("x-position")!
  return answer.body
}
const list = async (path: string) => {
  const { status, body, text } = await ask("GET", path, { headers: { "x-min-position": position } })
  assert.strictEqual(status, 200, text)
  return body.items
}

beforeAll(async () => {
  server = await startServer()
  for (const [id, region, tier] of [
    ["acme", "eu", "shared"],
    ["globex", "us", "dedicated"],
    ["initech", "us", "shared"]
  ])
    await change("POST", "/api/v1/tenants", { id, region, tier })
  await change("POST", "/api/v1/tenants/globex/suspend")
  for (const event of ["orders/create", "orders/paid", "orders/create"])
    await change("POST", `${tenant}/events`, { connector: "shop", event, body: {} })
}, 30_000)
afterAll(() => server.stop())

describe("a list's order", () => {
  it("is any that its projection keeps", async () => {
    const ids = async (query: string) => (await list(`/api/v1/tenants?${query}`)).map(({ id }: { id: string }) => id)
    assert.deepStrictEqual(await ids("order=oldest"), ["acme", "globex", "initech"])
    assert.deepStrictEqual(await ids("sort=createdAt"), ["initech", "globex", "acme"])
    assert.deepStrictEqual(await ids("sort=status&order=oldest"), ["acme", "initech", "globex"])
    assert.deepStrictEqual(await ids("sort=status"), ["globex", "initech", "acme"])
  })
  it("goes on over pages", async () => {
    const first = await ask("GET", "/api/v1/tenants?sort=status&order=oldest&limit=2")
    const next = /<([^>]+)>/.exec(first.headers.get("link")!)![1]!
    assert.deepStrictEqual(
      (await list(next)).map(({ id }: { id: string }) => id),
      ["globex"]
    )
    assert.strictEqual((await ask("GET", next.replace("sort=status", "sort=createdAt"))).status, 400)
  })
  it("is refused when there is none of that name, with those that there are", async () => {
    const { status, body } = await ask("GET", `${tenant}/executions?sort=finishedAt`)
    assert.deepStrictEqual([status, body.errors[0].pointer], [400, "/sort"])
    assert.include(body.errors[0].detail, '"startedAt"')
  })
  it("is documented with every sort of every projection that is listed", async () => {
    const { paths } = (await ask("GET", "/openapi.json")).body
    const sortsOf = (path: string) => paths[path].get.parameters.find(({ name }: { name: string }) => name === "sort")?.schema.enum
    const declared = (name: string) => projections.find((projection) => projection.name === name)!.sorts.map(([first]) => first)
    for (const [path, name] of [
      ["/api/v1/tenants", "tenants"],
      ["/api/v1/tenants/{tid}/executions", "runs"],
      ["/api/v1/tenants/{tid}/events", "deliveries"],
      ["/api/v1/tenants/{tid}/audit", "audit"],
      ["/api/v1/audit", "audit"],
      ["/api/v1/tenants/{tid}/connections", "connections"],
      ["/api/v1/workflows", "flows"],
      ["/api/v1/tenants/{tid}/usage/windows", "usage"]
    ] as const)
      assert.deepStrictEqual(sortsOf(path), declared(name), path)
  })
  it("serves the audit by actor and the events by status", async () => {
    const by = (await list("/api/v1/tenants/globex/audit?sort=by&order=oldest")).map((entry: { by: string }) => entry.by)
    assert.deepStrictEqual(by, [...by].sort())
    assert.lengthOf(await list(`${tenant}/events?sort=status`), 3)
    assert.lengthOf(await list(`${tenant}/executions?sort=status`), 0)
  })
})

describe("a list's filters", () => {
  it("may be about each declared field, together", async () => {
    const ids = async (query: string) => (await list(`/api/v1/tenants?order=oldest&${query}`)).map(({ id }: { id: string }) => id)
    assert.deepStrictEqual(await ids("region=us"), ["globex", "initech"])
    assert.deepStrictEqual(await ids("region=us&tier=shared"), ["initech"])
    assert.deepStrictEqual(await ids("status=suspended&plan=starter"), ["globex"])
    const [, second] = await list("/api/v1/tenants?order=oldest")
    assert.notInclude(await ids(`since=${second.createdAt + 1}`), "globex")
    assert.include(await ids(`since=${second.createdAt}&until=${second.createdAt + 1}`), "globex")
    assert.lengthOf(await list(`${tenant}/events?event=orders/create`), 2)
    // Counted as they are routed, a moment after they were taken in.
    const used = `${tenant}/usage/windows?dimension=events&reservedMin=3`
    while ((await list(used)).length === 0);
    const [{ window }] = await list(used)
    assert.lengthOf(await list(`${used}&window=${window.slice(0, 6)}`), 1)
    assert.lengthOf(await list(`${used}&window=1999`), 0)
    assert.lengthOf(await list(`${tenant}/usage/windows?reservedMin=4`), 0)
    assert.lengthOf(await list(`${tenant}/hooks?connector=shop&status=active`), 0)
    assert.lengthOf(await list("/api/v1/api-keys?role=platform-admin&status=active"), 1)
    assert.lengthOf(await list("/api/v1/workflows?status=published&changedSince=0"), 0)
    assert.lengthOf(await list(`${tenant}/workflows?status=enabled&since=0`), 0)
    assert.lengthOf(await list(`${tenant}/connections?connector=shop&since=0`), 0)
  })
})

describe("a query parameter that is not known", () => {
  it("is refused, with those that are", async () => {
    const { status, body } = await ask("GET", "/api/v1/tenants?stauts=active&limit=1&__proto__=x")
    assert.strictEqual(status, 400)
    assert.deepStrictEqual(
      body.errors.map(({ pointer }: { pointer: string }) => pointer),
      ["/stauts", "/__proto__"]
    )
    assert.include(body.errors[0].detail, "status")
  })
  it("is refused where there are none, and of changes", async () => {
    assert.strictEqual((await ask("GET", "/api/v1/system?verbose=1")).status, 400)
    const { status } = await ask("POST", "/api/v1/tenants?dry=1", { body: { id: "dry" } })
    assert.strictEqual(status, 400)
    assert.strictEqual((await ask("GET", "/api/v1/tenants/dry")).status, 404)
  })
  it("tells nothing to who may not ask at all", async () =>
    assert.strictEqual((await ask("GET", "/api/v1/tenants?x=1", { key: "" })).status, 401))
})
