import { assert, describe, it } from "vitest"
import { contentRef } from "#domain/content.ts"
import { FlowEvent } from "#domain/flow.ts"
import { ConnectorId, FlowId, type SpaceKey } from "#domain/ids.ts"
import { spaceScope } from "#domain/scope.ts"
import { flows } from "#projections/flows.ts"
import { project, recorded } from "../support/project.ts"

const event = FlowEvent.cases
const scope = spaceScope("saaaabbbbccccddddeee" as SpaceKey)
const flowId = FlowId.make("orders")
const trigger = { connectorId: ConnectorId.make("shop"), event: "orders/create" }
const text = (contentHash: string) => ({ document: contentRef("flow-orders", contentHash), contentHash })
const drafted = (hash: string, name?: string) => event.FlowDrafted.make({ flowId, ...(name === undefined ? {} : { name }), ...text(hash) })
const published = (version: number, hash: string) => event.FlowPublished.make({ flowId, version, ...text(hash), trigger, steps: 2 })
const viewed = (...events: ReadonlyArray<FlowEvent>) => project(flows, recorded(scope, "flow-orders", events))[`${scope.key}/${flowId}`]

describe("the flows view", () => {
  it("shows a draft", () =>
    assert.deepStrictEqual(viewed(drafted("a", "Orders")), {
      flowId,
      name: "Orders",
      status: "draft",
      version: 0,
      publishedHash: null,
      draftHash: "a",
      changed: true,
      trigger: null,
      steps: 0,
      createdAt: 1_000,
      changedAt: 1_000,
      publishedAt: null
    }))
  it("shows the published version, and whether the draft is another", () => {
    assert.deepInclude(viewed(drafted("a"), published(1, "a")), {
      status: "published",
      version: 1,
      changed: false,
      trigger,
      steps: 2,
      publishedAt: 1_001
    })
    assert.deepInclude(viewed(drafted("a"), published(1, "a"), drafted("b")), { status: "published", version: 1, changed: true })
    assert.deepInclude(viewed(drafted("a"), published(1, "a"), drafted("b"), drafted("a")), { changed: false })
  })
  it("shows what was archived, until it is published again", () => {
    const archived = event.FlowArchived.make({ flowId })
    assert.deepInclude(viewed(drafted("a"), published(1, "a"), archived), { status: "archived", version: 1 })
    assert.deepInclude(viewed(drafted("a"), published(1, "a"), archived, published(2, "a")), { status: "published", version: 2 })
  })
  it("wants every event of a flow", () => assert.deepStrictEqual([...flows.events].sort(), Object.keys(FlowEvent.cases).sort()))
})
