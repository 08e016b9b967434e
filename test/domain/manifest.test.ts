import * as Result from "effect/Result"
import { assert, describe, it } from "vitest"
import { readManifest, readStoredManifest } from "#domain/manifest.ts"

const signature = { algorithm: "hmac-sha256", parts: ["body"], headers: ["x-signature"], encoding: "hex" }
const webhook = { signature, deliveryId: { header: "x-id" }, event: { header: "x-topic" } }
const manifest = {
  id: "erp",
  name: "ERP",
  baseUrl: "https://{host}.example.com/api",
  variables: { host: { pattern: "[a-z]+" } },
  auth: { key: { kind: "apiKey", place: { in: "header", name: "x-api-key" } } },
  actions: { create: { method: "POST", path: "/orders", body: "input", effect: "idempotent", idempotencyHeader: "idempotency-key" } },
  webhook,
  triggers: [{ event: "orders/create" }]
}
const problems = (change: object): ReadonlyArray<string> =>
  Result.match(readManifest({ ...manifest, ...change }), {
    onSuccess: () => [],
    onFailure: (findings) => findings.map(({ pointer }) => pointer)
  })
const withSignature = (change: object) => ({ webhook: { ...webhook, signature: { ...signature, ...change } } })
const withAction = (change: object) => ({ actions: { create: { ...manifest.actions.create, ...change } } })
const probe = {
  method: "GET",
  path: "/orders/{externalId}",
  query: { by: "{tenant.key}" },
  found: { path: "status", eq: 200 },
  absent: { path: "status", eq: 404 },
  output: "items.0"
}
const verifiable = (change: object = {}) =>
  withAction({ effect: "verifiable", idempotencyHeader: undefined, probe: { ...probe, ...change } })
const nested = (depth: number): object => (depth === 0 ? probe.found : { not: nested(depth - 1) })

describe("a manifest", () => {
  it("is read when nothing is wrong with it", () => assert.deepStrictEqual(problems({}), []))
  it("needs neither actions nor webhook", () => {
    const { actions: _, webhook: __, triggers: ___, baseUrl: ____, variables: _____, ...rest } = manifest
    assert.isTrue(Result.isSuccess(readManifest(rest)))
  })

  it("is read with a verifiable action and its probe", () => assert.deepStrictEqual(problems(JSON.parse(JSON.stringify(verifiable()))), []))
  it("is still read as it was stored before rules came that it breaks", () => {
    const stored = { ...manifest, ...withAction({ effect: "verifiable" }) }
    assert.isTrue(Result.isFailure(readManifest(stored)))
    assert.deepStrictEqual(Result.getOrThrow(readStoredManifest(stored)), stored as never)
  })

  const refusals: ReadonlyArray<readonly [string, object, ReadonlyArray<string>]> = [
    ["a key that is not known", { colour: "red" }, ["/colour"]],
    ["a key that is not known, deep inside", withSignature({ colour: "red" }), ["/webhook/signature/colour"]],
    ["several things at once", { name: 1, id: "Not A Slug" }, ["/id", "/name"]],
    ["a base URL with an undeclared variable", { baseUrl: "https://{region}.example.com" }, ["/baseUrl"]],
    ["a base URL that is none", { baseUrl: "ftp://example.com" }, ["/baseUrl"]],
    ["a base URL with credentials", { baseUrl: "https://user:secret@example.com" }, ["/baseUrl"]],
    ["a base URL with a query", { baseUrl: "https://example.com/?a=1" }, ["/baseUrl"]],
    ["an origin that is not at the start", { baseUrl: "https://a/{host}", variables: { host: { kind: "origin" } } }, ["/baseUrl"]],
    ["no way to authenticate", { auth: {} }, ["/auth"]],
    [
      "a credential in a header of the transport",
      { auth: { key: { kind: "apiKey", place: { in: "header", name: "host" } } } },
      ["/auth/key/place/name"]
    ],
    [
      "a field that the method has not",
      { auth: { key: { kind: "apiKey", place: { in: "query", name: "k", value: "{token}" } } } },
      ["/auth/key/place/value"]
    ],
    ["an idempotent call without a key", withAction({ idempotencyHeader: undefined }), ["/actions/create/idempotencyHeader"]],
    ["a body on a GET", withAction({ method: "GET" }), ["/actions/create/body"]],
    ["a verifiable call that nobody can ask about", withAction({ effect: "verifiable" }), ["/actions/create/probe"]],
    ["a probe of a call that needs none", withAction({ probe }), ["/actions/create/probe"]],
    ["a probe that changes something", verifiable({ method: "POST" }), ["/actions/create/probe/method"]],
    ["a probe that says nothing about absence", verifiable({ absent: undefined }), ["/actions/create/probe/absent"]],
    [
      "a probe's path and headers as an action's",
      verifiable({ path: "/orders/../x?y=1", headers: { host: "evil.test" } }),
      ["/actions/create/probe/headers/host", "/actions/create/probe/path"]
    ],
    ["a probe's condition that is nested too deep", verifiable({ found: nested(20) }), ["/actions/create/probe/found"]],
    ["a path that climbs", withAction({ path: "/a/../b" }), ["/actions/create/path"]],
    ["a path with a query", withAction({ path: "/a?b=1" }), ["/actions/create/path"]],
    ["a header of the transport", withAction({ headers: { "content-length": "0" } }), ["/actions/create/headers/content-length"]],
    ["a signature that does not cover the body", withSignature({ parts: ["url"] }), ["/webhook/signature/parts"]],
    ["a hash without a secret", withSignature({ algorithm: "sha256" }), ["/webhook/signature/parts"]],
    ["the secret in the signed text", withSignature({ parts: ["secret", "body"] }), ["/webhook/signature/parts"]],
    ["a signed timestamp that is nowhere", withSignature({ parts: ["timestamp", "body"] }), ["/webhook/signature/timestamp"]],
    [
      "a timestamp that is not signed",
      withSignature({ timestamp: { from: { header: "x-at" }, unit: "s", toleranceSeconds: 300 } }),
      ["/webhook/signature/timestamp"]
    ],
    ["a signed id that is nowhere", withSignature({ parts: ["id", "body"] }), ["/webhook/signature/idHeader"]],
    ["an element without elements", { webhook: { ...webhook, event: { element: "type" } } }, ["/webhook/event/element"]],
    ["a webhook without triggers", { triggers: [] }, ["/triggers"]]
  ]
  for (const [what, change, pointers] of refusals)
    it(`is refused for ${what}, by name`, () => {
      const plain = JSON.parse(JSON.stringify(change))
      assert.deepStrictEqual([...problems(plain)].sort(), pointers)
    })
})
