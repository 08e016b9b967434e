/** `doctor` on a distributed installation: what is there is described, what is wrong is named, and one server that is down hides nothing. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { VaultDatabase } from "#adapters/mongodb/vault-database.ts"
import { masterKeyId } from "#adapters/node/master-key.ts"
import type { FoundKey } from "#infra/cli/doctor-checks.ts"
import { checkServers } from "#infra/cli/doctor-servers.ts"
import type { ServerAddress, Servers } from "#infra/config.ts"
import { masterKeyLayer } from "../../adapters/installation.ts"
import { EventStoreStandIn } from "../../support/event-store.ts"
import { standIn } from "../../support/mongodb.ts"
import { installedVersion, type NatsServer, startNatsServer } from "../../support/nats-server.ts"

const masterKey = new Uint8Array(32).fill(7)
const key: FoundKey = { id: masterKeyId(masterKey), key: masterKey, where: "the test" }
const address = (url: string): ServerAddress => ({ url: Redacted.make(url), credentialsFile: Option.none() })
const journalId = "7d7f5a9e-0000-4000-8000-000000000002"

describe.skipIf(installedVersion === undefined)("doctor, of a distributed installation", () => {
  const mongodb = standIn({ replicaSet: "rs0" })
  let store: EventStoreStandIn
  let nats: NatsServer
  let servers: Servers
  beforeAll(async () => {
    store = await EventStoreStandIn.start()
    nats = await startNatsServer()
    servers = {
      journal: address(store.url),
      bus: address(nats.url),
      readModels: address(`${mongodb.url()}/doctor_views?replicaSet=rs0`),
      vault: address(`${mongodb.url()}/doctor_vault?replicaSet=rs0`),
      mongodbCaFile: Option.none(),
      vaultReplicaSet: "required"
    }
  })
  afterAll(async () => {
    await store.stop()
    await nats.remove()
  })
  const look = async (changed: Partial<Servers> = {}, found: FoundKey = key): Promise<Readonly<Record<string, string>>> => {
    const checks = await Effect.runPromise(checkServers({ ...servers, ...changed }, found))
    return Object.fromEntries(checks.map(({ check, status, detail }) => [check, `${status}: ${detail}`]))
  }
  const makeVault = () =>
    Effect.runPromise(
      Effect.provide(
        Effect.asVoid(VaultDatabase),
        VaultDatabase.layer({ url: servers.vault.url, journalId }).pipe(Layer.provide(masterKeyLayer(masterKey)))
      )
    )

  it("makes nothing of an empty one, and does not call it wrong", async () => {
    const checks = await look()
    assert.match(checks["master key"]!, /^unknown: The vault is empty/u)
    assert.match((await look())["master key"]!, /^unknown: The vault is empty/u)
  })
  it("says of each server what and where it is", async () => {
    await makeVault()
    const checks = await look()
    assert.match(checks["journal"]!, new RegExp(`^ok: EventStoreDB \\d+\\.\\S+ at 127\\.0\\.0\\.1:${store.port}`, "u"))
    assert.match(checks["bus"]!, new RegExp(`^ok: NATS ${installedVersion} at 127\\.0\\.0\\.1:${nats.port}`, "u"))
    assert.match(checks["work queue"]!, /^ok: It is not there/u)
    assert.match(checks["vault"]!, /^ok: MongoDB \S+ at \S+\/doctor_vault: replica set rs0\.$/u)
    assert.match(checks["views"]!, /^ok: MongoDB \S+ at \S+\/doctor_views: replica set rs0\.$/u)
    assert.match(checks["master key"]!, /^ok: It fits the vault/u)
    for (const name of ["journal", "bus", "vault", "views"]) assert.match(checks[`${name} TLS`]!, /^ok: Not encrypted, and does not leave/u)
  })
  it("names another master key, and one that cannot be read", async () => {
    assert.match((await look({}, { id: "ffff", key: new Uint8Array(32), where: "" }))["master key"]!, /^failed: .*the one given is ffff/u)
    assert.match((await look({}, { refused: "It is missing." }))["master key"]!, /^failed: It is missing/u)
  })
  it("finds a vault that is named as views", async () => {
    await makeVault()
    assert.match((await look({ readModels: servers.vault }))["views"]!, /^failed: .*it holds the vault of the journal/u)
  })
  it("names each server that is down, without its credentials, and still looks at the others", async () => {
    const down = await look({
      bus: address("nats://u:secret@127.0.0.1:1"),
      readModels: address("mongodb://u:secret@127.0.0.1:1/views")
    })
    assert.match(down["bus"]!, /^failed: NATS at 127\.0\.0\.1:1 cannot be used/u)
    assert.match(down["views"]!, /^failed: .*127\.0\.0\.1:1\/views/u)
    assert.match(down["journal"]!, /^ok/u)
    assert.match(down["vault"]!, /^ok/u)
    assert.notInclude(JSON.stringify(down), "secret@")
  })
  it("names a journal that is down", async () => {
    await store.stop()
    assert.match((await look())["journal"]!, /^failed: .*127\.0\.0\.1/u)
  })
})
