/** The keys of the scopes: made on first need, kept wrapped by the master key, held unwrapped for a few minutes only. */
import { createSecretKey, type KeyObject, randomBytes } from "node:crypto"
import type { DatabaseSync, StatementSync } from "node:sqlite"
import { inTransaction, StartRefused } from "./journal-schema.ts"
import { RecentMap } from "./recent-map.ts"
import { deriveKey, seal, unseal } from "./sealing.ts"

/** `log`: content and sealed fields, versions only added. `vault`: secrets. `name`: digests of names, one version for ever. */
export type KeyPurpose = "log" | "vault" | "name"

export interface ScopeKey {
  readonly version: number
  readonly key: KeyObject
  /** For keyed hashes: of content, of names, fingerprints of secrets. */
  readonly hashKey: KeyObject
  /** The journal's newest position when the key was made; see `eventsPerVersionMax`. */
  readonly madeAt: number
  readonly expiresAt: number
}

/** How long an unwrapped key is used before it is unwrapped again; an unused one is dropped after it at the latest. */
const unwrappedMillis = 5 * 60_000
/** How often `dropUnused` is to be called. */
export const dropMillis = unwrappedMillis / 2
/** Unwrapped keys held at once; about 700 bytes each. */
const unwrappedMax = 16_384
/** Events of the whole journal after which a log key gets a new version: far below 2^32 random nonces (NIST SP 800-38D, 8.3). */
const eventsPerVersionMax = 2 ** 28

const wrapContext = (scope: string, purpose: KeyPurpose, version: number, masterKeyId: string) =>
  JSON.stringify({ v: 1, scope, purpose, version, kek: masterKeyId })

export class KeyRing {
  private readonly db: DatabaseSync
  private readonly masterKey: KeyObject
  private readonly masterKeyId: string
  private readonly insert: StatementSync
  private readonly newest: StatementSync
  private readonly byVersion: StatementSync
  private readonly current = new RecentMap<string, ScopeKey>(unwrappedMax)
  private readonly older = new RecentMap<string, ScopeKey>(256)

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
    const cached = this.current.get(`${purpose}:${scope}`)
    if (cached !== undefined && cached.expiresAt > Date.now() && position - cached.madeAt < eventsPerVersionMax) return cached
    const stored = this.newest.get(scope, purpose) as WrappedRow | undefined
    let key = stored === undefined ? this.make(scope, purpose, 1, position) : this.unwrap(stored)
    if (position - key.madeAt >= eventsPerVersionMax) key = this.make(scope, purpose, key.version + 1, position)
    this.current.set(`${purpose}:${scope}`, key)
    return key
  }

  /** Makes what is missing of these scopes' log keys in one transaction: thousands of new tenants cost one flush to disk. */
  prepareLogKeys(scopes: Iterable<string>, position: number): void {
    const missing = [...scopes].filter(
      (scope) => this.current.get(`log:${scope}`) === undefined && this.newest.get(scope, "log") === undefined
    )
    if (missing.length > 1) inTransaction(this.db, () => missing.forEach((scope) => this.make(scope, "log", 1, position)))
  }

  /** The key of a version that was sealed with, or undefined when it was destroyed. */
  toOpen(scope: string, purpose: KeyPurpose, version: number): ScopeKey | undefined {
    const now = Date.now()
    const current = this.current.get(`${purpose}:${scope}`)
    if (current?.version === version && current.expiresAt > now) return current
    const name = `${purpose}:${scope}:${version}`
    const cached = this.older.get(name)
    if (cached !== undefined && cached.expiresAt > now) return cached
    const stored = this.byVersion.get(scope, purpose, version) as WrappedRow | undefined
    if (stored === undefined) return undefined
    const key = this.unwrap(stored)
    this.older.set(name, key)
    return key
  }

  /** Lets go of the unwrapped keys that nobody used since the last call. */
  dropUnused(): void {
    this.current.age()
    this.older.age()
  }

  /** Lets go of every unwrapped key. */
  forget(): void {
    this.current.clear()
    this.older.clear()
  }

  private make(scope: string, purpose: KeyPurpose, version: number, position: number): ScopeKey {
    const raw = randomBytes(32)
    const wrapped = seal(this.masterKey, wrapContext(scope, purpose, version, this.masterKeyId), raw)
    this.insert.run(scope, purpose, version, this.masterKeyId, wrapped, position)
    return unwrapped(raw, version, position)
  }

  private unwrap(row: WrappedRow): ScopeKey {
    const raw = unseal(this.masterKey, wrapContext(row.scope, row.purpose, row.version, row.kek_id), row.wrapped)
    if (raw === null) throw new Error(`The ${row.purpose} key ${row.version} of ${row.scope} does not open with the master key.`)
    return unwrapped(raw, row.version, row.made_at)
  }
}

interface WrappedRow {
  readonly scope: string
  readonly purpose: KeyPurpose
  readonly version: number
  readonly kek_id: string
  readonly wrapped: Uint8Array
  readonly made_at: number
}

const unwrapped = (raw: Buffer, version: number, madeAt: number): ScopeKey => {
  const key = createSecretKey(raw)
  raw.fill(0)
  return { version, key, hashKey: deriveKey(key, "tributary keyed hash v1"), madeAt, expiresAt: Date.now() + unwrappedMillis }
}

const checkContext = (masterKeyId: string) => JSON.stringify({ v: 1, check: "tributary vault", kek: masterKeyId })

/** What is kept to recognise the master key at the next start. */
export const masterKeyCheck = (masterKey: Uint8Array, masterKeyId: string): string =>
  seal(createSecretKey(masterKey), checkContext(masterKeyId), Buffer.from("tributary")).toString("base64")

/** Refuses a master key that is not the one that this vault's keys are wrapped by. */
export const checkMasterKey = (masterKey: Uint8Array, masterKeyId: string, storedId: string, storedCheck: string): void => {
  const fits =
    storedId === masterKeyId &&
    unseal(createSecretKey(masterKey), checkContext(masterKeyId), Buffer.from(storedCheck, "base64"))?.toString() === "tributary"
  if (fits) return
  throw new StartRefused(
    "WrongMasterKey",
    `The master key given has the id ${masterKeyId}, but this data folder's keys are wrapped by the master key ${storedId}. ` +
      "Nothing was changed. Give the master key that was used when the folder was created."
  )
}
