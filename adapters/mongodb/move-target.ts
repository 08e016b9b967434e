/** The vault's database as the target of a move: no vault until everything is there, and then by one write. */
import type { Collection, Db } from "mongodb"
import type { SealedSecret } from "#adapters/sealing/secrets.ts"
import type { WrappedKey } from "#adapters/sealing/wrapped-keys.ts"
import { masterKeyCheck } from "#adapters/sealing/wrapped-keys.ts"
import { insertOnce } from "./insert-once.ts"
import { type ContentDocument, MongoLargeContents } from "./large-contents.ts"
import { type KeyDocument, idOf as keyId, MongoScopeKeys } from "./scope-keys.ts"
import { idOf as secretId } from "./vault.ts"
import { durably, type Identity, layout, moveMarkId, type SecretDocument } from "./vault-database.ts"

/** Kept in the vault's database from the first step of a move on. Without the vault's identity beside it, nobody starts there. */
export interface TargetMark {
  readonly _id: typeof moveMarkId
  /** The journal that is carried, and the identity of the log that takes over. */
  readonly from: string
  readonly journalId: string
  /** Epoch milliseconds. */
  readonly startedAt: number
}
export type TargetState =
  | { readonly is: "empty" }
  /** A move that did not come to its end. */
  | { readonly is: "unfinished"; readonly mark: TargetMark }
  /** A vault that serves; `mark` is that of the move that made it. */
  | { readonly is: "vault"; readonly journalId: string; readonly mark: TargetMark | null }
  | { readonly is: "other" }

interface CarriedSecret extends Pick<SecretDocument, "scope" | "owner" | "field" | "version"> {
  readonly keyVersion: number | null
  readonly salt: SealedSecret["salt"] | null
  readonly sealed: SealedSecret["sealed"] | null
}

const documentsPerWrite = 1_000

export class VaultTarget {
  readonly keys: MongoScopeKeys
  readonly largeContents: MongoLargeContents
  private readonly db: Db
  private readonly meta: Collection<Identity | TargetMark>
  private readonly storedKeys: Collection<KeyDocument>
  private readonly storedSecrets: Collection<SecretDocument>
  private readonly masterKey: Uint8Array
  private readonly masterKeyId: string

  constructor(db: Db, masterKey: Uint8Array, masterKeyId: string) {
    this.db = db.client.db(db.databaseName, durably)
    this.meta = this.db.collection("meta")
    this.storedKeys = this.db.collection("keys")
    this.storedSecrets = this.db.collection("secrets")
    this.masterKey = masterKey
    this.masterKeyId = masterKeyId
    this.keys = new MongoScopeKeys(this.storedKeys, masterKey, masterKeyId)
    this.largeContents = new MongoLargeContents(this.db.collection<ContentDocument>("contents"))
  }

  async state(): Promise<TargetState> {
    const mark = (await this.meta.findOne({ _id: moveMarkId })) as TargetMark | null
    const identity = (await this.meta.findOne({ _id: "vault" })) as Identity | null
    if (identity !== null) return { is: "vault", journalId: identity.journalId, mark }
    if (mark !== null) return { is: "unfinished", mark }
    const collections = await this.db.listCollections({}, { nameOnly: true }).toArray()
    return collections.length === 0 ? { is: "empty" } : { is: "other" }
  }

  /** False: another move took the database first. */
  async claim(mark: TargetMark): Promise<boolean> {
    const there = await insertOnce(this.meta as unknown as Collection<TargetMark>, mark)
    return there.journalId === mark.journalId
  }

  /** In place of those that an earlier try has carried. A key's age is counted from now on. */
  async carryKeys(keys: Iterable<WrappedKey>, now: number): Promise<number> {
    await this.storedKeys.deleteMany({})
    return insertAll(this.storedKeys, keys, (key) => ({ _id: keyId(key.scope, key.purpose, key.version), ...key, madeAt: now }))
  }

  async carrySecrets(secrets: Iterable<CarriedSecret>): Promise<number> {
    await this.storedSecrets.deleteMany({})
    return insertAll(this.storedSecrets, secrets, (secret) => ({ _id: secretId(secret), ...secret }))
  }

  /** All that was carried, in no order. */
  allKeys(): AsyncIterable<KeyDocument> {
    return this.storedKeys.find({})
  }

  allSecrets(): AsyncIterable<SecretDocument> {
    return this.storedSecrets.find({})
  }

  /** One write: before it nobody starts on this vault, after it everybody does. Repeatable. */
  async finish(journalId: string): Promise<boolean> {
    const { masterKeyId } = this
    const check = masterKeyCheck(this.masterKey, masterKeyId)
    const identity: Identity = { _id: "vault", layout, journalId, masterKeyId, masterKeyCheck: check }
    const there = await insertOnce(this.meta as unknown as Collection<Identity>, identity)
    return there.journalId === journalId
  }
}

const insertAll = async <A, Doc extends { readonly _id: string }>(
  collection: Collection<Doc>,
  items: Iterable<A>,
  documentOf: (item: A) => Doc
): Promise<number> => {
  let batch: Array<Doc> = []
  let count = 0
  const write = async () => {
    if (batch.length > 0) await collection.insertMany(batch as never, { ordered: false })
    count += batch.length
    batch = []
  }
  for (const item of items) {
    batch.push(documentOf(item))
    if (batch.length === documentsPerWrite) await write()
  }
  await write()
  return count
}
