import { createHash } from "node:crypto"
import * as Result from "effect/Result"
import { assert, describe, it } from "vitest"
import type { WebhookManifest } from "#domain/webhook-manifest.ts"
import { compileHandshake } from "#services/handshake.ts"
import { compileLocators, elementsMax } from "#services/locators.ts"

const signature = { algorithm: "hmac-sha256", parts: ["body"], headers: ["x-s"], encoding: "hex" } as const
const locate = (webhook: Omit<WebhookManifest, "signature">, body: unknown, headers: Record<string, string> = {}) => {
  const raw = Buffer.from(typeof body === "string" ? body : JSON.stringify(body))
  const { parse, locate } = compileLocators({ signature, ...webhook })
  return Result.flatMap(parse(headers, raw), (parsed) => locate(headers, parsed, raw))
}
const located = (webhook: Omit<WebhookManifest, "signature">, body: unknown, headers: Record<string, string> = {}) =>
  Result.getOrThrowWith(locate(webhook, body, headers), (failure) => new Error(failure.message))
const failure = (webhook: Omit<WebhookManifest, "signature">, body: unknown, headers: Record<string, string> = {}) =>
  Result.getOrThrow(Result.flip(locate(webhook, body, headers))).reason
const sha256 = (text: string) => createHash("sha256").update(text).digest("hex")

describe("locators", () => {
  it("read headers, the body, and constants", () => {
    const [one] = located(
      { deliveryId: { body: "meta.id" }, event: { header: "x-topic" }, tenant: { body: "shop" } },
      { meta: { id: 7 }, shop: "acme" },
      { "x-topic": "a/b" }
    )
    assert.deepStrictEqual(one, { index: 0, event: "a/b", dedupe: { by: "vendor-id", key: "7" }, tenant: "acme", element: undefined })
    const [constant] = located({ deliveryId: { header: "x-id" }, event: { constant: "changed" } }, {}, { "x-id": "d1" })
    assert.deepStrictEqual([constant!.event, constant!.tenant], ["changed", undefined])
  })
  it("split an array of events, each with its own tenant and identity", () => {
    const events = [
      { eventId: 1, portalId: 10, subscriptionType: "contact.creation" },
      { eventId: 2, portalId: 11, subscriptionType: "deal.creation" }
    ]
    const hubspot = {
      elements: "",
      deliveryId: { element: "eventId" },
      event: { element: "subscriptionType" },
      tenant: { element: "portalId" }
    }
    assert.deepStrictEqual(located(hubspot, events), [
      { index: 0, event: "contact.creation", dedupe: { by: "vendor-id", key: "1" }, tenant: "10", element: events[0] },
      { index: 1, event: "deal.creation", dedupe: { by: "vendor-id", key: "2" }, tenant: "11", element: events[1] }
    ])
  })
  it("tell the elements of one call apart when the call alone has an id", () => {
    const webhook = { elements: "events", deliveryId: { header: "x-id" }, event: { element: "type" } }
    const keys = located(webhook, { events: [{ type: "a" }, { type: "b" }] }, { "x-id": "d1" }).map(({ dedupe }) => dedupe)
    assert.deepStrictEqual(keys, [
      { by: "vendor-id", key: "d1#0" },
      { by: "vendor-id", key: "d1#1" }
    ])
  })
  it("accept a call without any element: some vendors only try the address", () =>
    assert.deepStrictEqual(located({ elements: "events", event: { element: "type" } }, { events: [] }), []))
  it("fall back to a hash of the content where there is no id, for minutes, unless that is off", () => {
    const event = { constant: "x" }
    const dedupe = (webhook: object, body = '{"a":1}') => located({ event, ...webhook }, body)[0]!.dedupe
    assert.deepStrictEqual(dedupe({}), { by: "content", key: sha256('{"a":1}'), minutes: 10 })
    assert.deepStrictEqual(dedupe({ deliveryId: { header: "x-id" }, contentHash: { minutes: 3 } }), {
      by: "content",
      key: sha256('{"a":1}'),
      minutes: 3
    })
    assert.deepStrictEqual(dedupe({ contentHash: false }), { by: "nothing" })
  })
  it("read forms, also those that hold JSON in a field", () => {
    const form = { "content-type": "application/x-www-form-urlencoded; charset=utf-8" }
    assert.strictEqual(located({ event: { body: "Status" } }, "Status=sent&__proto__=x", form)[0]!.event, "sent")
    assert.strictEqual(
      located({ formField: "payload", event: { body: "type" } }, `payload=${encodeURIComponent('{"type":"a"}')}`, form)[0]!.event,
      "a"
    )
    assert.strictEqual(({} as Record<string, unknown>)["x"], undefined)
  })
  it("say what is wrong with a call", () => {
    const event = { body: "type" }
    assert.strictEqual(failure({ event }, "{nope"), "body-malformed")
    assert.strictEqual(failure({ event }, {}), "event-missing")
    assert.strictEqual(failure({ event }, { type: { a: 1 } }), "event-missing")
    assert.strictEqual(failure({ event }, { type: "x".repeat(200) }), "event-missing")
    assert.strictEqual(failure({ event, tenant: { header: "x-shop" } }, { type: "a" }), "tenant-missing")
    assert.strictEqual(failure({ event, elements: "events" }, { type: "a" }), "elements-missing")
    const many = Array.from({ length: elementsMax + 1 }, () => ({ type: "a" }))
    assert.strictEqual(failure({ event: { element: "type" }, elements: "" }, many), "too-many-elements")
    assert.strictEqual(
      failure({ event, formField: "payload" }, "payload=%7B", { "content-type": "application/x-www-form-urlencoded" }),
      "body-malformed"
    )
  })
})

describe("a handshake", () => {
  const slack = compileHandshake({
    when: { path: "body.type", eq: "url_verification" },
    echo: { body: "challenge" },
    as: { json: "challenge" }
  })
  it("echoes the challenge, and leaves other calls alone", () => {
    assert.isTrue(slack.signed)
    const answer = slack.answer("/hooks/x", {}, { type: "url_verification", challenge: "3eZbrw" })
    assert.deepStrictEqual(answer, { status: 200, headers: { "content-type": "application/json" }, body: '{"challenge":"3eZbrw"}' })
    assert.isUndefined(slack.answer("/hooks/x", {}, { type: "event_callback", challenge: "x" }))
    assert.isUndefined(slack.answer("/hooks/x", {}, undefined))
  })
  it("echoes a query parameter as text that no browser takes for a page", () => {
    const graph = compileHandshake({
      when: { path: "query.validationToken", exists: true },
      echo: { query: "validationToken" },
      as: "text",
      signed: false
    })
    const answer = graph.answer("https://t.test/hooks/x?validationToken=%3Cscript%3E", {}, null)
    assert.strictEqual(answer!.body, "<script>")
    assert.deepStrictEqual(answer!.headers, { "content-type": "text/plain; charset=utf-8", "x-content-type-options": "nosniff" })
  })
  it("echoes a header, but never one that would split the answer, nor an endless text", () => {
    const asana = compileHandshake({
      when: { path: "headers.x-hook-secret", exists: true },
      echo: { header: "x-hook-secret" },
      as: { header: "x-hook-secret" },
      signed: false
    })
    assert.deepStrictEqual(asana.answer("/", { "x-hook-secret": "s1" }, null)!.headers, { "x-hook-secret": "s1" })
    assert.isUndefined(asana.answer("/", { "x-hook-secret": "s1\r\nset-cookie: a" }, null))
    assert.isUndefined(slack.answer("/", {}, { type: "url_verification", challenge: "x".repeat(5000) }))
  })
})
