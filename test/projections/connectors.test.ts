import { assert, describe, it } from "vitest"
import { ConnectorEvent } from "#domain/connector.ts"
import { contentRef } from "#domain/content.ts"
import { ConnectorId, type SpaceKey } from "#domain/ids.ts"
import { spaceScope } from "#domain/scope.ts"
import { connectors } from "#projections/connectors.ts"
import { project, recorded } from "../support/project.ts"

const { ConnectorPublished } = ConnectorEvent.cases
const scope = spaceScope("saaaabbbbccccddddeee" as SpaceKey)
const published = (version: number, name: string) =>
  ConnectorPublished.make({
    connectorId: ConnectorId.make("erp"),
    name,
    manifest: contentRef("connector-erp", `manifest-${version}`),
    contentHash: `hash-${version}`,
    version
  })

describe("the connectors view", () => {
  it("shows the newest version, and since when there is one", () =>
    assert.deepStrictEqual(
      project(connectors, recorded(scope, "connector-erp", [published(1, "Erp"), published(2, "ERP")]))[`${scope.key}/erp`],
      {
        connectorId: "erp",
        name: "ERP",
        version: 2,
        contentHash: "hash-2",
        createdAt: 1_000,
        publishedAt: 1_001
      }
    ))
  it("wants every event of a connector", () =>
    assert.deepStrictEqual([...connectors.events].sort(), Object.keys(ConnectorEvent.cases).sort()))
})
