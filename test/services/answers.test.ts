import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import { assert, describe, it } from "vitest"
import { readManifest } from "#domain/manifest.ts"
import { compileActions } from "#services/actions.ts"
import { classify, classifyProbe, type Failed, type Succeeded } from "#services/answers.ts"
import { CallFailed, EgressDenied } from "#services/ports/outbound.ts"

const now = Date.UTC(2026, 10, 20, 10, 0, 0)
const secret = "canary-secret/+"
const credentials = { method: "key", secrets: { apiKey: Redacted.make(secret) }, variables: {} }
const connector = (errors: object = {}, success?: object) =>
  compileActions(
    Result.getOrThrow(
      readManifest({
        id: "app",
        name: "App",
        baseUrl: "https://app.example.com",
        auth: { key: { kind: "apiKey", place: { in: "header", name: "x-key" } } },
        actions: { run: { method: "POST", path: "/x", effect: "unsafe", ...(success === undefined ? {} : { success }) } },
        errors
      })
    )
  )
const answered = (status: number, body: unknown = {}, headers: Record<string, string> = {}, errors: object = {}, success?: object) =>
  classify(
    connector(errors, success),
    "run",
    { status, headers, body: Buffer.from(typeof body === "string" ? body : JSON.stringify(body)) },
    credentials,
    now
  )
const kind = (status: number, errors: object = {}) => answered(status, {}, {}, errors).kind

describe("an answer", () => {
  it("means success for 2xx, and its body is the output", () => {
    assert.deepStrictEqual(answered(201, { id: "o1" }), { kind: "succeeded", status: 201, output: { id: "o1" } })
    assert.deepStrictEqual((answered(204, "") as Succeeded).output, null)
    assert.deepStrictEqual((answered(200, "plain text") as Succeeded).output, "plain text")
  })
  it("means what statuses usually mean", () => {
    for (const status of [408, 425, 429, 500, 502, 503, 504, 599]) assert.strictEqual(kind(status), "transient", String(status))
    assert.strictEqual(kind(401), "credentials")
    for (const status of [301, 304, 400, 403, 404, 409, 410, 422]) assert.strictEqual(kind(status), "permanent", String(status))
  })
  it("means what the manifest says instead", () => {
    const errors = { transient: [409], credentials: [403], permanent: [500] }
    assert.deepStrictEqual([kind(409, errors), kind(403, errors), kind(500, errors)], ["transient", "credentials", "permanent"])
  })
  it("can fail with a 200", () => {
    const rules = [{ when: { path: "body.error", eq: "invalid_auth" }, meaning: "credentials" }]
    assert.strictEqual(answered(200, { ok: false, error: "invalid_auth" }, {}, { rules }).kind, "credentials")
    const success = { path: "body.ok", eq: true }
    assert.strictEqual(answered(200, { ok: false }, {}, {}, success).kind, "permanent")
    assert.strictEqual(answered(200, { ok: true }, {}, {}, success).kind, "succeeded")
  })
  it("is of unknown outcome where the vendor may have acted", () => {
    const unknown = (status: number, errors = {}) => (answered(status, {}, {}, errors) as Failed).outcomeUnknown
    for (const status of [500, 502, 504]) assert.isTrue(unknown(status), String(status))
    for (const status of [400, 401, 408, 429, 501, 503]) assert.isFalse(unknown(status), String(status))
    assert.isFalse(unknown(502, { transient: [502] }))
  })
  it("says when to come again, in each of the units", () => {
    const wait = (value: string, retryAfter?: object) =>
      (answered(429, {}, { "retry-after": value, "x-reset": value }, retryAfter === undefined ? {} : { retryAfter }) as Failed)
        .retryAfterMillis
    assert.strictEqual(wait("7"), 7000)
    assert.strictEqual(wait("0.5"), 500)
    assert.strictEqual(wait("Fri, 20 Nov 2026 10:00:30 GMT"), 30_000)
    assert.strictEqual(wait("Fri, 20 Nov 2026 09:00:00 GMT"), 0)
    assert.strictEqual(wait(String(now / 1000 + 5), { header: "x-reset", unit: "epochSeconds" }), 5000)
    assert.strictEqual(wait(String(now + 5), { header: "x-reset", unit: "epochMillis" }), 5)
    assert.strictEqual(wait("3", { header: "x-reset", unit: "seconds" }), 3000)
    assert.strictEqual(wait("999999999"), 86_400_000)
    for (const nonsense of ["soon", "-1", "", "1e9"]) assert.isUndefined(wait(nonsense), nonsense)
  })
  it("gives the vendor's own words apart from ours", () => {
    const detail = (body: unknown, errors = {}) => answered(422, body, {}, errors) as Failed
    assert.strictEqual(detail({ error: { message: "total is negative" } }).detail, "total is negative")
    assert.strictEqual(detail({ why: { text: "no" } }, { message: "why.text" }).detail, "no")
    assert.strictEqual(detail("<h1>Bad</h1>").detail, "<h1>Bad</h1>")
    assert.notInclude(detail({ message: "ana@example.test" }).message, "ana@")
    assert.isAtMost(detail("x".repeat(100_000)).detail!.length, 2000)
  })
  it("never repeats a secret that the vendor echoes", () => {
    const forms = [secret, encodeURIComponent(secret), Buffer.from(secret).toString("base64")]
    for (const form of forms) {
      assert.notInclude(JSON.stringify(answered(400, { message: `bad key ${form}` })), form)
      assert.notInclude(JSON.stringify(answered(200, { key: form, ok: 1 })), form)
    }
    assert.deepStrictEqual((answered(200, { key: secret, ok: 1 }) as Succeeded).output, { key: "***", ok: 1 })
  })
})

