/** Many tenants in one request. */
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { startServer, type TestServer } from "../../support/http-server.ts"

let server: TestServer
beforeAll(async () => {
  server = await startServer()
}, 30_000)
afterAll(() => server.stop())

const create = (body: unknown, headers: Record<string, string> = {}) => server.ask("POST", "/api/v1/tenants/bulk", { body, headers })
const ndjson = { "content-type": "application/x-ndjson" }
const outcomes = ({ body }: { readonly body: { items: ReadonlyArray<{ outcome: string }> } }) => body.items.map(({ outcome }) => outcome)

describe("tenants in bulk", () => {
  it("are made, each with an outcome of its own, in the order of the request", async () => {
    const answer = await create([
      { id: "one", plan: "growth" },
      { id: "two", plan: "no-such-plan" },
      { id: "one" },
      { id: "" },
      { id: "three", colour: "red" },
      7,
      { id: "four" }
    ])
    assert.strictEqual(answer.status, 200)
    assert.deepStrictEqual([answer.body.created, answer.body.existing, answer.body.refused], [2, 1, 4])
    const [first, second] = [answer.body.items[0], answer.body.items[2]].map(({ outcome }) => outcome).sort()
    assert.deepStrictEqual([first, second], ["created", "exists"])
    const byIndex = (index: number) => answer.body.items[index]
    assert.deepStrictEqual([byIndex(1).id, byIndex(1).problem.type], ["two", "/problems/plan-not-found"])
    assert.deepStrictEqual([byIndex(4).problem.type, byIndex(4).problem.errors[0].pointer], ["/problems/request-invalid", "/colour"])
    assert.deepStrictEqual([byIndex(5).id, byIndex(5).problem.status], [null, 400])
    assert.strictEqual((await server.ask("GET", "/api/v1/tenants/four")).status, 200)
    assert.strictEqual((await server.ask("GET", "/api/v1/tenants/three")).status, 404)
  })
  it("may come as lines", async () => {
    const answer = await create('{"id":"line-1"}\n\n{"id":"line-2"\r\n{"id":"line-3"}\n', ndjson)
    assert.deepStrictEqual(outcomes(answer), ["created", "refused", "created"])
    assert.strictEqual(answer.body.items[1].problem.errors[0].detail, "The line is not JSON")
  })
  it("are made once when the request is repeated, with its key and without", async () => {
    const wanted = Array.from({ length: 20 }, (_, index) => ({ id: `again-${index}` }))
    const key = { "idempotency-key": "bulk-1" }
    const first = await create(wanted, key)
    const repeated = await create(wanted, key)
    assert.strictEqual(first.body.created, 20)
    assert.deepStrictEqual(repeated.body, first.body)
    assert.strictEqual((await create(wanted)).body.existing, 20)
    const other = await create([...wanted, { id: "smuggled" }], key)
    assert.deepStrictEqual([other.status, other.body.type], [422, "/problems/command-id-reused"])
    assert.strictEqual((await server.ask("GET", "/api/v1/tenants/smuggled")).status, 404)
  })
  it("are at least one and at most a thousand", async () => {
    for (const [body, headers] of [
      [[], {}],
      ["\n \n", ndjson],
      [Array.from({ length: 1_001 }, (_, index) => ({ id: `many-${index}` })), {}],
      ["{}\n".repeat(1_001), ndjson],
      [{ id: "one" }, {}]
    ] as const) {
      const { status, body: answer } = await create(body, headers)
      assert.deepStrictEqual([status, answer.type], [400, "/problems/request-invalid"])
    }
  })
  it("are a thousand in one request", async () => {
    const answer = await create(Array.from({ length: 1_000 }, (_, index) => ({ id: `k-${index}` })))
    assert.deepStrictEqual([answer.status, answer.body.created], [200, 1_000])
  })
  it("need the permission to make one", async () => {
    const { key } = (await server.ask("POST", "/api/v1/api-keys", { body: { role: "viewer", label: "looks on" } })).body
    const { status } = await server.ask("POST", "/api/v1/tenants/bulk", { key, body: [{ id: "x" }] })
    assert.strictEqual(status, 403)
  })
  it("leave a tenant of that very name alone", async () => {
    assert.strictEqual((await create([{ id: "bulk" }])).body.created, 1)
    assert.strictEqual((await server.ask("GET", "/api/v1/tenants/bulk")).body.id, "bulk")
  })
})
