import { assert, describe, it } from "vitest"
import {
  EndpointCommand,
  EndpointEvent,
  EndpointExists,
  EndpointNotFound,
  EndpointSecretsExhausted,
  endpoint,
  endpointScope,
  endpointSecretsMax,
  endpointStreamId,
  LastEndpointSecret
} from "#domain/endpoint.ts"
import { ConnectorId, EndpointId, SpaceKey, TenantKey } from "#domain/ids.ts"
import { spaceScope, tenantScope } from "#domain/scope.ts"
import { given } from "../support/given.ts"
import { replays } from "../support/replays.ts"

const command = EndpointCommand.cases
const event = EndpointEvent.cases
const endpointId = EndpointId.make("taaaabbbbccccddddeeeabcdefghijklmnop")
const secret = (number: number) => ({ field: `secret-${number}`, version: 1, fingerprint: `f${number}` })
const fields = { endpointId, connectorId: ConnectorId.make("shop"), secrets: [secret(1)] }
const created = event.EndpointCreated.make(fields)
const rotated = (number: number) => event.EndpointSecretRotated.make({ endpointId, secret: secret(number) })
const removed = event.EndpointRemoved.make({ endpointId })

describe("an endpoint", () => {
  it("is created once, and never again under a removed id", () => {
    given(endpoint).when(command.CreateEndpoint.make(fields)).decides(created)
    given(endpoint, created).when(command.CreateEndpoint.make(fields)).decides()
    given(endpoint, created)
      .when(command.CreateEndpoint.make({ ...fields, secrets: [secret(2)] }))
      .rejects(new EndpointExists({ endpointId }))
    given(endpoint, created, removed).when(command.CreateEndpoint.make(fields)).rejects("EndpointExists")
  })
  it("keeps the old secret beside the new one until it is removed", () => {
    const add = command.AddEndpointSecret.make({ endpointId, secret: secret(2) })
    given(endpoint, created).when(add).decides(rotated(2))
    given(endpoint, created, rotated(2)).when(add).decides()
    const drop = command.RemoveEndpointSecret.make({ endpointId, field: "secret-1" })
    given(endpoint, created, rotated(2))
      .when(drop)
      .decides(event.EndpointSecretRemoved.make({ endpointId, field: "secret-1" }))
    given(endpoint, created)
      .when(drop)
      .rejects(new LastEndpointSecret({ endpointId, field: "secret-1" }))
  })
  it("has a bounded number of secrets", () => {
    const more = Array.from({ length: endpointSecretsMax - 1 }, (_, index) => rotated(index + 2))
    given(endpoint, created, ...more)
      .when(command.AddEndpointSecret.make({ endpointId, secret: secret(99) }))
      .rejects(new EndpointSecretsExhausted({ endpointId, limit: endpointSecretsMax }))
  })
  it("is removed, and a repeat changes nothing", () => {
    const remove = command.RemoveEndpoint.make({ endpointId })
    given(endpoint, created).when(remove).decides(removed)
    given(endpoint, created, removed).when(remove).decides()
    given(endpoint).when(remove).rejects(new EndpointNotFound({ endpointId }))
  })
  it("is found from its id alone: the scope's key, then the stream's", () => {
    const space = SpaceKey.make("saaaabbbbccccddddeee")
    assert.deepStrictEqual(endpointScope(space, endpointId), tenantScope(space, TenantKey.make("taaaabbbbccccddddeee")))
    assert.strictEqual(endpointStreamId(endpointId), "abcdefghijklmnop")
    assert.deepStrictEqual(endpointScope(space, EndpointId.make(`${space}abcdefghijklmnop`)), spaceScope(space))
    assert.isUndefined(endpointScope(space, EndpointId.make("szzzzbbbbccccddddeeeabcdefghijklmnop")))
  })
  replays(endpoint, EndpointEvent)
})
