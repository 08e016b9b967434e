/** Optimistic concurrency: ETag, If-None-Match and If-Match, wherever an aggregate is answered or changed. */
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { type AskOptions, startServer, type TestServer } from "../../support/http-server.ts"

const tenant = "/api/v1/tenants/acme"
const flow = (name: string) => ({
  id: "nightly",
  name,
  trigger: { connector: "shop", event: "orders/create" },
  steps: [{ id: "one", kind: "transform", expression: "= 1" }]
})

let server: TestServer
const ask = (method: string, path: string, options?: AskOptions) => server.ask(method, path, options)
/** What is read contains what was changed. */
let position: string | undefined
const ok = async (method: string, path: string, body?: unknown, headers: Record<string, string> = {}) => {
  const after = method === "GET" && position !== undefined ? { "x-min-position": position } : {}
  const answer = await ask(method, path, { ...(body === undefined ? {} : { body }), headers: { ...after, ...headers } })
  assert.isBelow(answer.status, 300, answer.text)
  position = answer.headers.get("x-position") ?? position
  return answer
}
const tagOf = async (path: string) => (await ok("GET", path)).headers.get("etag")!

beforeAll(async () => {
  server = await startServer()
  await ok("POST", "/api/v1/tenants", { id: "acme" })
}, 30_000)
afterAll(() => server.stop())

/** Reads, changes under the tag that was read, and finds that the old tag is of no use any more. */
const guarded = async (read: string, method: string, path: string, body: object | undefined, next: object | undefined = body) => {
  const before = await tagOf(read)
  assert.match(before, /^"-?\d+(\.-?\d+)*"$/)
  const unchanged = await ask("GET", read, { headers: { "if-none-match": before } })
  assert.deepStrictEqual([unchanged.status, unchanged.text, unchanged.headers.get("etag")], [304, "", before])
  const changed = await ok(method, path, body, { "if-match": before })
  const after = await tagOf(read)
  assert.strictEqual(changed.headers.get("etag"), after)
  assert.notStrictEqual(after, before)
  assert.strictEqual((await ask("GET", read, { headers: { "if-none-match": before } })).status, 200)
  const refused = await ask(method, path, { ...(next === undefined ? {} : { body: next }), headers: { "if-match": before } })
  assert.deepStrictEqual([refused.status, refused.body.type], [412, "/problems/revision-mismatch"])
  assert.strictEqual(`"${refused.body.revision}"`, `"${after.slice(1, -1).split(".")[0]}"`)
  assert.strictEqual(await tagOf(read), after)
  return after
}

