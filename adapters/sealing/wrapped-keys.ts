/** Scope keys as they are stored: random, and wrapped by the master key, which is recognised by a check of its own. */
import { createSecretKey, type KeyObject, randomBytes } from "node:crypto"
import type { KeyPurpose, ScopeKey } from "./scope-keys.ts"
import { deriveKey, seal, unseal } from "./sealing.ts"

/** How long an unwrapped key is used before it is unwrapped again; an unused one is dropped after it at the latest. */
const unwrappedMillis = 5 * 60_000

export interface WrappedKey {
  readonly scope: string
  readonly purpose: KeyPurpose
  readonly version: number
  /** Id of the master key that wraps it. */
  readonly masterKeyId: string
  readonly wrapped: Uint8Array
  /** See `ScopeKey`. */
  readonly madeAt: number
}

const wrapContext = ({ scope, purpose, version, masterKeyId }: Omit<WrappedKey, "wrapped" | "madeAt">) =>
  JSON.stringify({ v: 1, scope, purpose, version, kek: masterKeyId })

const unwrapped = (raw: Buffer, version: number, madeAt: number): ScopeKey => {
  const key = createSecretKey(raw)
  raw.fill(0)
  return { version, key, hashKey: deriveKey(key, "tributary keyed hash v1"), madeAt, expiresAt: Date.now() + unwrappedMillis }
}

/** A new random key, to be stored before it is used. */
export const makeWrappedKey = (
  masterKey: KeyObject,
  made: Omit<WrappedKey, "wrapped">
): { readonly stored: WrappedKey; readonly key: ScopeKey } => {
  const raw = randomBytes(32)
  const stored = { ...made, wrapped: seal(masterKey, wrapContext(made), raw) }
  return { stored, key: unwrapped(raw, made.version, made.madeAt) }
}

/** A stored key whose bytes are not those that were stored. */
export class KeyDamaged extends Error {
  override readonly name = "KeyDamaged"
}

/** Throws `KeyDamaged` when the stored key is not one that this master key wrapped for this scope, purpose and version. */
export const unwrapKey = (masterKey: KeyObject, stored: WrappedKey): ScopeKey => {
  const raw = unseal(masterKey, wrapContext(stored), stored.wrapped)
  if (raw === null)
    throw new KeyDamaged(
      `the ${stored.purpose} key ${stored.version} of ${stored.scope} is damaged: it does not open with the master key. Restore the vault from a backup`
    )
  return unwrapped(raw, stored.version, stored.madeAt)
}

const checkContext = (masterKeyId: string) => JSON.stringify({ v: 1, check: "tributary vault", kek: masterKeyId })

/** What is kept to recognise the master key at the next start. */
export const masterKeyCheck = (masterKey: Uint8Array, masterKeyId: string): string =>
  seal(createSecretKey(masterKey), checkContext(masterKeyId), Buffer.from("tributary")).toString("base64")

/** Whether it is the master key that this check was made with. */
export const isMasterKey = (masterKey: Uint8Array, masterKeyId: string, storedId: string, storedCheck: string): boolean =>
  storedId === masterKeyId &&
  unseal(createSecretKey(masterKey), checkContext(masterKeyId), Buffer.from(storedCheck, "base64"))?.toString() === "tributary"
