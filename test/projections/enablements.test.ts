import { assert, describe, it } from "vitest"
import { EnablementEvent } from "#domain/enablement.ts"
import { ConnectionId, FlowId, type SpaceKey, type TenantKey } from "#domain/ids.ts"
import { tenantScope } from "#domain/scope.ts"
import { enablements } from "#projections/enablements.ts"
import { project, recorded } from "../support/project.ts"

const { FlowDisabled, FlowEnabled } = EnablementEvent.cases
const scope = tenantScope("saaaabbbbccccddddeee" as SpaceKey, "taaaabbbbccccddddeee" as TenantKey)
const flowId = FlowId.make("orders")
const erp = ConnectionId.make("erp.aaaaaaaaaaaaaaaa")
const enabled = (version: number | null) => FlowEnabled.make({ flowId, version, bindings: { erp } })
const viewed = (...events: ReadonlyArray<EnablementEvent>) =>
  project(enablements, recorded(scope, "enablement-self", events))[`${scope.key}/${flowId}`]

describe("the enablements view", () => {
  it("shows since when a flow is on, and in which version", () => {
    assert.deepStrictEqual(viewed(enabled(null)), {
      flowId,
      status: "enabled",
      version: null,
      bindings: { erp },
      enabledAt: 1_000,
      changedAt: 1_000
    })
    assert.deepInclude(viewed(enabled(null), enabled(2)), { version: 2, enabledAt: 1_000, changedAt: 1_001 })
  })
  it("keeps a flow that is off, and counts anew when it is on again", () => {
    const off = FlowDisabled.make({ flowId })
    assert.deepInclude(viewed(enabled(1), off), { status: "disabled", changedAt: 1_001 })
    assert.deepInclude(viewed(enabled(1), off, enabled(1)), { status: "enabled", enabledAt: 1_002 })
  })
  it("wants every event of an enablement", () =>
    assert.deepStrictEqual([...enablements.events].sort(), Object.keys(EnablementEvent.cases).sort()))
})
