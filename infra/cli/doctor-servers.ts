/** What can be seen of a distributed installation from its servers: each is asked who it is. Changes nothing. */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { probe } from "#adapters/eventstoredb/driver.ts"
import { contactRefusal, type Database, type DatabaseFacts, open, type Purpose } from "#adapters/mongodb/connection.ts"
import { inTime } from "#adapters/mongodb/failure.ts"
import { type Identities, identitiesOf, notViews } from "#adapters/mongodb/identities.ts"
import { Nats, layer as natsLayer } from "#adapters/nats/connection.ts"
import { prefixOf, workStreamName } from "#adapters/nats/work-stream.ts"
import { isMasterKey } from "#adapters/sealing/wrapped-keys.ts"
import type { ServerAddress, Servers } from "../config.ts"
import { journalOptions, mongodbOptions, natsOptions } from "../server-options.ts"
import type { Check, Finding, FoundKey } from "./doctor-checks.ts"
import { bytes } from "./output.ts"

const finding = (check: string, status: Finding["status"], detail: string): Check => ({ check, status, detail })

/** Said, so that silence about it is not taken for health. */
export const notCheckableOfServers: ReadonlyArray<Check> = [
  finding(
    "vendors",
    "unknown",
    "Whether connections still work is not tried: it would call out. See: tributary runs list --status parked --tenant <tenant>"
  ),
  finding(
    "disks",
    "unknown",
    "How full the servers' disks are, and whether they flush what they acknowledge, only their own tools can say."
  ),
  finding("processes", "unknown", "Which processes of this installation run elsewhere is not asked: see tributary_uptime_seconds of each."),
  finding("backups", "unknown", "Whether copies of the journal, the vault and the master key exist elsewhere cannot be seen from here.")
]

const loopback = new Set(["localhost", "127.0.0.1", "[::1]", "::1"])
const isLocal = (endpoint: string): boolean => endpoint.split(",").every((host) => loopback.has(host.trim().replace(/:\d+$/u, "")))

/** What is said unencrypted over a network can be read, and changed, by whoever is on the way. */
const encryption = (check: string, encrypted: boolean, where: string): ReadonlyArray<Check> =>
  encrypted
    ? [finding(`${check} TLS`, "ok", "The connection is encrypted.")]
    : [
        isLocal(where)
          ? finding(`${check} TLS`, "ok", "Not encrypted, and does not leave this machine.")
          : finding(
              `${check} TLS`,
              "warning",
              `The connection to ${where} is not encrypted. See "TLS and credentials" in docs/operations.md.`
            )
      ]

const said = (check: string) => (refused: { readonly message: string }) =>
  Effect.succeed<ReadonlyArray<Check>>([finding(check, "failed", refused.message)])

const checkJournal = (address: ServerAddress): Effect.Effect<ReadonlyArray<Check>> =>
  probe(journalOptions(address)).pipe(
    Effect.map(({ endpoint, version, leader }) => [
      finding("journal", "ok", `EventStoreDB ${version} at ${endpoint}${leader === null ? "; it names no leader" : `, led by ${leader}`}.`),
      ...encryption("journal", !/[?&]tls=false(?:&|$)/iu.test(Redacted.value(address.url)), endpoint)
    ]),
    Effect.catch(said("journal"))
  )

const queueNotFound = "It is not there; the first worker that starts makes it."
/** Of what the server lets its account store, so much may be used. */
const storageShareMax = 0.8

const checkBus = (address: ServerAddress, journalId: string | null): Effect.Effect<ReadonlyArray<Check>> =>
  Effect.gen(function* () {
    const { facts, streams } = yield* Nats
    const { servers, version, encrypted, storageBytes, storageBytesMax } = yield* facts
    const full =
      storageBytes !== null && storageBytesMax !== null && storageBytesMax > 0 && storageBytes / storageBytesMax > storageShareMax
    const storage = storageBytes === null ? "" : `, ${bytes(storageBytes)} stored`
    const found: Array<Check> = [
      finding(
        "bus",
        full ? "warning" : "ok",
        `NATS ${version} at ${servers}${storage}${full ? `, of ${bytes(storageBytesMax!)} at most` : ""}.`
      ),
      ...encryption("bus", encrypted, servers)
    ]
    if (journalId === null) return found
    const queue = yield* Effect.promise(() => streams.streams.info(workStreamName(prefixOf(journalId))).catch(() => null))
    const detail =
      queue === null
        ? queueNotFound
        : `${queue.state.messages} announcements wait; ${queue.config.num_replicas} copy or copies of the queue.`
    return [...found, finding("work queue", "ok", detail)]
  }).pipe(Effect.provide(natsLayer(natsOptions(address, "tributary doctor"))), Effect.scoped, Effect.catch(said("bus")))

