import { assert, describe, it } from "vitest"
import { ConnectionId, ConnectorId, type SpaceKey, type TenantKey } from "#domain/ids.ts"
import { IntegrationEvent } from "#domain/integration.ts"
import { tenantScope } from "#domain/scope.ts"
import { connections } from "#projections/connections.ts"
import { project, recorded } from "../support/project.ts"

const event = IntegrationEvent.cases
const scope = tenantScope("saaaabbbbccccddddeee" as SpaceKey, "taaaabbbbccccddddeee" as TenantKey)
const first = ConnectionId.make("erp.aaaaaaaaaaaaaaaa")
const second = ConnectionId.make("erp.bbbbbbbbbbbbbbbb")
const key = (version: number) => ({ field: "apiKey", version, fingerprint: `f${version}` })
const authorized = (connectionId: ConnectionId) =>
  event.ConnectionAuthorized.make({ connectionId, method: "apiKey", secrets: [key(1)], label: "sealed-label" })
const viewed = (...events: ReadonlyArray<IntegrationEvent>) => project(connections, recorded(scope, "integration-erp", events))
const of = (id: ConnectionId) => `${scope.key}/${id}`

describe("the connections view", () => {
  it("shows what is connected, with names sealed", () =>
    assert.deepStrictEqual(viewed(authorized(first))[of(first)], {
      connectionId: first,
      connectorId: ConnectorId.make("erp"),
      method: "apiKey",
      label: "sealed-label",
      variables: null,
      status: "active",
      isDefault: false,
      reason: null,
      secrets: [key(1)],
      revision: 0,
      connectedAt: 1_000,
      changedAt: 1_000
    }))
  it("has one default at a time", () => {
    const shown = viewed(
      authorized(first),
      authorized(second),
      event.ConnectionMadeDefault.make({ connectionId: first }),
      event.ConnectionMadeDefault.make({ connectionId: second, previous: first })
    )
    assert.deepInclude(shown[of(first)], { isDefault: false, revision: 2 })
    assert.deepInclude(shown[of(second)], { isDefault: true, revision: 1 })
  })
  it("shows what is broken and why, until it is repaired", () => {
    const broken = event.ConnectionBroken.make({ connectionId: first, reason: "401" })
    assert.deepInclude(viewed(authorized(first), broken)[of(first)], { status: "broken", reason: "401" })
    const rotated = event.ConnectionSecretsRotated.make({ connectionId: first, secrets: [key(2)] })
    const repaired = event.ConnectionRepaired.make({ connectionId: first })
    assert.deepInclude(viewed(authorized(first), broken, rotated, repaired)[of(first)], {
      status: "active",
      reason: null,
      secrets: [key(2)]
    })
  })
  it("keeps what was revoked, without its secrets", () => {
    const revoked = event.ConnectionRevoked.make({ connectionId: first, reason: "gone" })
    assert.deepInclude(viewed(authorized(first), revoked)[of(first)], { status: "revoked", reason: "gone", secrets: [] })
  })
  it("wants every event of an integration that is about a connection", () =>
    assert.deepStrictEqual([...connections.events, "WaitingRunsReleased"].sort(), Object.keys(IntegrationEvent.cases).sort()))
})
