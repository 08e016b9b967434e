/** Shopify-shaped orders, signed as the shop signs them, and a small tenant set-up that runs on them. */
import { createHmac } from "node:crypto"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { ConnectorId, type FlowId } from "#domain/ids.ts"
import type { Origin } from "#domain/recorded.ts"
import type { SpaceScope, TenantScope } from "#domain/scope.ts"
import type { ExternalTenantId } from "#domain/tenant.ts"
import { Connections } from "#services/connections.ts"
import { Enablements } from "#services/enablements.ts"
import { Endpoints } from "#services/endpoints.ts"
import { Flows } from "#services/flows.ts"
import { Spaces } from "#services/spaces.ts"
import { Tenants } from "#services/tenants.ts"

export const origin: Origin = { actor: { kind: "system", id: "test" } }
export const signingSecret = "shop-signing-secret"
export const sign = (body: string | Uint8Array, secret = signingSecret): string =>
  createHmac("sha256", secret).update(body).digest("base64")

export const order = (index: number) =>
  JSON.stringify({
    id: 5_600_000_000 + index,
    name: `#${1000 + index}`,
    email: `customer${index}@example.test`,
    currency: "EUR",
    total_price: `${60 + index}.70`,
    customer: { id: 7_200_000 + index, first_name: "Ana" },
    line_items: [{ sku: `SKU-${index}`, quantity: 2, price: "19.90" }]
  })

export const webhook = (
  index: number,
  options: { readonly deliveryId?: string; readonly body?: string; readonly signature?: string } = {}
) => {
  const body = options.body ?? order(index)
  return {
    method: "POST",
    url: "http://localhost/hooks/x",
    headers: {
      "content-type": "application/json",
      "x-shopify-topic": "orders/create",
      "x-shopify-webhook-id": options.deliveryId ?? `delivery-${index}`,
      "x-shopify-hmac-sha256": options.signature ?? sign(body)
    },
    rawBody: Buffer.from(body),
    address: "127.0.0.1"
  }
}

/** Orders of the shop become orders of the ERP. */
export const ordersFlow = (id = "orders-to-erp", retry = "{ attemptsMax: 4, backoffMillis: 10, backoffMaxMillis: 50 }") => `
id: ${id}
trigger: { connector: shop, event: orders/create }
steps:
  - id: map
    kind: transform
    expression: |
      {
        "externalId": $string(trigger.body.id),
        "total": $number(trigger.body.total_price),
        "currency": trigger.body.currency,
        "customer": { "email": trigger.body.email },
        "lines": [trigger.body.line_items.{ "sku": sku, "quantity": quantity }]
      }
  - id: send
    kind: action
    connector: erp
    action: createOrder
    input: "= steps.map.output"
    retry: ${retry}
`

export const publishOrders = Effect.fnUntraced(function* (text = ordersFlow()) {
  const flows = yield* Flows
  const spaces = yield* Spaces
  const space = yield* spaces.ensureDefault
  const { flowId } = yield* flows.draft(space, text, origin)
  yield* flows.publish(space, flowId, origin)
  return { space, flowId }
})

/** A tenant with an endpoint, an ERP connection and the flow switched on. */
export const customer = Effect.fnUntraced(function* (
  space: SpaceScope,
  flowId: FlowId,
  id: string,
  erp: { readonly address: string; readonly apiKey: string } | null
) {
  const tenants = yield* Tenants
  const endpoints = yield* Endpoints
  const scope: TenantScope = yield* tenants.create(space, { id: id as ExternalTenantId, plan: "enterprise" }, origin)
  const { endpointId } = yield* endpoints.create(scope, { connectorId: "shop", secret: Redacted.make(signingSecret) }, origin)
  if (erp !== null) yield* connectErp(scope, erp)
  const enablements = yield* Enablements
  yield* enablements.enable(scope, flowId, {}, origin)
  return { scope, endpointId }
})

export const connectErp = Effect.fnUntraced(function* (scope: TenantScope, erp: { readonly address: string; readonly apiKey: string }) {
  const connections = yield* Connections
  return yield* connections.connect(
    scope,
    ConnectorId.make("erp"),
    { method: "apiKey", secrets: { apiKey: Redacted.make(erp.apiKey) }, variables: { address: erp.address } },
    origin
  )
})
