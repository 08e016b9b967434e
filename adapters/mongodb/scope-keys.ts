/** The keys of the scopes on MongoDB: made once among all processes, stored wrapped, held unwrapped for a few minutes only. */
import { createSecretKey, type KeyObject } from "node:crypto"
import type { Collection } from "mongodb"
import { RecentMap } from "#adapters/memory/recent-map.ts"
import { SealingFailed } from "#adapters/sealing/failure.ts"
import type { KeyPurpose, ScopeKey, ScopeKeys } from "#adapters/sealing/scope-keys.ts"
import { UnwrappedKeys } from "#adapters/sealing/unwrapped-keys.ts"
import { KeyDamaged, makeWrappedKey, unwrapKey } from "#adapters/sealing/wrapped-keys.ts"
import { inTime, isMongoFailure, reasonOf } from "./failure.ts"
import { insertOnce } from "./insert-once.ts"

/** `<scope>/<purpose>/<version>` is its id. */
export interface KeyDocument {
  readonly _id: string
  readonly scope: string
  readonly purpose: KeyPurpose
  readonly version: number
  readonly masterKeyId: string
  readonly wrapped: Uint8Array
  /** Epoch milliseconds. */
  readonly madeAt: number
}

/** A log key gets a new version after this time, and after so many uses in one process: far below 2^32 random nonces (NIST SP 800-38D, 8.3). */
const versionMillisMax = 30 * 24 * 3600_000
const usesPerVersionMax = 2 ** 24
/** Scopes whose uses are counted at once. */
const countedMax = 65_536

export class MongoScopeKeys implements ScopeKeys {
  private readonly stored: Collection<KeyDocument>
  private readonly masterKey: KeyObject
  private readonly masterKeyId: string
  private readonly unwrapped = new UnwrappedKeys()
  private readonly uses = new RecentMap<string, number>(countedMax)
  /** What is being fetched or made, so that many who ask at once cost one answer. */
  private readonly pending = new Map<string, Promise<ScopeKey | undefined>>()

  constructor(stored: Collection<KeyDocument>, masterKey: Uint8Array, masterKeyId: string) {
    this.stored = stored
    this.masterKey = createSecretKey(masterKey)
    this.masterKeyId = masterKeyId
  }

  async toSeal(scope: string, purpose: KeyPurpose): Promise<ScopeKey> {
    const cached = this.unwrapped.toSeal(scope, purpose)
    if (cached !== undefined && !this.isWorn(scope, purpose, cached)) return cached
    return (await this.once(`${purpose}:${scope}`, () => this.newest(scope, purpose)))!
  }

  async toOpen(scope: string, purpose: KeyPurpose, version: number): Promise<ScopeKey | undefined> {
    return (
      this.unwrapped.toOpen(scope, purpose, version) ?? this.once(`${purpose}:${scope}:${version}`, () => this.old(scope, purpose, version))
    )
  }

  dropUnused(): void {
    this.unwrapped.dropUnused()
  }

  forget(): void {
    this.unwrapped.forget()
  }

  private async newest(scope: string, purpose: KeyPurpose): Promise<ScopeKey> {
    const [stored] = await this.stored.find({ scope, purpose }).sort({ version: -1 }).limit(1).toArray()
    let key = stored === undefined ? await this.make(scope, purpose, 1) : this.unwrap(stored)
    if (this.isWorn(scope, purpose, key)) {
      key = await this.make(scope, purpose, key.version + 1)
      this.uses.delete(scope)
    }
    this.unwrapped.keepToSeal(scope, purpose, key)
    return key
  }

  private async old(scope: string, purpose: KeyPurpose, version: number): Promise<ScopeKey | undefined> {
    const stored = await this.stored.findOne({ _id: idOf(scope, purpose, version) })
    if (stored === null) return undefined
    const key = this.unwrap(stored)
    this.unwrapped.keepToOpen(scope, purpose, key)
    return key
  }

  /** Counts a use. A name key is for ever, and a vault key seals one message per derived key. */
  private isWorn(scope: string, purpose: KeyPurpose, key: ScopeKey): boolean {
    if (purpose !== "log") return false
    const uses = (this.uses.get(scope) ?? 0) + 1
    this.uses.set(scope, uses)
    return uses > usesPerVersionMax || Date.now() - key.madeAt > versionMillisMax
  }

  /** The version is durable, and the same in all processes, when this gives it. */
  private async make(scope: string, purpose: KeyPurpose, version: number): Promise<ScopeKey> {
    const { stored, key } = makeWrappedKey(this.masterKey, { scope, purpose, version, masterKeyId: this.masterKeyId, madeAt: Date.now() })
    const document = { _id: idOf(scope, purpose, version), ...stored }
    const winner = await insertOnce(this.stored, document)
    return winner === document ? key : this.unwrap(winner)
  }

  private unwrap({ _id, ...stored }: KeyDocument): ScopeKey {
    return unwrapKey(this.masterKey, stored)
  }

  private once(name: string, work: () => Promise<ScopeKey | undefined>): Promise<ScopeKey | undefined> {
    const running = this.pending.get(name)
    if (running !== undefined) return running
    const started = inTime(work)
      .catch((cause: unknown) => {
        throw failureOf(cause)
      })
      .finally(() => this.pending.delete(name))
    this.pending.set(name, started)
    return started
  }
}

/** A key is of no consequence until something is sealed with it, so that nothing was written that counts. */
const failureOf = (cause: unknown): unknown =>
  isMongoFailure(cause)
    ? new SealingFailed("no", `the vault cannot give a key (${reasonOf(cause)})`, cause)
    : cause instanceof KeyDamaged
      ? new SealingFailed("no", cause.message, cause)
      : cause

export const idOf = (scope: string, purpose: KeyPurpose, version: number): string => `${scope}/${purpose}/${version}`
