import { assert, describe, it } from "vitest"
import { contentRef } from "#domain/content.ts"
import {
  FlowCommand,
  FlowDraftChanged,
  FlowEvent,
  FlowNotFound,
  flow,
  flowVersionsMax,
  latestVersion,
  TooManyFlowVersions
} from "#domain/flow.ts"
import { ConnectorId, FlowId } from "#domain/ids.ts"
import { given } from "../support/given.ts"
import { replays } from "../support/replays.ts"

const command = FlowCommand.cases
const event = FlowEvent.cases
const flowId = FlowId.make("orders-to-erp")
const text = (contentHash: string) => ({ document: contentRef("flow-orders-to-erp", contentHash), contentHash })
const trigger = { connectorId: ConnectorId.make("shop"), event: "orders/create" }
const drafted = (hash: string) => event.FlowDrafted.make({ flowId, ...text(hash) })
const published = (version: number, hash: string) => event.FlowPublished.make({ flowId, version, ...text(hash), trigger, steps: 2 })
const publish = (contentHash: string) => command.PublishFlow.make({ flowId, contentHash, trigger, steps: 2 })

describe("a flow", () => {
  it("keeps a draft, and the same again changes nothing", () => {
    given(flow)
      .when(command.DraftFlow.make({ flowId, ...text("a") }))
      .decides(drafted("a"))
    given(flow, drafted("a"))
      .when(command.DraftFlow.make({ flowId, ...text("a") }))
      .decides()
  })
  it("publishes the draft as the next version, and an identical one not again", () => {
    given(flow, drafted("a")).when(publish("a")).decides(published(1, "a"))
    given(flow, drafted("a"), published(1, "a")).when(publish("a")).decides()
    given(flow, drafted("a"), published(1, "a"), drafted("b")).when(publish("b")).decides(published(2, "b"))
  })
  it("goes back to an older document by publishing it as a new version", () =>
    given(flow, drafted("a"), published(1, "a"), drafted("b"), published(2, "b"), drafted("a"))
      .when(publish("a"))
      .decides(published(3, "a")))
  it("publishes only what was checked", () => {
    given(flow, drafted("a"), drafted("b")).when(publish("a")).rejects(new FlowDraftChanged({ flowId }))
    given(flow).when(publish("a")).rejects(new FlowNotFound({ flowId }))
  })
  it("has no newest version once it is archived, until it is published again", () => {
    const archived = event.FlowArchived.make({ flowId })
    given(flow, drafted("a"), published(1, "a")).when(command.ArchiveFlow.make({ flowId })).decides(archived)
    given(flow, drafted("a"), archived).when(command.ArchiveFlow.make({ flowId })).decides()
    given(flow).when(command.ArchiveFlow.make({ flowId })).rejects("FlowNotFound")
    assert.isUndefined(latestVersion(given(flow, drafted("a"), published(1, "a"), archived).state))
    given(flow, drafted("a"), published(1, "a"), archived).when(publish("a")).decides(published(2, "a"))
    assert.strictEqual(latestVersion(given(flow, drafted("a"), published(1, "a"), archived, published(2, "a")).state), 2)
  })
  it("has a bounded number of versions", () => {
    const many = Array.from({ length: flowVersionsMax }, (_, index) => published(index + 1, `v${index}`))
    given(flow, ...many, drafted("new"))
      .when(publish("new"))
      .rejects(new TooManyFlowVersions({ flowId, limit: flowVersionsMax }))
  })
  replays(flow, FlowEvent)
})
