/** What every endpoint keeps to: permissions declared, repeats recognised, pages, positions, documents that describe it. */
import * as Context from "effect/Context"
import type * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import type * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { permissions } from "#domain/access.ts"
import { Api } from "#infra/http/api/api.ts"
import { Authenticated, Described, InTenant, Needs, Permitted } from "#infra/http/api/guards.ts"
import { type AskOptions, startServer, type TestServer } from "../../support/http-server.ts"

const groups = Object.values(Api.groups) as unknown as ReadonlyArray<HttpApiGroup.Top>
const endpoints = groups.flatMap((group) => Object.values(group.endpoints) as ReadonlyArray<HttpApiEndpoint.Top>)
const nameOf = ({ method, path }: HttpApiEndpoint.Top) => `${method} ${path}`
const guardsOf = ({ middlewares }: HttpApiEndpoint.Top) => new Set([...middlewares].map((guard) => (guard as { readonly key: string }).key))

let server: TestServer
const ask = (method: string, path: string, options?: AskOptions) => server.ask(method, path, options)
beforeAll(async () => {
  server = await startServer()
}, 30_000)
afterAll(() => server.stop())

describe("every endpoint", () => {
  it("declares its permission", () =>
    assert.deepStrictEqual(
      endpoints
        .filter(({ annotations }) => !permissions.includes(Context.getOrUndefined(annotations as Context.Context<Needs>, Needs)!))
        .map(nameOf),
      []
    ))
  it("stands behind authentication and permission", () =>
    assert.deepStrictEqual(
      endpoints.filter((endpoint) => [Authenticated, Permitted, Described].some(({ key }) => !guardsOf(endpoint).has(key))).map(nameOf),
      []
    ))
  it("resolves the tenant when its path names one, and only then", () =>
    assert.deepStrictEqual(
      endpoints.filter((endpoint) => endpoint.path.includes(":tid") !== guardsOf(endpoint).has(InTenant.key)).map(nameOf),
      []
    ))
  it("answers 401 without a key", async () => {
    const open = await Promise.all(
      endpoints.map(async (endpoint) => {
        const path = endpoint.path.replace(/:[a-z]+/giu, "x")
        const { status } = await ask(endpoint.method, path, { key: "", ...(endpoint.method === "GET" ? {} : { body: {} }) })
        return status === 401 ? [] : [`${nameOf(endpoint)} ${status}`]
      })
    )
    assert.deepStrictEqual(open.flat(), [])
  })
})

describe("an Idempotency-Key", () => {
  const create = (id: string, key: string, headers = {}) =>
    ask("POST", "/api/v1/tenants", { body: { id }, headers: { "idempotency-key": key, ...headers } })
  it("makes a repeat succeed without doing it again", async () => {
    const first = await create("twice", "k-1")
    const second = await create("twice", "k-1")
    assert.deepStrictEqual([first.status, second.status], [201, 201])
    assert.deepStrictEqual(first.body, second.body)
    assert.strictEqual((await create("twice", "k-other")).status, 409)
  })
  it("is refused with another body", async () => {
    await create("thrice", "k-2")
    const { status, body } = await ask("POST", "/api/v1/tenants", {
      body: { id: "thrice", plan: "growth" },
      headers: { "idempotency-key": "k-2" }
    })
    assert.deepStrictEqual([status, body.type, body.commandId], [422, "/problems/command-id-reused", "k-2"])
  })
  it("covers each part of a change", async () => {
    await ask("POST", "/api/v1/tenants", { body: { id: "parts" } })
    const change = () =>
      ask("PATCH", "/api/v1/tenants/parts", { body: { displayName: "Parts Ltd", plan: "growth" }, headers: { "idempotency-key": "k-3" } })
    for (const { status, body } of [await change(), await change()])
      assert.deepStrictEqual([status, body.displayName, body.plan], [200, "Parts Ltd", "growth"])
  })
  it("must be visible text", async () => {
    const { status, body } = await create("x", "a b")
    assert.deepStrictEqual([status, body.errors[0].pointer], [400, "/idempotency-key"])
  })
})

