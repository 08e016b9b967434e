/** The embedded vault's file: wrapped keys and sealed secrets, the one store that is able to forget. */
import type { DatabaseSync, StatementSync } from "node:sqlite"
import {
  fieldKeyVersion,
  fingerprint,
  nameDigest,
  type OpenedSecret,
  openField,
  openSecret,
  sealField,
  sealSecret
} from "#adapters/sealing/secrets.ts"
import { masterKeyCheck } from "#adapters/sealing/wrapped-keys.ts"
import { openDurable, prepareSchema, readMeta, StartRefused, writeMeta } from "./journal-schema.ts"
import { checkMasterKey, KeyRing } from "./key-ring.ts"

export const vaultSchemaVersion = 1
export const tables = `
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
    const place = { scope, owner, field }
    const { keyVersion, salt, sealed } = sealSecret(this.keys.toSeal(scope, "vault"), place, version, secret)
    this.writeSecret.run(scope, owner, field, version, keyVersion, salt, sealed)
    return { version, fingerprint: fingerprint(this.keys.toSeal(scope, "name"), place, secret) }
  }

  get(scope: string, owner: string, field: string, atLeastVersion: number): OpenedSecret {
    const row = this.readSecret.get(scope, owner, field) as SecretRow | undefined
    if (row === undefined || row.sealed === null || row.salt === null || row.key_version === null) return { gone: "absent" }
    if (row.version < atLeastVersion) return { gone: "stale" }
    const stored = { keyVersion: row.key_version, salt: row.salt, sealed: row.sealed }
    return openSecret(this.keys.toOpen(scope, "vault", row.key_version), { scope, owner, field }, row.version, stored)
  }

  remove(scope: string, owner: string, field: string): void {
    this.clearSecret.run(scope, owner, field)
  }

  nameDigest(scope: string, kind: string, text: string): string {
    return nameDigest(this.keys.toSeal(scope, "name"), kind, text)
  }

  sealField(scope: string, field: string, text: string, position: number): string {
    return sealField(this.keys.toSeal(scope, "log", position), scope, field, text)
  }

  openField(scope: string, field: string, sealed: string): OpenedSecret {
    const version = fieldKeyVersion(sealed)
    if (version === undefined) return { gone: "damaged" }
    return openField(this.keys.toOpen(scope, "log", version), scope, field, sealed)
  }

  close(): void {
    this.keys.forget()
    this.db.close()
  }
}
