import { assert, describe, it } from "vitest"
import { EnablementCommand, EnablementEvent, enabledFlow, enabledFlowsMax, enablement, TooManyFlowsEnabled } from "#domain/enablement.ts"
import { ConnectionId, FlowId } from "#domain/ids.ts"
import { given } from "../support/given.ts"
import { replays } from "../support/replays.ts"

const { DisableFlow, EnableFlow } = EnablementCommand.cases
const { FlowDisabled, FlowEnabled } = EnablementEvent.cases
const flowId = FlowId.make("orders-to-erp")
const erp = ConnectionId.make("erp.aaaaaaaaaaaaaaaa")
const enabled = FlowEnabled.make({ flowId, version: null, bindings: { erp } })

describe("an enablement", () => {
  it("turns a flow on, and a repeat changes nothing", () => {
    given(enablement)
      .when(EnableFlow.make({ flowId, version: null, bindings: { erp } }))
      .decides(enabled)
    given(enablement, enabled)
      .when(EnableFlow.make({ flowId, version: null, bindings: { erp } }))
      .decides()
  })
  it("changes version and bindings", () => {
    for (const change of [
      { flowId, version: 2, bindings: { erp } },
      { flowId, version: null, bindings: {} },
      { flowId, version: null, bindings: { erp, shop: erp } }
    ])
      given(enablement, enabled).when(EnableFlow.make(change)).decides(FlowEnabled.make(change))
  })
  it("turns it off, also when it never was on", () => {
    given(enablement, enabled).when(DisableFlow.make({ flowId })).decides(FlowDisabled.make({ flowId }))
    given(enablement).when(DisableFlow.make({ flowId })).decides()
  })
  it("has a bounded number of flows on", () => {
    const full = Array.from({ length: enabledFlowsMax }, (_, index) =>
      FlowEnabled.make({ flowId: FlowId.make(`flow-${index}`), version: null, bindings: {} })
    )
    given(enablement, ...full)
      .when(EnableFlow.make({ flowId, version: null, bindings: {} }))
      .rejects(new TooManyFlowsEnabled({ limit: enabledFlowsMax }))
  })
  it("knows nothing of a flow that is named like a part of JavaScript", () => {
    for (const name of ["constructor", "valueof", "tostring"]) assert.isUndefined(enabledFlow(given(enablement).state, FlowId.make(name)))
    given(enablement)
      .when(EnableFlow.make({ flowId: FlowId.make("constructor"), version: null, bindings: {} }))
      .decides(FlowEnabled.make({ flowId: FlowId.make("constructor"), version: null, bindings: {} }))
  })
  replays(enablement, EnablementEvent)
})
