/** Every key and every secret of a vault's file: each opens with the master key, in the very place that it was sealed for. */
import { createSecretKey } from "node:crypto"
import type { DatabaseSync } from "node:sqlite"
import { openSecret } from "#adapters/sealing/secrets.ts"
import { unwrapKey } from "#adapters/sealing/wrapped-keys.ts"
import type { Damages } from "./damages.ts"
import { readMeta } from "./journal-schema.ts"
import { checkMasterKey, KeyRing, type WrappedRow } from "./key-ring.ts"
import { messageOf } from "./write-failure.ts"

export interface GivenKey {
  readonly id: string
  readonly key: Uint8Array
}

interface SecretRow {
  readonly id: number
  readonly scope: string
  readonly owner: string
  readonly field: string
  readonly version: number
  readonly key_version: number | null
  readonly salt: Uint8Array | null
  readonly sealed: Uint8Array | null
}
const rowsPerPiece = 1_000

/** Undefined: it is not the one that the vault's keys are wrapped by, which is damage of the vault when it was the right one. */
export const keysOf = (db: DatabaseSync, { id, key }: GivenKey, damages: Damages): KeyRing | undefined =>
  damages.reading("vault.db", "with this master key it", () => {
    checkMasterKey(key, id, readMeta(db, "masterKeyId") ?? "", readMeta(db, "masterKeyCheck") ?? "")
    return new KeyRing(db, key, id)
  })

/** Keys of a scope and purpose are numbered without gaps. Yields how many rows were looked at. */
export function* checkKeys(db: DatabaseSync, given: GivenKey | undefined, damages: Damages): Generator<number, number> {
  const master = given === undefined ? undefined : createSecretKey(given.key)
  const piece = db.prepare(
    `SELECT * FROM wrapped_keys WHERE (scope, purpose, version) > (?, ?, ?) ORDER BY scope, purpose, version LIMIT ${rowsPerPiece}`
  )
  let before: WrappedRow | undefined
  for (let seen = 0; ; ) {
    const { scope, purpose, version } = before ?? { scope: "", purpose: "", version: 0 }
    const rows = damages.reading("vault.db", "its keys", () => piece.all(scope, purpose, version) as unknown as ReadonlyArray<WrappedRow>)
    for (const row of rows ?? []) {
      const damage = keyDamage(row, before) ?? (master === undefined ? undefined : wrapDamage(master, row))
      if (damage !== undefined) damages.add("vault.db", damage)
      before = row
    }
    seen += rows?.length ?? 0
    if (rows === undefined || rows.length < rowsPerPiece) return seen
    yield seen
  }
}

const keyDamage = (row: WrappedRow, before: WrappedRow | undefined): string | undefined => {
  const follows = before?.scope === row.scope && before.purpose === row.purpose
  const said = `the ${row.purpose} key ${row.version} of ${row.scope}`
  if (row.version !== (follows ? before.version + 1 : 1)) return `${said} does not follow the one before it`
  const madeAtMin = follows ? before.made_at : 0
  return row.made_at < madeAtMin || (row.purpose !== "log" && row.made_at !== 0) ? `${said} has a damaged age` : undefined
}

const wrapDamage = (master: Parameters<typeof unwrapKey>[0], { kek_id, made_at, ...row }: WrappedRow): string | undefined => {
  try {
    unwrapKey(master, { ...row, masterKeyId: kek_id, madeAt: made_at })
    return undefined
  } catch (cause) {
    return messageOf(cause)
  }
}

/** `keys`: undefined without the master key. Yields how many rows were looked at. */
export function* checkSecrets(db: DatabaseSync, keys: KeyRing | undefined, damages: Damages): Generator<number, number> {
  const piece = db.prepare(`SELECT rowid AS id, * FROM secrets WHERE rowid > ? ORDER BY rowid LIMIT ${rowsPerPiece}`)
  let seen = 0
  for (let after = -1; ; ) {
    const rows = damages.reading("vault.db", "its secrets", () => piece.all(after) as unknown as ReadonlyArray<SecretRow>)
    for (const row of rows ?? []) {
      const damage = secretDamage(row, keys)
      if (damage !== undefined) damages.add("vault.db", `the secret ${row.owner}/${row.field} of ${row.scope}: ${damage}`)
      after = row.id
    }
    seen += rows?.length ?? 0
    if (rows === undefined || rows.length < rowsPerPiece) return seen
    yield seen
  }
}

const secretDamage = (
  { scope, owner, field, version, key_version, salt, sealed }: SecretRow,
  keys: KeyRing | undefined
): string | undefined => {
  if (version < 1) return `its version is ${version}`
  if (key_version === null && salt === null && sealed === null) return undefined
  if (key_version === null || salt === null || sealed === null) return "a part of it is missing"
  if (keys === undefined) return undefined
  try {
    const opened = openSecret(keys.toOpen(scope, "vault", key_version), { scope, owner, field }, version, {
      keyVersion: key_version,
      salt,
      sealed
    })
    return "secret" in opened ? undefined : `it cannot be opened (${opened.gone})`
  } catch (cause) {
    return messageOf(cause)
  }
}
