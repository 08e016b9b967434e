import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { assert, describe, it } from "vitest"
import { TenantKey } from "#domain/ids.ts"
import { PlanName } from "#domain/plan.ts"
import { ExternalTenantId, TenantCommand, TenantErased, TenantEvent, TenantExists, TenantNotFound, tenant } from "#domain/tenant.ts"
import { given } from "../support/given.ts"
import { replays } from "../support/replays.ts"

const { ActivateTenant, ChangeTenantPlan, CreateTenant, RenameTenant, SuspendTenant } = TenantCommand.cases
const { TenantActivated, TenantCreated, TenantPlanChanged, TenantRenamed, TenantSuspended } = TenantEvent.cases
const tenantKey = TenantKey.make("taaaabbbbccccddddeee")
const [starter, growth] = [PlanName.make("starter"), PlanName.make("growth")]
const fields = { tenantKey, externalId: "sealed-id", displayName: "sealed-name", plan: starter, region: "eu", tier: "shared" } as const
const created = TenantCreated.make(fields)

describe("a tenant", () => {
  it("is created once", () => {
    given(tenant).when(CreateTenant.make(fields)).decides(created)
    given(tenant, created).when(CreateTenant.make(fields)).rejects(new TenantExists({ tenantKey }))
  })
  it("is suspended and activated, and a repeat changes nothing", () => {
    const suspended = TenantSuspended.make({})
    given(tenant, created).when(SuspendTenant.make({})).decides(suspended)
    given(tenant, created, suspended).when(SuspendTenant.make({})).decides()
    given(tenant, created, suspended).when(ActivateTenant.make({})).decides(TenantActivated.make({}))
    given(tenant, created).when(ActivateTenant.make({})).decides()
  })
  it("changes its name and its plan", () => {
    given(tenant, created)
      .when(RenameTenant.make({ displayName: "other" }))
      .decides(TenantRenamed.make({ displayName: "other" }))
    given(tenant, created)
      .when(ChangeTenantPlan.make({ plan: growth }))
      .decides(TenantPlanChanged.make({ plan: growth }))
    given(tenant, created)
      .when(ChangeTenantPlan.make({ plan: starter }))
      .decides()
  })
  it("cannot be changed before it exists", () => {
    for (const command of [SuspendTenant.make({}), ActivateTenant.make({}), ChangeTenantPlan.make({ plan: growth })])
      given(tenant).when(command).rejects(new TenantNotFound())
  })
  it("cannot be changed any more once it is erased", () => {
    const erased = { ...tenant, initialState: { ...given(tenant, created).state!, status: "erased" as const } }
    for (const command of [SuspendTenant.make({}), ActivateTenant.make({}), RenameTenant.make({ displayName: "x" })])
      given(erased).when(command).rejects(new TenantErased())
    given(erased).when(CreateTenant.make(fields)).rejects("TenantExists")
  })
  replays(tenant, TenantEvent)
})

describe("the id that a space chooses", () => {
  const decode = Schema.decodeUnknownOption(ExternalTenantId)
  it("may be any printable text of up to 128 bytes", () => {
    const ids = [
      "018f2c1e-7a6b-7000-8000-0123456789ab",
      "acme-corp",
      "ana@example.com",
      "a/b?c#d %",
      "Ωmega 株式会社",
      "🏭",
      "a".repeat(128),
      "é".repeat(64)
    ]
    for (const id of ids) assert.deepStrictEqual(decode(id), Option.some(id as ExternalTenantId), id)
  })
  it("is the same for what looks the same", () =>
    assert.deepStrictEqual(decode("Cafe\u0301"), Option.some("Caf\u00e9" as ExternalTenantId)))
  it("is refused when it is empty, too long, not printable, or no part of a path", () => {
    const ids = ["", "   ", "a".repeat(129), "é".repeat(65), "a\nb", "a\u0000b", "a\u007fb", "a\u2028b", "\ud800", ".", "..", 7, null]
    for (const id of ids) assert.isTrue(Option.isNone(decode(id)), JSON.stringify(id))
  })
})
