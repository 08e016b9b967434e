/** The distributed form: identical processes over EventStoreDB, NATS and MongoDB. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { Store } from "#adapters/eventstoredb/driver.ts"
import * as feed from "#adapters/eventstoredb/feed.ts"
import { journal, OpenedJournal } from "#adapters/eventstoredb/journal.ts"
import * as openWork from "#adapters/eventstoredb/open-work.ts"
import * as orphanedContents from "#adapters/eventstoredb/orphaned-contents.ts"
import * as payloads from "#adapters/eventstoredb/payloads.ts"
import { layerNone as ownsNothing } from "#adapters/memory/ownership.ts"
import * as readModels from "#adapters/mongodb/read-models.ts"
import * as vault from "#adapters/mongodb/vault.ts"
import { VaultDatabase } from "#adapters/mongodb/vault-database.ts"
import * as bus from "#adapters/nats/bus.ts"
import { Nats, layer as nats } from "#adapters/nats/connection.ts"
import * as ownership from "#adapters/nats/ownership.ts"
import { prefixOf } from "#adapters/nats/work-stream.ts"
import * as masterKey from "#adapters/node/master-key.ts"
import { allEvents, eventVersions } from "#domain/registry.ts"
import { projections } from "#projections/registry.ts"
import { Journal } from "#services/ports/journal.ts"
import { MasterKey } from "#services/ports/master-key.ts"
import { Ownership } from "#services/ports/ownership.ts"
import * as projectionEngine from "#services/projection-engine.ts"
import type { ProcessSettings, Servers } from "./config.ts"
import { Installation } from "./installation.ts"
import { foundationOver, masterKeyOptions, servicesOver } from "./platform.ts"
import * as relay from "./relay.ts"
import { journalOptions, mongodbOptions, natsOptions } from "./server-options.ts"

/** The vault and the journal know each other by the journal's id: a vault of another journal is refused. */
const opened = Layer.unwrap(
  Effect.map(VaultDatabase, ({ journalId, keys, largeContents }) =>
    OpenedJournal.layer({ journalId, keys, large: largeContents, eventTypes: eventVersions })
  )
)

const installation = ({ role }: ProcessSettings) =>
  Layer.effect(
    Installation,
    Effect.gen(function* () {
      const { endpoint } = yield* Store
      const { facts } = yield* VaultDatabase
      const { facts: busFacts } = yield* Nats
      const { where } = yield* MasterKey
      const { servers, version } = yield* busFacts
      const about = [
        ["Form", `distributed, role ${role}`],
        ["Journal", `EventStoreDB at ${endpoint}`],
        ["Bus", `NATS ${version} at ${servers}`],
        ["Vault", `MongoDB ${facts.version} at ${facts.where}`],
        ["Master key", where]
      ] as const
      return Installation.of({ form: "distributed", dataFolder: null, about, announce: () => Effect.void, lost: Effect.never })
    })
  )

/** Which buckets this process serves: shared among the workers, and none of an API's. */
const owned = ({ role }: ProcessSettings) =>
  role === "api" ? ownsNothing : Layer.unwrap(Effect.map(Journal, ({ journalId }) => ownership.layer({ prefix: prefixOf(journalId) })))

const work = Layer.unwrap(Effect.map(Ownership, ({ changes }) => openWork.layer({ buckets: changes })))
const wakeUps = Layer.unwrap(Effect.map(Journal, ({ journalId }) => bus.layer({ prefix: prefixOf(journalId) })))

/** Of the buckets that this process serves, the owners of contents. */
const collection = ({ role }: ProcessSettings) =>
  role === "api" ? Layer.empty : Layer.unwrap(Effect.map(VaultDatabase, ({ largeContents }) => orphanedContents.layer(largeContents)))

/** Journal, vault and master key, and who works on what. */
const log = (settings: ProcessSettings, servers: Servers) => {
  const stores = Layer.mergeAll(journal, feed.layer, payloads.layer, vault.layer).pipe(
    Layer.provideMerge(opened),
    Layer.provideMerge(
      Layer.mergeAll(
        Store.layer(journalOptions(servers.journal)),
        VaultDatabase.layer({ ...mongodbOptions(servers.vault, servers), replicaSet: servers.vaultReplicaSet }),
        nats(natsOptions(servers.bus, `tributary ${settings.role}`))
      )
    ),
    Layer.provideMerge(masterKey.layer({ ...masterKeyOptions(settings), mayMake: false }))
  )
  return Layer.mergeAll(installation(settings), work, collection(settings)).pipe(
    Layer.provideMerge(owned(settings)),
    Layer.provideMerge(stores)
  )
}

const views = ({ role }: ProcessSettings, servers: Servers) =>
  projectionEngine
    .layer(projections, allEvents, { shared: true, follows: role !== "api" })
    .pipe(
      Layer.provide(
        Layer.unwrap(
          Effect.map(Journal, ({ journalId }) => readModels.layer({ ...mongodbOptions(servers.readModels, servers), journalId }))
        )
      )
    )

/** Enough for `keys reset`. */
export const foundation = (settings: ProcessSettings, servers: Servers) => foundationOver(log(settings, servers), settings)

const told = ({ relay: address, role }: ProcessSettings) =>
  Option.isSome(address) && role !== "api" ? relay.layer(address.value) : Layer.empty

/** Everything except HTTP. */
export const layer = (settings: ProcessSettings, servers: Servers) =>
  told(settings).pipe(
    Layer.provideMerge(
      servicesOver(Layer.mergeAll(views(settings, servers), wakeUps).pipe(Layer.provideMerge(log(settings, servers))), settings)
    )
  )
