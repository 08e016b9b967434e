/** The keys of the scopes, as whoever seals needs them. */
import type { KeyObject } from "node:crypto"

/** `log`: content and sealed fields, versions only added. `vault`: secrets. `name`: digests of names, one version for ever. */
export type KeyPurpose = "log" | "vault" | "name"

export interface ScopeKey {
  readonly version: number
  readonly key: KeyObject
  /** For keyed hashes: of content, of names, fingerprints of secrets. */
  readonly hashKey: KeyObject
  /** How far the installation was when the key was made: the journal's newest position, or epoch milliseconds where several processes seal. */
  readonly madeAt: number
  readonly expiresAt: number
}

/** The unwrapped keys of a scope; made durable before first use. */
export interface ScopeKeys {
  /** The key to seal with, made when there was none. */
  readonly toSeal: (scope: string, purpose: KeyPurpose) => Promise<ScopeKey>
  /** The key of a version that was sealed with, or undefined when it was destroyed. */
  readonly toOpen: (scope: string, purpose: KeyPurpose, version: number) => Promise<ScopeKey | undefined>
}