describe("no answer", () => {
  const failed = (failure: CallFailed | EgressDenied) => classify(connector(), "run", failure, credentials, now) as Failed
  it("is tried again, and says whether the vendor may have acted", () => {
    for (const kind of ["timeout", "reset", "connect", "too-late"] as const)
      for (const sent of ["no", "unknown"] as const) {
        const result = failed(new CallFailed({ kind, sent, reason: "x" }))
        assert.deepStrictEqual([result.kind, result.code, result.outcomeUnknown], ["transient", kind, sent === "unknown"])
      }
  })
  it("is final when it was too large or not allowed", () => {
    assert.strictEqual(failed(new CallFailed({ kind: "too-large", sent: "unknown", reason: "x" })).kind, "permanent")
    const denied = failed(new EgressDenied({ url: "http://10.0.0.1/?k=canary-secret", reason: "a private address" }))
    assert.deepStrictEqual([denied.kind, denied.code, denied.outcomeUnknown], ["permanent", "egress-denied", false])
    assert.notInclude(JSON.stringify(denied), "canary-secret")
  })
})

describe("a probe's answer", () => {
  const probe = { method: "GET", path: "/x", found: { path: "body.state", eq: "done" }, absent: { not: { path: "status", eq: 200 } } }
  const asked = (answer: { readonly status: number; readonly body?: unknown } | CallFailed, change: object = {}, errors: object = {}) => {
    const actions = { run: { method: "POST", path: "/x", effect: "verifiable", probe: { ...probe, ...change } } }
    const auth = { none: { kind: "none" } }
    const app = compileActions(
      Result.getOrThrow(readManifest({ id: "app", name: "App", baseUrl: "https://app.example.com", auth, actions, errors }))
    )
    const heard = "_tag" in answer ? answer : { status: answer.status, headers: {}, body: Buffer.from(JSON.stringify(answer.body ?? {})) }
    return classifyProbe(app, "run", app.actions.get("run")!.probe!, heard, { method: "none", secrets: {}, variables: {} }, now)
  }
  const done = { state: "done", items: [{ id: "o1" }] }
  it("tells that the call was carried out, with its output, or that it was not", () => {
    assert.deepStrictEqual(asked({ status: 200, body: done }), { kind: "succeeded", status: 200, output: done })
    assert.deepInclude(asked({ status: 200, body: done }, { output: "items.0" }), { output: { id: "o1" } })
    assert.deepInclude(asked({ status: 200, body: done }, { output: "nowhere" }), { output: null })
    assert.deepStrictEqual(asked({ status: 404 }), { kind: "absent" })
  })
  it("leaves it open when it meets neither condition, or both", () => {
    for (const answer of [{ status: 200 }, { status: 404, body: done }])
      assert.deepInclude(asked(answer), { kind: "permanent", code: "unclear", outcomeUnknown: true })
  })
  it("leaves it open where the vendor is busy, down or does not answer, or refuses the credentials, whatever the conditions say", () => {
    for (const status of [408, 429, 500, 503]) assert.deepInclude(asked({ status }), { kind: "transient", outcomeUnknown: true })
    assert.deepInclude(asked({ status: 401 }), { kind: "credentials", outcomeUnknown: true })
    assert.deepInclude(asked({ status: 404 }, {}, { credentials: [404] }), { kind: "credentials" })
    const rules = [{ when: { path: "body.state", eq: "done" }, meaning: "transient" }]
    assert.deepInclude(asked({ status: 200, body: done }, {}, { rules }), { kind: "transient" })
    const failure = new CallFailed({ kind: "connect", sent: "no", reason: "refused" })
    assert.deepInclude(asked(failure), { code: "connect", outcomeUnknown: true })
  })
})
