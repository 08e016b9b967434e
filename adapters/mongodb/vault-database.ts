/** The vault's database: recognised by its journal and its master key before anything in it is used. */
import { randomUUID } from "node:crypto"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import { type Collection, type Db, ReadConcern, ReadPreference, WriteConcern } from "mongodb"
import type { CollectableContents } from "#adapters/sealing/large-contents.ts"
import type { ScopeKeys } from "#adapters/sealing/scope-keys.ts"
import { dropMillis } from "#adapters/sealing/unwrapped-keys.ts"
import { isMasterKey, masterKeyCheck } from "#adapters/sealing/wrapped-keys.ts"
import { MasterKey } from "#services/ports/master-key.ts"
import { contactRefusal, type DatabaseFacts, type DatabaseOptions, DatabaseRefused, open, type RefusalKind } from "./connection.ts"
import { inTime } from "./failure.ts"
import { insertOnce } from "./insert-once.ts"
import { type ContentDocument, MongoLargeContents } from "./large-contents.ts"
import { type KeyDocument, MongoScopeKeys } from "./scope-keys.ts"

export interface SecretDocument {
  /** Scope, owner and field as a JSON array. */
  readonly _id: string
  readonly scope: string
  readonly owner: string
  readonly field: string
  readonly version: number
  /** Null together with salt and seal: the secret was removed; the document keeps its version from being given again. */
  readonly keyVersion: number | null
  readonly salt: Uint8Array | null
  readonly sealed: Uint8Array | null
}

/** What the whole database is. */
export interface Identity {
  readonly _id: "vault"
  readonly layout: number
  readonly journalId: string
  readonly masterKeyId: string
  readonly masterKeyCheck: string
}
export const layout = 1
/** Of the mark that a move leaves in `meta`; see `move-target.ts`. */
export const moveMarkId = "move"

export interface VaultDatabaseOptions extends DatabaseOptions {
  /**
   * The journal that the vault belongs to. A new vault takes it, another journal's vault is refused. Left out: the vault's own,
   * made at random when it is new.
   */
  readonly journalId?: string
  /** Left out: required. A single server is enough for tests and for those who accept that its disk is the only copy. */
  readonly replicaSet?: "required" | "optional"
}

export class VaultDatabase extends Context.Service<
  VaultDatabase,
  {
    readonly facts: DatabaseFacts
    /** The same for the life of the installation; all of its processes have it from here. */
    readonly journalId: string
    readonly keys: ScopeKeys
    readonly largeContents: CollectableContents
    readonly secrets: Collection<SecretDocument>
  }
>()("tributary/adapters/mongodb/VaultDatabase") {
  static readonly layer = (options: VaultDatabaseOptions): Layer.Layer<VaultDatabase, DatabaseRefused, MasterKey> =>
    Layer.effect(VaultDatabase, openVault(options))
}

/** What is acknowledged is on the disks of a majority, and what is read has been. */
export const durably = {
  writeConcern: new WriteConcern("majority", undefined, true),
  readConcern: new ReadConcern("majority"),
  readPreference: ReadPreference.primary
}

const openVault = Effect.fnUntraced(function* (options: VaultDatabaseOptions) {
  const { id: masterKeyId, key } = yield* MasterKey
  const masterKey = Redacted.value(key)
  const { client, db: opened, facts } = yield* open(options, "vault", { replicaSet: options.replicaSet ?? "required" })
  const db = client.db(opened.databaseName, durably)
  const refuse = (kind: RefusalKind, reason: string, advice: string) =>
    new DatabaseRefused({ kind, purpose: "vault", where: facts.where, reason, advice })
  const wanted: Identity = {
    _id: "vault",
    layout,
    journalId: options.journalId ?? randomUUID(),
    masterKeyId,
    masterKeyCheck: masterKeyCheck(masterKey, masterKeyId)
  }
  const identity = yield* Effect.tryPromise({ try: () => inTime(() => identify(db, wanted)), catch: contactRefusal(facts, "vault") })
  if (identity === "moving")
    return yield* Effect.fail(
      refuse(
        "UnfinishedMove",
        "a move into it has not come to its end",
        "Finish it where the installation comes from, with: tributary move; or name an empty database."
      )
    )
  if (identity === null)
    return yield* Effect.fail(
      refuse("WrongDatabase", "it holds something, but no vault of this release", "Name an empty database, or restore the vault's backup.")
    )
  const { journalId } = identity
  if (options.journalId !== undefined && journalId !== options.journalId)
    return yield* Effect.fail(
      refuse("WrongJournal", `it belongs to the journal ${journalId}, not to ${options.journalId}`, "Name this journal's own vault.")
    )
  if (!isMasterKey(masterKey, masterKeyId, identity.masterKeyId, identity.masterKeyCheck))
    return yield* Effect.fail(
      refuse(
        "WrongMasterKey",
        `its keys are wrapped by the master key ${identity.masterKeyId}, and the one given is ${masterKeyId}`,
        "Give the master key that was used when the vault was made."
      )
    )
  const keys = new MongoScopeKeys(db.collection<KeyDocument>("keys"), masterKey, masterKeyId)
  yield* Effect.addFinalizer(() => Effect.sync(() => keys.forget()))
  yield* Effect.sync(() => keys.dropUnused()).pipe(Effect.repeat(Schedule.spaced(dropMillis)), Effect.forkScoped)
  const largeContents = new MongoLargeContents(db.collection<ContentDocument>("contents"))
  return VaultDatabase.of({ facts, journalId, keys, largeContents, secrets: db.collection<SecretDocument>("secrets") })
})

/** Makes an empty database a vault. Null: it is not empty, and no vault that this release knows. */
const identify = async (db: Db, wanted: Identity): Promise<Identity | "moving" | null> => {
  const identities = db.collection<Identity>("meta")
  const find = () => identities.findOne({ _id: "vault" })
  // The identity comes before all else: where something is without one, even when looked for again, it is something else.
  const found = (await find()) ?? ((await isEmpty(db)) ? await insertOnce(identities, wanted) : await find())
  if (found === null && (await db.collection<{ _id: string }>("meta").findOne({ _id: moveMarkId })) !== null) return "moving"
  if (found?.layout !== layout) return null
  await db.collection<KeyDocument>("keys").createIndex({ scope: 1, purpose: 1, version: -1 }, { unique: true })
  await db.collection<SecretDocument>("secrets").createIndex({ scope: 1 })
  // Only those that may be orphans have the time: it covers what is asked about them.
  await db
    .collection<ContentDocument>("contents")
    .createIndex({ putAt: 1, _id: 1 }, { partialFilterExpression: { putAt: { $exists: true } } })
  return found
}

const isEmpty = async (db: Db): Promise<boolean> => (await db.listCollections({}, { nameOnly: true }).toArray()).length === 0