describe("a change", () => {
  it("answers the position from which it can be read", async () => {
    for (const id of ["read-1", "read-2", "read-3"]) {
      const created = await ask("POST", "/api/v1/tenants", { body: { id } })
      const position = created.headers.get("x-position")!
      const listed = await ask("GET", "/api/v1/tenants?limit=200", { headers: { "x-min-position": position } })
      assert.include(
        listed.body.items.map((tenant: { id: string }) => tenant.id),
        id
      )
    }
  })
  it("is read from its position on, and nobody else's position is compared with ours", async () => {
    const read = (position: string) => ask("GET", "/api/v1/tenants", { headers: { "x-min-position": position } })
    const position = (await ask("POST", "/api/v1/tenants", { body: { id: "tokens" } })).headers.get("x-position")!
    const [journalId, bare] = position.split(":")
    assert.strictEqual(journalId, (await ask("GET", "/api/v1/system")).body.journalId)
    assert.strictEqual((await read(position)).status, 200)
    for (const malformed of [bare!, `${position}:1`, "x y", ""]) {
      const { status, body } = await read(malformed)
      assert.deepStrictEqual([status, body.type], [400, "/problems/position-malformed"], malformed)
    }
    const foreign = await read(`another:${bare}`)
    assert.deepStrictEqual([foreign.status, foreign.body.type], [409, "/problems/position-foreign"])
    const ahead = await read(`${journalId}:9${bare!.slice(1)}`)
    assert.deepStrictEqual([ahead.status, ahead.body.type], [503, "/problems/views-behind"])
    assert.match(ahead.headers.get("retry-after")!, /^[1-9]\d*$/)
  })
  it("refuses members that it does not know", async () => {
    const { status, body } = await ask("POST", "/api/v1/tenants", { body: '{"id":"p","__proto__":{"admin":true},"plam":"x"}' })
    assert.strictEqual(status, 400)
    assert.includeMembers(
      body.errors.map(({ pointer }: { pointer: string }) => pointer),
      ["/plam"]
    )
    assert.isUndefined(({} as { admin?: boolean }).admin)
  })
})

describe("a list", () => {
  it("gives each item once, page by page, by its links", async () => {
    let position = ""
    for (let index = 0; index < 7; index++) {
      const { headers } = await ask("POST", "/api/v1/tenants", { body: { id: `page-${index}`, region: "apac" } })
      position = headers.get("x-position")!
    }
    const seen: Array<string> = []
    let path: string | undefined = "/api/v1/tenants?region=apac&limit=3&order=oldest"
    let pages = 0
    while (path !== undefined) {
      const { status, body, headers } = await ask("GET", path, { headers: { "x-min-position": position } })
      assert.strictEqual(status, 200)
      pages++
      seen.push(...body.items.map(({ id }: { id: string }) => id))
      path = /<([^>]+)>; rel="next"/.exec(headers.get("link") ?? "")?.[1]
      assert.strictEqual(path === undefined, body.next === null)
    }
    assert.deepStrictEqual([pages, seen], [3, Array.from({ length: 7 }, (_, index) => `page-${index}`)])
  })
  it("has a limit from 1 to 200", async () => {
    for (const limit of ["0", "201", "1.5", "x"]) {
      const { status, body } = await ask("GET", `/api/v1/tenants?limit=${limit}`)
      assert.deepStrictEqual([status, body.errors[0].in, body.errors[0].pointer], [400, "query", "/limit"])
    }
  })
  it("refuses a cursor that is not its own", async () => {
    const { status, body } = await ask("GET", "/api/v1/tenants?cursor=abc")
    assert.deepStrictEqual([status, body.type], [400, "/problems/query-refused"])
  })
})

describe("what is described", () => {
  it("is every operation, with a summary and its guards' headers", async () => {
    const { body } = await ask("GET", "/openapi.json", { key: "" })
    assert.match(body.openapi, /^3\.1/)
    const operations = Object.entries<Record<string, { summary?: string; parameters: ReadonlyArray<{ name: string }> }>>(
      body.paths
    ).flatMap(([path, item]) => Object.entries(item).map(([method, operation]) => ({ name: `${method} ${path}`, method, ...operation })))
    assert.strictEqual(operations.length, endpoints.filter(({ path }) => !path.includes("/credentials")).length)
    assert.deepStrictEqual(
      operations.filter(({ summary }) => summary === undefined).map(({ name }) => name),
      []
    )
    for (const { method, parameters } of operations)
      if (method === "post")
        assert.include(
          parameters.map(({ name }) => name),
          "idempotency-key"
        )
  })
  it("can be read on a page that loads nothing from elsewhere", async () => {
    const { status, text, headers } = await ask("GET", "/docs", { key: "" })
    assert.strictEqual(status, 200)
    assert.include(headers.get("content-security-policy")!, "default-src 'none'")
    assert.notMatch(text.slice(0, 2000), /src="https?:/)
  })
  it("includes metrics of what the engine does", async () => {
    const { text } = await ask("GET", "/metrics", { key: "" })
    for (const name of ["ingest_total", "events_appended_total", "runs_total", "work_open", "view_lag_events", "resident_memory_bytes"])
      assert.include(text, `tributary_${name}`)
  })
  it("includes the methods that a path answers", async () => {
    const { status, headers } = await ask("DELETE", "/api/v1/tenants")
    assert.deepStrictEqual([status, headers.get("allow")], [405, "GET, POST"])
  })
  it("includes what runs here", async () => {
    const { body } = await ask("GET", "/api/v1/system")
    assert.isString(body.journalId)
    assert.isAbove(body.disk.freeBytes, 0)
  })
})
