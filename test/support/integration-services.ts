/** The services of connectors, connections, endpoints, flows and enablements over the embedded stores, with a tenant to try them on. */
import { readFileSync } from "node:fs"
import * as Layer from "effect/Layer"
import * as JsonataExpressions from "#adapters/jsonata/expressions.ts"
import type { SpaceKey, TenantKey } from "#domain/ids.ts"
import type { Origin } from "#domain/recorded.ts"
import { spaceScope, tenantScope } from "#domain/scope.ts"
import { Accounts } from "#services/accounts.ts"
import { Connections } from "#services/connections.ts"
import { Connectors } from "#services/connectors.ts"
import { Enablements } from "#services/enablements.ts"
import { Endpoints } from "#services/endpoints.ts"
import { Flows } from "#services/flows.ts"
import { Spaces } from "#services/spaces.ts"
import { embedded } from "./embedded.ts"

const builtIn = ["shop", "erp"].map((name) => readFileSync(new URL(`../../connectors/${name}.yaml`, import.meta.url), "utf8"))

export const integrationServices = Enablements.layer.pipe(
  Layer.provideMerge(Layer.mergeAll(Flows.layer, Connections.layer)),
  Layer.provideMerge(Endpoints.layer),
  Layer.provideMerge(Layer.mergeAll(Accounts.layer, Connectors.layerWith(builtIn), Spaces.layer, JsonataExpressions.layer)),
  Layer.provideMerge(embedded)
)

export const space = spaceScope("saaaabbbbccccddddeee" as SpaceKey)
export const tenant = tenantScope(space.space, "taaaabbbbccccddddeee" as TenantKey)
export const otherTenant = tenantScope(space.space, "tbbbbbbbbccccddddeee" as TenantKey)
export const origin: Origin = { actor: { kind: "key", id: "aaaabbbbcccc" } }
/** Under an Idempotency-Key, with the hash of the request. */
export const keyed = (commandId: string, commandHash = "h"): Origin => ({ ...origin, commandId, commandHash })

/** A flow from a shop's order to the ERP, in YAML. */
export const ordersFlow = (change = "") => `
id: orders-to-erp
name: Orders to the ERP
trigger:
  connector: shop
  event: orders/create
  where: { path: body.total_price, gt: 10 }
steps:
  - id: order
    kind: transform
    expression: '{ "externalId": trigger.body.name, "total": $number(trigger.body.total_price), "currency": trigger.body.currency }'
  - id: send
    kind: action
    connector: erp
    action: createOrder
    input:
      externalId: = steps.order.output.externalId
      total: = steps.order.output.total
      currency: = steps.order.output.currency
      lines:
        - sku: = trigger.body.line_items[0].sku
          fixed: 1
${change}`
