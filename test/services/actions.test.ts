import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import { assert, describe, it } from "vitest"
import { type Manifest, readManifest } from "#domain/manifest.ts"
import { buildRequest, compileActions } from "#services/actions.ts"
import { type Credentials, secretFindings, variableFindings } from "#services/credentials.ts"

const action = (change: object) => ({ method: "POST", path: "/orders", effect: "unsafe", ...change })
const manifest = (actions: object, change: object = {}): Manifest =>
  Result.getOrThrowWith(
    readManifest({
      id: "app",
      name: "App",
      baseUrl: "https://{shop}.example.com/api/",
      variables: { shop: { pattern: "[a-z0-9-]+" } },
      auth: { key: { kind: "apiKey", place: { in: "header", name: "x-key" } } },
      actions,
      ...change
    }),
    (findings) => new Error(JSON.stringify(findings))
  )
const acme: Credentials = { method: "key", secrets: { apiKey: Redacted.make("canary-secret") }, variables: { shop: "acme" } }
const build = (definition: object, input: unknown, credentials = acme, key?: string) =>
  buildRequest(compileActions(manifest({ run: action(definition) })), "run", input, credentials, key)
const built = (definition: object, input: unknown, credentials = acme, key?: string) =>
  Result.getOrThrowWith(build(definition, input, credentials, key), (error) => new Error(error.message))
const refusal = (definition: object, input: unknown, credentials = acme) =>
  Result.getOrThrowWith(Result.flip(build(definition, input, credentials)), () => new Error("It was built."))

describe("a request", () => {
  it("goes to the connection's own host, with everything in its place", () => {
    const request = built(
      {
        path: "/orders/{id}/lines/{line.no}",
        query: { expand: "all", since: "{since}", absent: "{nothing}" },
        headers: { "x-trace": "t-{id}" },
        body: { order: { id: "{id}", note: "n: {note}", raw: "{line}", gone: "{nothing}" }, list: ["{id}", 7] },
        idempotencyHeader: "idempotency-key",
        timeoutMillis: 5000
      },
      { id: 42, line: { no: "a b/ü" }, since: "2026-01-01&x=1", note: "hi" },
      acme,
      "key-1"
    )
    assert.strictEqual(request.url, "https://acme.example.com/api/orders/42/lines/a%20b%2F%C3%BC?expand=all&since=2026-01-01%26x%3D1")
    assert.deepStrictEqual(request.headers, {
      accept: "application/json",
      "content-type": "application/json",
      "idempotency-key": "key-1",
      "x-key": "canary-secret",
      "x-trace": "t-42"
    })
    assert.deepStrictEqual(JSON.parse(request.body as string), {
      order: { id: 42, note: "n: hi", raw: { no: "a b/ü" } },
      list: [42, 7]
    })
    assert.strictEqual(request.timeoutMs, 5000)
  })
  it("has no body unless the action has one", () => assert.isFalse("body" in built({ method: "GET" }, { a: 1 })))

  const attacks: ReadonlyArray<readonly [string, object, unknown]> = [
    ["climbs by a segment of dots", { path: "/orders/{id}/x" }, { id: ".." }],
    ["climbs by one dot", { path: "/orders/{id}" }, { id: "." }],
    ["climbs by two values of one segment", { path: "/orders/{a}{b}/x" }, { a: ".", b: "." }],
    ["leaves a segment empty", { path: "/orders/{id}/x" }, { id: "" }],
    ["leaves the last segment empty", { path: "/orders/{id}" }, { id: "" }],
    ["leaves a segment out", { path: "/orders/{id}/x" }, {}],
    ["puts an object into a path", { path: "/orders/{id}/x" }, { id: { a: 1 } }],
    ["splits a header", { headers: { "x-note": "{note}" } }, { note: "a\r\nx-admin: 1" }],
    ["ends a header", { headers: { "x-note": "{note}" } }, { note: "a\n\nGET /admin" }],
    ["hides NUL in a header", { headers: { "x-note": "{note}" } }, { note: "a\0b" }],
    ["sends letters that no header carries", { headers: { "x-note": "{note}" } }, { note: "Ω" }],
    ["reaches for a prototype", { path: "/orders/{__proto__.x}/y" }, { id: 1 }]
  ]
  for (const [what, definition, input] of attacks)
    it(`is refused when an input ${what}`, () => assert.strictEqual(refusal(definition, input)._tag, "RequestRefused"))

  it("keeps to its host whatever the input holds", () => {
    for (const id of [
      "@evil.test",
      "//evil.test",
      "\\evil.test",
      "?x=1",
      "#frag",
      "%2e%2e",
      "a:b",
      "https://evil.test/",
      "..%2f",
      "\u2025"
    ]) {
      const url = new URL(built({ path: "/orders/{id}", query: { q: "{id}" } }, { id }).url)
      assert.strictEqual(url.origin, "https://acme.example.com")
      assert.match(url.pathname, /^\/api\/orders\/[^/]+$/u)
      assert.strictEqual(url.searchParams.get("q"), id)
      assert.deepStrictEqual([...url.searchParams.keys()], ["q"])
    }
  })
  it("is refused when the input breaks the action's schema, naming each place", () => {
    const input = {
      type: "object",
      required: ["id", "total"],
      properties: { id: { type: "string" }, lines: { type: "array", items: { type: "object", required: ["sku"] } } }
    }
    const refused = refusal({ body: "input", input }, { id: 1, lines: [{ sku: "a" }, {}] })
    assert.deepStrictEqual(
      refused.findings.map(({ pointer }) => pointer),
      ["/input/total", "/input/id", "/input/lines/1/sku"]
    )
    assert.include(refused.message, "was not called")
  })
  it("is refused for an action that does not exist, naming those that do", () => {
    const refused = Result.getOrThrow(Result.flip(buildRequest(compileActions(manifest({ run: action({}) })), "constructor", {}, acme)))
    assert.include(refused.message, "run")
  })
  it("is refused for a connection that does not fit, without its secret", () => {
    for (const shop of ["evil.test/", "a@b", "a b", "", "a/../b", "x?y", "A_B"])
      assert.deepStrictEqual(
        refusal({}, {}, { ...acme, variables: { shop } }).findings.map(({ pointer }) => pointer),
        ["/connection/variables/shop"]
      )
    const refused = refusal({}, {}, { ...acme, secrets: { apiKey: Redacted.make("canary-secret\r\nx-admin: 1") } })
    assert.deepStrictEqual(
      refused.findings.map(({ pointer }) => pointer),
      ["/connection/secrets/apiKey"]
    )
    assert.notInclude(`${refused.message}${JSON.stringify(refused)}`, "canary-secret")
  })
})

