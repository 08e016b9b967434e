/** Both sides of a move, opened: the stopped data folder, and the four servers that are to take over. */
import { existsSync } from "node:fs"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { Connection } from "#adapters/eventstoredb/connection.ts"
import { Store } from "#adapters/eventstoredb/driver.ts"
import { MoveTarget } from "#adapters/eventstoredb/move-target.ts"
import { inspect, open } from "#adapters/mongodb/connection.ts"
import { VaultTarget } from "#adapters/mongodb/move-target.ts"
import { Nats, layer as natsLayer } from "#adapters/nats/connection.ts"
import * as masterKey from "#adapters/node/master-key.ts"
import { DataFolder } from "#adapters/sqlite/data-folder.ts"
import { MoveSource } from "#adapters/sqlite/move-source.ts"
import { eventVersions } from "#domain/registry.ts"
import { MasterKey } from "#services/ports/master-key.ts"
import type { ProcessSettings, Servers } from "../config.ts"
import { masterKeyOptions } from "../platform.ts"
import { journalOptions, mongodbOptions, natsOptions } from "../server-options.ts"
import { MoveFailed } from "./failure.ts"

/** The folder's lock is held and the master key found as long as this is provided. */
export const holding = (settings: ProcessSettings) => {
  const held = Layer.merge(DataFolder.layer(settings.dataFolder), masterKey.layer(masterKeyOptions(settings)))
  return Layer.unwrap(
    Effect.suspend(() =>
      ["journal.db", "vault.db"].every((file) => existsSync(join(settings.dataFolder, file)))
        ? Effect.succeed(held)
        : Effect.fail(new MoveFailed({ reason: `${settings.dataFolder} holds no installation. Nothing was done. Correct --data.` }))
    )
  )
}

export const openSource = Effect.gen(function* () {
  const { journalFile, vaultFile } = yield* DataFolder
  const { id: masterKeyId, key } = yield* MasterKey
  const options = { journalFile, vaultFile, masterKey: Redacted.value(key), masterKeyId, eventTypes: eventVersions }
  return yield* Effect.acquireRelease(
    Effect.try({ try: () => new MoveSource(options), catch: (cause) => new MoveFailed({ reason: (cause as Error).message, cause }) }),
    (source) => Effect.sync(() => source.close())
  )
})

/** All four answer, and are fit for it. Nothing is written to any of them. */
export const openServers = Effect.fnUntraced(function* (servers: Servers) {
  const { id: masterKeyId, key } = yield* MasterKey
  const vaultDatabase = yield* open(mongodbOptions(servers.vault, servers), "vault", { replicaSet: servers.vaultReplicaSet })
  const views = yield* inspect(mongodbOptions(servers.readModels, servers), "views")
  if (views.where === vaultDatabase.facts.where)
    return yield* new MoveFailed({
      reason: `TRIBUTARY_READ_MODELS and TRIBUTARY_VAULT name the same database (${views.where}). Nothing was changed. Give the vault one of its own.`
    })
  const driver = yield* Store
  const { servers: bus } = yield* Nats
  const connection = yield* Effect.acquireRelease(
    Effect.sync(() => Connection.open(journalOptions(servers.journal))),
    (opened) => Effect.promise(() => opened.close())
  )
  const vault = new VaultTarget(vaultDatabase.db, Redacted.value(key), masterKeyId)
  const stores = { keys: vault.keys, large: vault.largeContents }
  const where = {
    journal: `EventStoreDB at ${driver.endpoint}`,
    bus: `NATS at ${bus}`,
    readModels: `MongoDB at ${views.where}`,
    vault: `MongoDB at ${vaultDatabase.facts.where}`
  }
  return { driver, stores, target: new MoveTarget(driver, connection, stores), vault, where }
})

export type OpenedServers = Effect.Success<ReturnType<typeof openServers>>

export const reaching = (servers: Servers) =>
  Layer.merge(Store.layer(journalOptions(servers.journal)), natsLayer(natsOptions(servers.bus, "tributary move")))
