import { assert, describe, it } from "vitest"
import { EndpointEvent } from "#domain/endpoint.ts"
import { ConnectorId, EndpointId, type SpaceKey, type TenantKey } from "#domain/ids.ts"
import { tenantScope } from "#domain/scope.ts"
import { endpoints } from "#projections/endpoints.ts"
import { project, recorded } from "../support/project.ts"

const event = EndpointEvent.cases
const scope = tenantScope("saaaabbbbccccddddeee" as SpaceKey, "taaaabbbbccccddddeee" as TenantKey)
const endpointId = EndpointId.make(`${scope.key}abcdefghijklmnop`)
const secret = (number: number) => ({ field: `secret-${number}`, version: 1, fingerprint: `f${number}` })
const created = event.EndpointCreated.make({ endpointId, connectorId: ConnectorId.make("shop"), secrets: [secret(1)] })
const viewed = (...events: ReadonlyArray<EndpointEvent>) =>
  project(endpoints, recorded(scope, "endpoint-abcdefghijklmnop", events))[`${scope.key}/${endpointId}`]

describe("the endpoints view", () => {
  it("shows an endpoint and its secrets by fingerprint", () =>
    assert.deepStrictEqual(viewed(created), {
      endpointId,
      connectorId: ConnectorId.make("shop"),
      connectionId: null,
      status: "active",
      secrets: [secret(1)],
      revision: 0,
      createdAt: 1_000,
      changedAt: 1_000
    }))
  it("follows its secrets, and keeps a removed one without any", () => {
    const rotated = event.EndpointSecretRotated.make({ endpointId, secret: secret(2) })
    const dropped = event.EndpointSecretRemoved.make({ endpointId, field: "secret-1" })
    assert.deepInclude(viewed(created, rotated), { secrets: [secret(1), secret(2)] })
    assert.deepInclude(viewed(created, rotated, dropped), { secrets: [secret(2)], revision: 2, changedAt: 1_002 })
    assert.deepInclude(viewed(created, event.EndpointRemoved.make({ endpointId })), { status: "removed", secrets: [] })
  })
  it("wants every event of an endpoint", () =>
    assert.deepStrictEqual([...endpoints.events].sort(), Object.keys(EndpointEvent.cases).sort()))
})