describe("credentials", () => {
  const placed = (auth: object, secrets: Record<string, string>) => {
    const compiled = compileActions(manifest({ run: action({ body: { a: 1 } }) }, { auth: { m: auth } }))
    const credentials: Credentials = {
      method: "m",
      secrets: Object.fromEntries(Object.entries(secrets).map(([name, secret]) => [name, Redacted.make(secret)])),
      variables: { shop: "acme" }
    }
    const request = Result.getOrThrow(buildRequest(compiled, "run", {}, credentials))
    const { accept: _, "content-type": __, ...headers } = request.headers
    return { query: new URL(request.url).search, headers, body: JSON.parse(request.body as string) as unknown }
  }
  it("are placed in a header, with a prefix", () =>
    assert.deepStrictEqual(
      placed({ kind: "apiKey", place: { in: "header", name: "authorization", prefix: "Token " } }, { apiKey: "s&1" }).headers,
      {
        authorization: "Token s&1"
      }
    ))
  it("are placed in the query, encoded", () =>
    assert.strictEqual(placed({ kind: "apiKey", place: { in: "query", name: "api&key" } }, { apiKey: "s&1" }).query, "?api%26key=s%261"))
  it("are placed in a cookie, encoded", () =>
    assert.deepStrictEqual(placed({ kind: "apiKey", place: { in: "cookie", name: "sid" } }, { apiKey: "s;1" }).headers, {
      cookie: "sid=s%3B1"
    }))
  it("are placed in the body", () =>
    assert.deepStrictEqual(placed({ kind: "apiKey", place: { in: "body", name: "token" } }, { apiKey: "s" }).body, { a: 1, token: "s" }))
  it("are placed as bearer and basic", () => {
    assert.deepStrictEqual(placed({ kind: "bearer" }, { token: "t" }).headers, { authorization: "Bearer t" })
    const basic = `Basic ${Buffer.from("ana:pä$$word").toString("base64")}`
    assert.deepStrictEqual(placed({ kind: "basic" }, { username: "ana", password: "pä$$word" }).headers, { authorization: basic })
  })
  it("are placed as custom fields, `$` and braces and all", () => {
    const place = [
      { in: "header", name: "x-both", value: "{id}:{key}" },
      { in: "query", name: "id", value: "{id}" }
    ]
    const result = placed({ kind: "custom", fields: { id: {}, key: {} }, place }, { id: "a$&", key: "{id}" })
    assert.deepStrictEqual([result.headers, result.query], [{ "x-both": "a$&:{id}" }, "?id=a%24%26"])
  })
  it("are checked by the manifest's pattern, in linear time, and never repeated", () => {
    const method = { kind: "custom", fields: { key: { pattern: "(a+)+b" } }, place: [{ in: "header", name: "k" }] } as const
    const [finding] = secretFindings(method, { key: Redacted.make("a".repeat(10_000)) })
    assert.deepStrictEqual([finding!.pointer, finding!.message.includes("aaa")], ["/secrets/key", false])
    assert.deepStrictEqual(secretFindings(method, { key: Redacted.make("aaab") }), [])
    assert.deepStrictEqual(
      secretFindings({ kind: "bearer" }, { tokn: Redacted.make("x") }).map(({ pointer }) => pointer),
      ["/secrets/tokn", "/secrets/token"]
    )
  })
  it("may name a whole origin where the manifest says so, and nothing more than that", () => {
    const own = manifest({ run: action({}) }, { baseUrl: "{address}/api", variables: { address: { kind: "origin" } } })
    for (const address of ["https://erp.example.com", "http://127.0.0.1:4700"])
      assert.deepStrictEqual(variableFindings(own, { address }), [])
    for (const address of [
      "erp.example.com",
      "https://user@erp.test",
      "https://erp.test/",
      "https://erp.test/x",
      "ftp://erp.test",
      "javascript:1"
    ])
      assert.strictEqual(variableFindings(own, { address }).length, 1, address)
  })
})
