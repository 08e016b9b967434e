/** Unwrapped keys in memory: bounded, and for a few minutes only. */
import { RecentMap } from "#adapters/memory/recent-map.ts"
import type { KeyPurpose, ScopeKey } from "./scope-keys.ts"

/** How often `dropUnused` is to be called. */
export const dropMillis = 150_000
/** Keys to seal with that are held at once; about 700 bytes each. */
const currentMax = 16_384
/** Keys of older versions that are held at once. */
const olderMax = 256

export class UnwrappedKeys {
  private readonly current = new RecentMap<string, ScopeKey>(currentMax)
  private readonly older = new RecentMap<string, ScopeKey>(olderMax)

  /** The newest key known here, unless it has expired. */
  toSeal(scope: string, purpose: KeyPurpose): ScopeKey | undefined {
    const key = this.current.get(`${purpose}:${scope}`)
    return key !== undefined && key.expiresAt > Date.now() ? key : undefined
  }

  toOpen(scope: string, purpose: KeyPurpose, version: number): ScopeKey | undefined {
    const current = this.toSeal(scope, purpose)
    if (current?.version === version) return current
    const key = this.older.get(`${purpose}:${scope}:${version}`)
    return key !== undefined && key.expiresAt > Date.now() ? key : undefined
  }

  /** Keeps it as the newest one. */
  keepToSeal(scope: string, purpose: KeyPurpose, key: ScopeKey): void {
    this.current.set(`${purpose}:${scope}`, key)
  }

  keepToOpen(scope: string, purpose: KeyPurpose, key: ScopeKey): void {
    this.older.set(`${purpose}:${scope}:${key.version}`, key)
  }

  /** Whether a key of the scope was used lately, expired or not: then there is one in the store. */
  knows(scope: string, purpose: KeyPurpose): boolean {
    return this.current.get(`${purpose}:${scope}`) !== undefined
  }

  /** Lets go of the keys that nobody used since the last call. */
  dropUnused(): void {
    this.current.age()
    this.older.age()
  }

  /** Lets go of all. */
  forget(): void {
    this.current.clear()
    this.older.clear()
  }
}
