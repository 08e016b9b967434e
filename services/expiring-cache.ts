/** A map whose entries live so long and no longer, for opened secrets: bounded, oldest out first. */
export class ExpiringCache<Key, Value> {
  readonly #entries = new Map<Key, { readonly value: Value; readonly until: number }>()
  readonly #max: number
  readonly #lifeMillis: number
  constructor(max: number, lifeMillis: number) {
    this.#max = max
    this.#lifeMillis = lifeMillis
  }
  get(key: Key, nowMillis: number): Value | undefined {
    const entry = this.#entries.get(key)
    return entry === undefined || entry.until <= nowMillis ? undefined : entry.value
  }
  set(key: Key, value: Value, nowMillis: number): void {
    this.#entries.delete(key)
    this.#entries.set(key, { value, until: nowMillis + this.#lifeMillis })
    if (this.#entries.size > this.#max) this.#dropOldest()
  }
  delete(key: Key): void {
    this.#entries.delete(key)
  }
  /** Forgets what has expired; entries are in the order of their expiry. */
  sweep(nowMillis: number): void {
    for (const [key, { until }] of this.#entries) {
      if (until > nowMillis) return
      this.#entries.delete(key)
    }
  }
  get size(): number {
    return this.#entries.size
  }

  /** Many for one walk: a map walks over the traces of those that were deleted before it comes to its first entry. */
  #dropOldest(): void {
    const kept = Math.ceil(this.#max * keptPart)
    for (const key of this.#entries.keys()) {
      if (this.#entries.size <= kept) return
      this.#entries.delete(key)
    }
  }
}

/** Of a full cache, when it takes one more. */
const keptPart = 15 / 16

/** How long an opened secret may stay in memory. */
export const openedSecretMillis = 5 * 60_000
export const sweepEveryMillis = 60_000
