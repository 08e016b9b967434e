/** How secrets, fields of events and names are sealed and digested: each bound to its very place. */
import { createSecretKey, hkdfSync, type KeyObject, randomBytes } from "node:crypto"
import type { ScopeKey } from "./scope-keys.ts"
import { keyedHash, seal, unseal } from "./sealing.ts"

/** Where a secret lies. */
export interface SecretPlace {
  readonly scope: string
  readonly owner: string
  readonly field: string
}
export interface SealedSecret {
  readonly keyVersion: number
  readonly salt: Uint8Array
  readonly sealed: Uint8Array
}
export type OpenedSecret = { readonly secret: string } | { readonly gone: "absent" | "stale" | "damaged" }

/** A key per secret, so that no key seals many messages and the context is bound twice. */
const secretKey = (vaultKey: KeyObject, salt: Uint8Array, { scope, owner, field }: SecretPlace): KeyObject =>
  createSecretKey(Buffer.from(hkdfSync("sha256", vaultKey, salt, JSON.stringify({ v: 1, scope, owner, field }), 32)))

const secretContext = ({ scope, owner, field }: SecretPlace, keyVersion: number, version: number) =>
  JSON.stringify({ v: 1, scope, owner, field, keyVersion, version })
const fieldContext = (scope: string, field: string, keyVersion: number) => JSON.stringify({ v: 1, scope, sealedField: field, keyVersion })

/** Seals the secret's `version` under the scope's vault key. */
export const sealSecret = (vaultKey: ScopeKey, place: SecretPlace, version: number, secret: string): SealedSecret => {
  const salt = randomBytes(32)
  const context = secretContext(place, vaultKey.version, version)
  return {
    keyVersion: vaultKey.version,
    salt,
    sealed: seal(secretKey(vaultKey.key, salt, place), context, Buffer.from(secret, "utf8"))
  }
}

export const openSecret = (vaultKey: ScopeKey | undefined, place: SecretPlace, version: number, stored: SealedSecret): OpenedSecret => {
  if (vaultKey === undefined) return { gone: "absent" }
  const plain = unseal(secretKey(vaultKey.key, stored.salt, place), secretContext(place, stored.keyVersion, version), stored.sealed)
  return plain === null ? { gone: "damaged" } : { secret: plain.toString("utf8") }
}

/** The same for the same secret in the same place, and nothing else: the name key never changes. */
export const fingerprint = (nameKey: ScopeKey, { owner, field }: SecretPlace, secret: string): string =>
  keyedHash(nameKey.hashKey, `secret\n${owner}\n${field}\n${secret}`).slice(0, 16)

export const nameDigest = (nameKey: ScopeKey, kind: string, text: string): string =>
  keyedHash(nameKey.hashKey, `name\n${kind}\n${text}`).slice(0, 32)

/** `<version of the log key>.<sealed>`. */
export const sealField = (logKey: ScopeKey, scope: string, field: string, text: string): string =>
  `${logKey.version}.${seal(logKey.key, fieldContext(scope, field, logKey.version), Buffer.from(text, "utf8")).toString("base64url")}`

/** Version of the log key that a field was sealed with; undefined when the text is none of ours. */
export const fieldKeyVersion = (sealed: string): number | undefined => {
  const dot = sealed.indexOf(".")
  const version = Number(sealed.slice(0, dot))
  return dot < 1 || !Number.isSafeInteger(version) ? undefined : version
}

/** Opens what `sealField` gave, with the key of its version. */
export const openField = (logKey: ScopeKey | undefined, scope: string, field: string, sealed: string): OpenedSecret => {
  if (logKey === undefined) return { gone: "absent" }
  const plain = unseal(
    logKey.key,
    fieldContext(scope, field, logKey.version),
    Buffer.from(sealed.slice(sealed.indexOf(".") + 1), "base64url")
  )
  return plain === null ? { gone: "damaged" } : { secret: plain.toString("utf8") }
}
