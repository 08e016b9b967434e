import { describe, it } from "vitest"
import { ConnectorCommand, ConnectorEvent, connector } from "#domain/connector.ts"
import { contentRef } from "#domain/content.ts"
import { ConnectorId } from "#domain/ids.ts"
import { given } from "../support/given.ts"
import { replays } from "../support/replays.ts"

const { PublishConnector } = ConnectorCommand.cases
const { ConnectorPublished } = ConnectorEvent.cases
const erp = ConnectorId.make("erp")
const published = (contentHash: string) => ({
  connectorId: erp,
  name: "ERP",
  manifest: contentRef("connector-erp", contentHash),
  contentHash
})

describe("a connector", () => {
  it("gets a version with each manifest", () => {
    given(connector)
      .when(PublishConnector.make(published("a")))
      .decides(ConnectorPublished.make({ ...published("a"), version: 1 }))
    given(connector, ConnectorPublished.make({ ...published("a"), version: 1 }))
      .when(PublishConnector.make(published("b")))
      .decides(ConnectorPublished.make({ ...published("b"), version: 2 }))
  })
  it("stays as it is when the same manifest is published again", () => {
    const again = { ...published("a"), manifest: contentRef("connector-erp", "elsewhere") }
    given(connector, ConnectorPublished.make({ ...published("a"), version: 1 }))
      .when(PublishConnector.make(again))
      .decides()
  })
  replays(connector, ConnectorEvent)
})
