import { readdirSync, readFileSync } from "node:fs"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import { assert, describe, it } from "vitest"
import { buildRequest, compileActions } from "#services/actions.ts"
import { compileConnector } from "#services/compiled-connector.ts"
import { readManifestText } from "#services/connectors.ts"
import { shopify } from "../support/webhook-schemes.ts"

const folder = new URL("../../connectors/", import.meta.url)
const files = readdirSync(folder)
const manifestOf = (file: string) =>
  Result.getOrThrowWith(readManifestText(readFileSync(new URL(file, folder), "utf8")), (error) => new Error(error.message))

describe("the built-in catalogue", () => {
  for (const file of files)
    it(`has nothing wrong in ${file}, and is named as its file`, () => assert.strictEqual(`${manifestOf(file).id}.yaml`, file))

  it("verifies a shop's order as Shopify signs it, and reads its identity and topic", () => {
    const { webhook } = compileConnector(manifestOf("shop.yaml"), 0)
    const body = Buffer.from(JSON.stringify({ id: 1, total_price: "60.70" }))
    const call = shopify.call(body, 0, "app-client-secret")
    const headers = { ...call.headers, "x-shopify-topic": "orders/create", "x-shopify-webhook-id": "b54557e4-bdd9-4b37-8a5f-bf7d70bcd043" }
    assert.deepStrictEqual(webhook!.verify("POST", "https://t.test/hooks/x", headers, body, [Redacted.make("app-client-secret")], 0), {
      ok: true
    })
    assert.isFalse(webhook!.verify("POST", "https://t.test/hooks/x", headers, body, [Redacted.make("other")], 0).ok)
    const located = Result.getOrThrow(webhook!.locate(headers, Result.getOrThrow(webhook!.parse(headers, body)), body))
    assert.deepStrictEqual(located, [
      {
        index: 0,
        event: "orders/create",
        dedupe: { by: "vendor-id", key: "b54557e4-bdd9-4b37-8a5f-bf7d70bcd043" },
        tenant: undefined,
        element: undefined
      }
    ])
    assert.strictEqual(webhook!.response.status, 200)
  })
  it("enters an order into the ERP under its key and an idempotency key", () => {
    const connection = { method: "apiKey", secrets: { apiKey: Redacted.make("k-123456") }, variables: { address: "http://127.0.0.1:4700" } }
    const input = { externalId: "#1001", total: 60.7, currency: "EUR" }
    const request = Result.getOrThrow(buildRequest(compileActions(manifestOf("erp.yaml")), "createOrder", input, connection, "key-1"))
    assert.strictEqual(request.url, "http://127.0.0.1:4700/api/orders")
    assert.deepStrictEqual(request.headers, {
      accept: "application/json",
      "content-type": "application/json",
      "idempotency-key": "key-1",
      "x-api-key": "k-123456"
    })
    assert.deepStrictEqual(JSON.parse(request.body as string), input)
  })
})