describe("a revision", () => {
  it("guards a tenant's name, plan and status", async () => {
    await guarded(tenant, "PATCH", tenant, { displayName: "Acme Ltd", plan: "growth" }, { displayName: "Acme Inc" })
    assert.strictEqual((await ok("GET", tenant)).body.displayName, "Acme Ltd")
    await guarded(tenant, "POST", `${tenant}/suspend`, undefined)
    await guarded(tenant, "POST", `${tenant}/activate`, undefined)
  })
  it("guards a workflow from its first draft on", async () => {
    const create = await ask("POST", "/api/v1/workflows", { body: flow("One"), headers: { "if-match": '"-1"' } })
    assert.deepStrictEqual([create.status, create.headers.get("etag")], [201, '"0"'])
    const again = await ask("POST", "/api/v1/workflows", { body: flow("Two"), headers: { "if-match": '"-1"' } })
    assert.deepStrictEqual([again.status, again.body.revision, again.headers.get("etag")], [412, 0, '"0"'])
    const path = "/api/v1/workflows/nightly"
    await guarded(path, "POST", "/api/v1/workflows", flow("Two"), flow("Three"))
    await guarded(path, "POST", `${path}/publish`, undefined)
    await guarded(path, "POST", `${path}/archive`, undefined)
  })
  it("guards a connection's secrets, which a refused change leaves as they are", async () => {
    const connect = async () =>
      (
        await ok("POST", `${tenant}/connections`, {
          connector: "erp",
          method: "apiKey",
          secrets: { apiKey: "one" },
          variables: { address: "http://127.0.0.1:1" }
        })
      ).body.connectionId
    const path = `${tenant}/connections/${await connect()}`
    await guarded(path, "POST", `${path}/rotate`, { secrets: { apiKey: "two" } }, { secrets: { apiKey: "three" } })
    const fingerprints = (await ok("GET", path)).body.secrets
    assert.lengthOf(fingerprints, 1)
    assert.strictEqual(fingerprints[0].version, 2)
    await connect()
    await guarded(path, "POST", `${path}/default`, undefined)
    const tag = await tagOf(path)
    assert.strictEqual((await ask("DELETE", path, { headers: { "if-match": '"0"' } })).status, 412)
    await ok("DELETE", path, undefined, { "if-match": tag })
    const gone = await ask("DELETE", path, { headers: { "if-match": tag } })
    assert.deepStrictEqual([gone.status, gone.body.revision], [412, -1])
  })
  it("lets one of several rotations through that expect the same", async () => {
    const { connectionId } = (
      await ok("POST", `${tenant}/connections`, {
        connector: "erp",
        method: "apiKey",
        secrets: { apiKey: "0" },
        variables: { address: "http://127.0.0.1:1" }
      })
    ).body
    const path = `${tenant}/connections/${connectionId}`
    const tag = await tagOf(path)
    const answers = await Promise.all(
      Array.from({ length: 6 }, (_, index) =>
        ask("POST", `${path}/rotate`, { body: { secrets: { apiKey: `k-${index}` } }, headers: { "if-match": tag } })
      )
    )
    assert.deepStrictEqual(answers.map(({ status }) => status).sort(), [200, 412, 412, 412, 412, 412])
  })
  it("guards the settings of a scope, and tells when those above have changed", async () => {
    const path = `${tenant}/settings`
    await guarded(path, "PUT", `${path}/runs.retentionDays`, { value: 30 }, { value: 31 })
    const own = await guarded(path, "DELETE", `${path}/runs.retentionDays`, undefined)
    await ok("PUT", "/api/v1/settings/runs.retentionDays", { value: 60 })
    const inherited = await tagOf(path)
    assert.notStrictEqual(inherited, own)
    assert.strictEqual(inherited.split(".")[0], own.split(".")[0])
    await ok("PUT", `${path}/runs.retentionDays`, { value: 32 }, { "if-match": own })
  })
  it("guards an endpoint's secrets and the endpoint", async () => {
    const { endpointId } = (await ok("POST", `${tenant}/hooks`, { connector: "shop" })).body
    const path = `${tenant}/hooks/${endpointId}`
    await guarded(path, "POST", `${path}/secrets`, {})
    await guarded(path, "DELETE", `${path}/secrets/secret-1`, undefined)
    await guarded(path, "DELETE", path, undefined)
    assert.strictEqual((await ask("GET", path.replace("acme", "nobody"))).status, 404)
  })
  it("guards an execution", async () => {
    await ok("POST", "/api/v1/workflows", {
      ...flow("Waits"),
      id: "waits",
      steps: [{ id: "send", kind: "action", connector: "shop", action: "getOrder", input: { orderId: 1 } }]
    })
    await ok("POST", "/api/v1/workflows/waits/publish")
    await ok("PUT", `${tenant}/workflows/waits`, {})
    await ok("POST", `${tenant}/events`, { connector: "shop", event: "orders/create", body: { id: 1 } })
    let run: { readonly id: string; readonly revision: number } | undefined
    while (run === undefined) run = (await ok("GET", `${tenant}/executions?status=parked`)).body.items[0]
    assert.strictEqual(await tagOf(`${tenant}/executions/${run.id}`), `"${run.revision}"`)
    await guarded(`${tenant}/executions/${run.id}`, "POST", `${tenant}/executions/${run.id}/cancel`, {})
  })
})

describe("If-Match", () => {
  it("must be one tag of ours", async () => {
    for (const tag of ["7", 'W/"7"', "*", '"7", "8"', '"x"']) {
      const { status, body } = await ask("PATCH", tenant, { body: {}, headers: { "if-match": tag } })
      assert.deepStrictEqual([status, body.errors[0].pointer], [400, "/if-match"], tag)
    }
  })
  it("is refused where nothing would look at it", async () => {
    const { status, body } = await ask("POST", "/api/v1/tenants", { body: { id: "guarded" }, headers: { "if-match": '"0"' } })
    assert.deepStrictEqual([status, body.errors[0].pointer], [400, "/if-match"])
  })
  it("yields to a repeat of what was done under its Idempotency-Key", async () => {
    const change = { body: { displayName: "Once" }, headers: { "if-match": await tagOf(tenant), "idempotency-key": "rev-1" } }
    assert.deepStrictEqual([(await ask("PATCH", tenant, change)).status, (await ask("PATCH", tenant, change)).status], [200, 200])
  })
  it("is described where it is taken", async () => {
    const { paths } = (await ask("GET", "/openapi.json")).body
    const change = paths["/api/v1/tenants/{tid}"].patch
    assert.include(
      change.parameters.map(({ name }: { name: string }) => name),
      "if-match"
    )
    assert.property(change.responses["412"].headers, "etag")
    assert.property(paths["/api/v1/tenants/{tid}"].get.responses, "304")
    assert.notInclude(
      paths["/api/v1/tenants"].post.parameters.map(({ name }: { name: string }) => name),
      "if-match"
    )
  })
})