const serverSaid = (name: string, { version, where, replicaSet, sharded }: DatabaseFacts): string =>
  `MongoDB ${version} at ${where}: ${sharded ? "a sharded cluster" : replicaSet === null ? "a single server" : `replica set ${replicaSet}`}${name}.`

interface Looked {
  readonly database: Database
  readonly identities: Identities
}
const look = (address: ServerAddress, servers: Servers, purpose: Purpose) =>
  Effect.gen(function* () {
    const database = yield* open(mongodbOptions(address, servers), purpose, { replicaSet: "optional" })
    const identities = yield* Effect.tryPromise({
      try: () => inTime(() => identitiesOf(database.db)),
      catch: contactRefusal(database.facts, purpose)
    })
    return { database, identities } satisfies Looked
  }).pipe(Effect.scoped)

const vaultServer = ({ database: { facts } }: Looked, { vaultReplicaSet }: Servers): Check => {
  if (facts.transactions) return finding("vault", "ok", serverSaid("", facts))
  return vaultReplicaSet === "required"
    ? finding(
        "vault",
        "failed",
        `${serverSaid("", facts)} A start refuses it: give a replica set, or set TRIBUTARY_VAULT_REPLICA_SET=optional.`
      )
    : finding("vault", "warning", `${serverSaid("", facts)} Its disk is the only copy of all keys.`)
}

const vaultKey = ({ identities: { vault, others } }: Looked, key: FoundKey): Check => {
  if (vault === null)
    return others.length === 0
      ? finding("master key", "unknown", "The vault is empty; the first start makes it for the key that it is given.")
      : finding(
          "master key",
          "failed",
          "The database of TRIBUTARY_VAULT holds something, but no vault. Name an empty one, or restore the vault's backup."
        )
  if ("refused" in key) return finding("master key", "failed", key.refused)
  return isMasterKey(key.key, key.id, vault.masterKeyId, vault.masterKeyCheck)
    ? finding("master key", "ok", `It fits the vault (${key.where}).`)
    : finding(
        "master key",
        "failed",
        `The vault's keys are wrapped by the master key ${vault.masterKeyId}, and the one given is ${key.id}. Give that one.`
      )
}

const viewsChecks = ({ database: { facts }, identities }: Looked, journalId: string | null): ReadonlyArray<Check> => {
  const why = notViews(identities)
  const { views } = identities
  const found =
    why !== null
      ? finding("views", "failed", `The database of TRIBUTARY_READ_MODELS cannot be used: ${why}. Name an empty one of its own.`)
      : journalId !== null && views !== null && views.journalId !== journalId
        ? finding(
            "views",
            "warning",
            `They follow the journal ${views.journalId}, the vault belongs to ${journalId}: the next start throws them away.`
          )
        : finding("views", "ok", serverSaid(facts.transactions ? "" : ", so a list may show half of a batch", facts))
  return [found, ...encryption("views", facts.tls, facts.where.split("/")[0]!)]
}

/** Each server on its own: one that is down hides nothing of the others. */
export const checkServers = (servers: Servers, key: FoundKey): Effect.Effect<ReadonlyArray<Check>> =>
  Effect.gen(function* () {
    const vault = yield* Effect.result(look(servers.vault, servers, "vault"))
    const journalId = vault._tag === "Success" ? (vault.success.identities.vault?.journalId ?? null) : null
    const vaultChecks =
      vault._tag === "Failure"
        ? [finding("vault", "failed", vault.failure.message)]
        : [
            vaultServer(vault.success, servers),
            ...encryption("vault", vault.success.database.facts.tls, vault.success.database.facts.where.split("/")[0]!),
            vaultKey(vault.success, key)
          ]
    const [journal, bus, views] = yield* Effect.all(
      [
        checkJournal(servers.journal),
        checkBus(servers.bus, journalId),
        look(servers.readModels, servers, "views").pipe(
          Effect.map((looked) => viewsChecks(looked, journalId)),
          Effect.catch(said("views"))
        )
      ],
      { concurrency: "unbounded" }
    )
    return [...journal, ...vaultChecks, ...bus, ...views]
  })
