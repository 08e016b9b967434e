/** The tenants of a space: one row per tenant. Ids and names stay sealed: the service opens those that it shows. */

import * as Schema from "effect/Schema"
import { TenantKey } from "#domain/ids.ts"
import { PlanName } from "#domain/plan.ts"
import { Region, TenantEvent, TenantStatus, Tier } from "#domain/tenant.ts"
import type { Projection } from "./projection.ts"

export type TenantView = typeof TenantView.Type
export const TenantView = Schema.Struct({
  tenantKey: TenantKey,
  /** Sealed under the tenant's log key. */
  externalId: Schema.String,
  /** Sealed under the tenant's log key. */
  displayName: Schema.String,
  plan: PlanName,
  region: Region,
  tier: Tier,
  status: TenantStatus,
  /** Epoch milliseconds. */
  createdAt: Schema.Int,
  changedAt: Schema.Int
})

export const tenants: Projection<TenantEvent, TenantView> = {
  name: "tenants",
  version: 1,
  events: ["TenantCreated", "TenantRenamed", "TenantPlanChanged", "TenantSuspended", "TenantActivated"],
  fields: { plan: "text", region: "text", tier: "text", status: "text", createdAt: "time" },
  sorts: [["createdAt"], ["status", "createdAt"]],
  acrossSpace: true,
  key: ({ scope }) => scope.key,
  evolve: (view, { event, at }) =>
    TenantEvent.match(event, {
      TenantCreated: ({ _tag: _, ...tenant }): TenantView | undefined => ({ ...tenant, status: "active", createdAt: at, changedAt: at }),
      TenantRenamed: ({ displayName }) => view && { ...view, displayName, changedAt: at },
      TenantPlanChanged: ({ plan }) => view && { ...view, plan, changedAt: at },
      TenantSuspended: () => view && { ...view, status: "suspended" as const, changedAt: at },
      TenantActivated: () => view && { ...view, status: "active" as const, changedAt: at }
    })
}
