import { assert, describe, it } from "vitest"
import type { SpaceKey, TenantKey } from "#domain/ids.ts"
import { PlanName } from "#domain/plan.ts"
import { tenantScope } from "#domain/scope.ts"
import { TenantEvent } from "#domain/tenant.ts"
import { tenants } from "#projections/tenants.ts"
import { project, recorded } from "../support/project.ts"

const { TenantActivated, TenantCreated, TenantPlanChanged, TenantRenamed, TenantSuspended } = TenantEvent.cases
const tenantKey = "taaaabbbbccccddddeee" as TenantKey
const scope = tenantScope("saaaabbbbccccddddeee" as SpaceKey, tenantKey)
const [starter, growth] = [PlanName.make("starter"), PlanName.make("growth")]
const created = TenantCreated.make({ tenantKey, externalId: "x", displayName: "n", plan: starter, region: "eu", tier: "shared" })
const view = {
  tenantKey,
  externalId: "x",
  displayName: "n",
  plan: starter,
  region: "eu",
  tier: "shared",
  status: "active",
  createdAt: 1_000
}
const viewed = (...events: ReadonlyArray<TenantEvent>) =>
  project(tenants, recorded(scope, "tenant-self", events))[`${tenantKey}/${tenantKey}`]

describe("the tenants view", () => {
  it("shows a tenant as it was created, its id and name sealed", () =>
    assert.deepStrictEqual(viewed(created), { ...view, changedAt: 1_000 } as never))
  it("follows its name, plan and status", () => {
    const changes = [TenantRenamed.make({ displayName: "m" }), TenantPlanChanged.make({ plan: growth }), TenantSuspended.make({})]
    const changed = { ...view, displayName: "m", plan: growth }
    assert.deepStrictEqual(viewed(created, ...changes), { ...changed, status: "suspended", changedAt: 1_003 } as never)
    assert.deepStrictEqual(viewed(created, ...changes, TenantActivated.make({})), { ...changed, changedAt: 1_004 } as never)
  })
  it("wants every event of a tenant", () => assert.deepStrictEqual([...tenants.events].sort(), Object.keys(TenantEvent.cases).sort()))
})
