import * as Schema from "effect/Schema"
import { assert, describe, it } from "vitest"
import { ConnectionId } from "#domain/ids.ts"
import {
  ConnectionExists,
  ConnectionNotFound,
  chosen,
  connectionsMax,
  connectorOf,
  IntegrationCommand,
  IntegrationEvent,
  integration,
  TooManyConnections
} from "#domain/integration.ts"
import { given } from "../support/given.ts"
import { property } from "../support/property.ts"
import { replays } from "../support/replays.ts"

const command = IntegrationCommand.cases
const event = IntegrationEvent.cases
const first = ConnectionId.make("erp.aaaaaaaaaaaaaaaa")
const second = ConnectionId.make("erp.bbbbbbbbbbbbbbbb")
const key = (version: number, fingerprint = `f${version}`) => [{ field: "apiKey", version, fingerprint }]
const authorized = event.ConnectionAuthorized.make({ connectionId: first, method: "apiKey", secrets: key(1) })
const other = event.ConnectionAuthorized.make({ connectionId: second, method: "apiKey", secrets: key(1) })
const broken = event.ConnectionBroken.make({ connectionId: first, reason: "401" })
const revoked = event.ConnectionRevoked.make({ connectionId: first, reason: "gone" })

describe("an integration", () => {
  it("authorizes a connection once", () => {
    const authorize = command.AuthorizeConnection.make({ connectionId: first, method: "apiKey", secrets: key(1) })
    given(integration).when(authorize).decides(authorized)
    given(integration, authorized).when(authorize).decides()
    given(integration, authorized)
      .when({ ...authorize, secrets: key(2) })
      .rejects(new ConnectionExists({ connectionId: first }))
  })
  it("has a bounded number of connections", () => {
    const full = Array.from({ length: connectionsMax }, (_, index) =>
      event.ConnectionAuthorized.make({
        connectionId: ConnectionId.make(`erp.${String.fromCharCode(97 + (index % 26), 97 + Math.floor(index / 26))}${"a".repeat(14)}`),
        method: "apiKey",
        secrets: key(1)
      })
    )
    given(integration, ...full)
      .when(
        command.AuthorizeConnection.make({ connectionId: ConnectionId.make("erp.zzzzzzzzzzzzzzzz"), method: "apiKey", secrets: key(1) })
      )
      .rejects(new TooManyConnections({ limit: connectionsMax }))
  })
  it("rotates secrets, which repairs what was broken", () => {
    const rotate = command.RotateConnectionSecrets.make({ connectionId: first, secrets: key(2) })
    const rotated = event.ConnectionSecretsRotated.make({ connectionId: first, secrets: key(2) })
    given(integration, authorized).when(rotate).decides(rotated)
    given(integration, authorized, rotated).when(rotate).decides()
    given(integration, authorized, broken)
      .when(rotate)
      .decides(rotated, event.ConnectionRepaired.make({ connectionId: first }))
    given(integration)
      .when(rotate)
      .rejects(new ConnectionNotFound({ connectionId: first }))
  })
  it("is declared broken once, and not by credentials that were replaced meanwhile", () => {
    const breaks = command.BreakConnection.make({ connectionId: first, generation: 1, reason: "401" })
    given(integration, authorized).when(breaks).decides(broken)
    given(integration, authorized, broken).when(breaks).decides()
    const rotated = event.ConnectionSecretsRotated.make({ connectionId: first, secrets: key(2) })
    given(integration, authorized, rotated).when(breaks).decides()
    given(integration, authorized, rotated)
      .when({ ...breaks, generation: 2 })
      .decides(broken)
  })
  it("is repaired only when it is broken", () => {
    const repair = command.RepairConnection.make({ connectionId: first })
    given(integration, authorized).when(repair).decides()
    given(integration, authorized, broken)
      .when(repair)
      .decides(event.ConnectionRepaired.make({ connectionId: first }))
  })
  it("revokes for good, and a repeat is no error", () => {
    const revoke = command.RevokeConnection.make({ connectionId: first, reason: "gone" })
    given(integration, authorized).when(revoke).decides(revoked)
    given(integration, authorized, revoked).when(revoke).decides()
    given(integration, authorized, revoked)
      .when(command.MakeConnectionDefault.make({ connectionId: first }))
      .rejects("ConnectionNotFound")
  })
  it("chooses the default, else the only one, else nothing", () => {
    const preferred = event.ConnectionMadeDefault.make({ connectionId: second })
    assert.deepStrictEqual(chosen(given(integration).state), { kind: "none" })
    assert.deepStrictEqual(chosen(given(integration, authorized).state), { kind: "one", connectionId: first })
    assert.deepStrictEqual(chosen(given(integration, authorized, broken).state), { kind: "one", connectionId: first })
    assert.deepStrictEqual(chosen(given(integration, authorized, other).state), { kind: "ambiguous", connectionIds: [first, second] })
    assert.deepStrictEqual(chosen(given(integration, authorized, other, preferred).state), { kind: "one", connectionId: second })
    assert.deepStrictEqual(chosen(given(integration, authorized, other, revoked).state), { kind: "one", connectionId: second })
  })
  it("names the default that it replaces", () => {
    given(integration, authorized, other, event.ConnectionMadeDefault.make({ connectionId: first }))
      .when(command.MakeConnectionDefault.make({ connectionId: second }))
      .decides(event.ConnectionMadeDefault.make({ connectionId: second, previous: first }))
  })
  it("is told by its connections' ids", () => assert.strictEqual(connectorOf(first), "erp"))
  property("never chooses a revoked connection", Schema.Array(IntegrationEvent), (past) => {
    const choice = chosen(given(integration, authorized, ...past, event.ConnectionMadeDefault.make({ connectionId: first }), revoked).state)
    assert.notDeepEqual(choice, { kind: "one", connectionId: first })
  })
  replays(integration, IntegrationEvent)
})
