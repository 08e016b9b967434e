/** The embedded vault's file: wrapped keys and sealed secrets, the one store that is able to forget. */
import { createSecretKey, hkdfSync, type KeyObject, randomBytes } from "node:crypto"
import type { DatabaseSync, StatementSync } from "node:sqlite"
import { openDurable, prepareSchema, readMeta, StartRefused, writeMeta } from "./journal-schema.ts"
import { checkMasterKey, KeyRing, masterKeyCheck } from "./key-ring.ts"
import { keyedHash, seal, unseal } from "./sealing.ts"

const vaultSchemaVersion = 1
const tables = `
CREATE TABLE meta(name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE wrapped_keys(
  scope TEXT NOT NULL, purpose TEXT NOT NULL, version INTEGER NOT NULL, kek_id TEXT NOT NULL, wrapped BLOB NOT NULL,
  made_at INTEGER NOT NULL,
  PRIMARY KEY(scope, purpose, version)
) STRICT, WITHOUT ROWID;
CREATE TABLE secrets(
  scope TEXT NOT NULL, owner TEXT NOT NULL, field TEXT NOT NULL,
  version INTEGER NOT NULL, key_version INTEGER, salt BLOB, sealed BLOB,
  PRIMARY KEY(scope, owner, field)
) STRICT;
`

interface SecretRow {
  readonly version: number
  /** Null together with salt and seal: the secret was removed; the row keeps its version from being given again. */
  readonly key_version: number | null
  readonly salt: Uint8Array | null
  readonly sealed: Uint8Array | null
}
export type OpenedSecret = { readonly secret: string } | { readonly gone: "absent" | "stale" | "damaged" }

/** A key per secret, so that no key seals many messages and the context is bound twice. */
const secretKey = (vaultKey: KeyObject, salt: Uint8Array, scope: string, owner: string, field: string): KeyObject =>
  createSecretKey(Buffer.from(hkdfSync("sha256", vaultKey, salt, JSON.stringify({ v: 1, scope, owner, field }), 32)))

const secretContext = (scope: string, owner: string, field: string, keyVersion: number, version: number) =>
  JSON.stringify({ v: 1, scope, owner, field, keyVersion, version })
const fieldContext = (scope: string, field: string, keyVersion: number) => JSON.stringify({ v: 1, scope, sealedField: field, keyVersion })

export class VaultStore {
  readonly keys: KeyRing
  private readonly db: DatabaseSync
  private readonly readSecret: StatementSync
  private readonly writeSecret: StatementSync
  private readonly clearSecret: StatementSync

  constructor(file: string, journalId: string, masterKey: Uint8Array, masterKeyId: string) {
    const db = openDurable(file, 1024)
    this.db = db
    prepareSchema(db, tables, vaultSchemaVersion, "vault", () => {
      writeMeta(db, "journalId", journalId)
      writeMeta(db, "masterKeyId", masterKeyId)
      writeMeta(db, "masterKeyCheck", masterKeyCheck(masterKey, masterKeyId))
    })
    if (readMeta(db, "journalId") !== journalId)
      throw new StartRefused(
        "WrongVault",
        "The vault and the journal in this data folder belong to different installations. Nothing was changed. Restore both from one backup."
      )
    checkMasterKey(masterKey, masterKeyId, readMeta(db, "masterKeyId")!, readMeta(db, "masterKeyCheck")!)
    this.keys = new KeyRing(db, masterKey, masterKeyId)
    this.readSecret = db.prepare("SELECT version, key_version, salt, sealed FROM secrets WHERE scope = ? AND owner = ? AND field = ?")
    this.writeSecret = db.prepare(
      `INSERT INTO secrets(scope, owner, field, version, key_version, salt, sealed) VALUES(?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT(scope, owner, field) DO UPDATE SET
         version = excluded.version, key_version = excluded.key_version, salt = excluded.salt, sealed = excluded.sealed`
    )
    this.clearSecret = db.prepare(
      "UPDATE secrets SET key_version = NULL, salt = NULL, sealed = NULL WHERE scope = ? AND owner = ? AND field = ?"
    )
  }

  put(scope: string, owner: string, field: string, secret: string): { readonly version: number; readonly fingerprint: string } {
    const before = this.readSecret.get(scope, owner, field) as SecretRow | undefined
    const version = (before?.version ?? 0) + 1
    const vaultKey = this.keys.toSeal(scope, "vault")
    const salt = randomBytes(32)
    const sealed = seal(
      secretKey(vaultKey.key, salt, scope, owner, field),
      secretContext(scope, owner, field, vaultKey.version, version),
      Buffer.from(secret, "utf8")
    )
    this.writeSecret.run(scope, owner, field, version, vaultKey.version, salt, sealed)
    return { version, fingerprint: this.fingerprint(scope, owner, field, secret) }
  }

  get(scope: string, owner: string, field: string, atLeastVersion: number): OpenedSecret {
    const row = this.readSecret.get(scope, owner, field) as SecretRow | undefined
    if (row === undefined || row.sealed === null || row.salt === null || row.key_version === null) return { gone: "absent" }
    if (row.version < atLeastVersion) return { gone: "stale" }
    const vaultKey = this.keys.toOpen(scope, "vault", row.key_version)
    if (vaultKey === undefined) return { gone: "absent" }
    const context = secretContext(scope, owner, field, row.key_version, row.version)
    const plain = unseal(secretKey(vaultKey.key, row.salt, scope, owner, field), context, row.sealed)
    return plain === null ? { gone: "damaged" } : { secret: plain.toString("utf8") }
  }

  remove(scope: string, owner: string, field: string): void {
    this.clearSecret.run(scope, owner, field)
  }

  nameDigest(scope: string, kind: string, text: string): string {
    return keyedHash(this.keys.toSeal(scope, "name").hashKey, `name\n${kind}\n${text}`).slice(0, 32)
  }

  sealField(scope: string, field: string, text: string, position: number): string {
    const key = this.keys.toSeal(scope, "log", position)
    const sealed = seal(key.key, fieldContext(scope, field, key.version), Buffer.from(text, "utf8"))
    return `${key.version}.${sealed.toString("base64url")}`
  }

  openField(scope: string, field: string, sealed: string): OpenedSecret {
    const dot = sealed.indexOf(".")
    const version = Number(sealed.slice(0, dot))
    if (dot < 1 || !Number.isSafeInteger(version)) return { gone: "damaged" }
    const key = this.keys.toOpen(scope, "log", version)
    if (key === undefined) return { gone: "absent" }
    const plain = unseal(key.key, fieldContext(scope, field, version), Buffer.from(sealed.slice(dot + 1), "base64url"))
    return plain === null ? { gone: "damaged" } : { secret: plain.toString("utf8") }
  }

  close(): void {
    this.keys.forget()
    this.db.close()
  }

  /** The same for the same secret in the same place, and nothing else: the name key never changes. */
  private fingerprint(scope: string, owner: string, field: string, secret: string): string {
    return keyedHash(this.keys.toSeal(scope, "name").hashKey, `secret\n${owner}\n${field}\n${secret}`).slice(0, 16)
  }
}
