/** The keys of the scopes: made on first need, kept wrapped by the master key, held unwrapped for a few minutes only. */
import { createSecretKey, type KeyObject } from "node:crypto"
import type { DatabaseSync, StatementSync } from "node:sqlite"
import type { KeyPurpose, ScopeKey } from "#adapters/sealing/scope-keys.ts"
import { UnwrappedKeys } from "#adapters/sealing/unwrapped-keys.ts"
import { isMasterKey, makeWrappedKey, unwrapKey } from "#adapters/sealing/wrapped-keys.ts"
import { inTransaction, StartRefused } from "./journal-schema.ts"

/** Events of the whole journal after which a log key gets a new version: far below 2^32 random nonces (NIST SP 800-38D, 8.3). */
const eventsPerVersionMax = 2 ** 28

export class KeyRing {
  private readonly db: DatabaseSync
  private readonly masterKey: KeyObject
  private readonly masterKeyId: string
  private readonly insert: StatementSync
  private readonly newest: StatementSync
  private readonly byVersion: StatementSync
  private readonly unwrapped = new UnwrappedKeys()

  constructor(db: DatabaseSync, masterKey: Uint8Array, masterKeyId: string) {
    this.db = db
    this.masterKey = createSecretKey(masterKey)
    this.masterKeyId = masterKeyId
    this.insert = db.prepare("INSERT INTO wrapped_keys(scope, purpose, version, kek_id, wrapped, made_at) VALUES(?, ?, ?, ?, ?, ?)")
    this.newest = db.prepare("SELECT * FROM wrapped_keys WHERE scope = ? AND purpose = ? ORDER BY version DESC LIMIT 1")
    this.byVersion = db.prepare("SELECT * FROM wrapped_keys WHERE scope = ? AND purpose = ? AND version = ?")
  }

  /** The key to seal with, made and durable when there was none; `position` is the journal's newest. */
  toSeal(scope: string, purpose: KeyPurpose, position = 0): ScopeKey {
    const cached = this.unwrapped.toSeal(scope, purpose)
    if (cached !== undefined && position - cached.madeAt < eventsPerVersionMax) return cached
    const stored = this.newest.get(scope, purpose) as WrappedRow | undefined
    let key = stored === undefined ? this.make(scope, purpose, 1, position) : this.unwrap(stored)
    if (position - key.madeAt >= eventsPerVersionMax) key = this.make(scope, purpose, key.version + 1, position)
    this.unwrapped.keepToSeal(scope, purpose, key)
    return key
  }

  /** Makes what is missing of these scopes' log keys in one transaction: thousands of new tenants cost one flush to disk. */
  prepareLogKeys(scopes: Iterable<string>, position: number): void {
    const missing = [...scopes].filter((scope) => !this.unwrapped.knows(scope, "log") && this.newest.get(scope, "log") === undefined)
    if (missing.length > 1) inTransaction(this.db, () => missing.forEach((scope) => this.make(scope, "log", 1, position)))
  }

  /** The key of a version that was sealed with, or undefined when it was destroyed. */
  toOpen(scope: string, purpose: KeyPurpose, version: number): ScopeKey | undefined {
    const cached = this.unwrapped.toOpen(scope, purpose, version)
    if (cached !== undefined) return cached
    const stored = this.byVersion.get(scope, purpose, version) as WrappedRow | undefined
    if (stored === undefined) return undefined
    const key = this.unwrap(stored)
    this.unwrapped.keepToOpen(scope, purpose, key)
    return key
  }

  /** Lets go of the unwrapped keys that nobody used since the last call. */
  dropUnused(): void {
    this.unwrapped.dropUnused()
  }

  /** Lets go of every unwrapped key. */
  forget(): void {
    this.unwrapped.forget()
  }

  private make(scope: string, purpose: KeyPurpose, version: number, position: number): ScopeKey {
    const { stored, key } = makeWrappedKey(this.masterKey, { scope, purpose, version, masterKeyId: this.masterKeyId, madeAt: position })
    this.insert.run(scope, purpose, version, this.masterKeyId, stored.wrapped, position)
    return key
  }

  private unwrap({ kek_id, made_at, ...row }: WrappedRow): ScopeKey {
    return unwrapKey(this.masterKey, { ...row, masterKeyId: kek_id, madeAt: made_at })
  }
}

export interface WrappedRow {
  readonly scope: string
  readonly purpose: KeyPurpose
  readonly version: number
  readonly kek_id: string
  readonly wrapped: Uint8Array
  readonly made_at: number
}

/** Refuses a master key that is not the one that this vault's keys are wrapped by. */
export const checkMasterKey = (masterKey: Uint8Array, masterKeyId: string, storedId: string, storedCheck: string): void => {
  if (isMasterKey(masterKey, masterKeyId, storedId, storedCheck)) return
  throw new StartRefused(
    "WrongMasterKey",
    `The master key given has the id ${masterKeyId}, but this data folder's keys are wrapped by the master key ${storedId}. ` +
      "Nothing was changed. Give the master key that was used when the folder was created."
  )
}
