/** A map that keeps the entries used last, up to a bound: in two generations, so that a use moves an entry once and not every time. */
export class BoundedCache<Key, Value> {
  readonly #generationMax: number
  #young = new Map<Key, Value>()
  #old = new Map<Key, Value>()

  /** Holds at most `max` entries, and always the half of it that was used last. */
  constructor(max: number) {
    this.#generationMax = Math.max(1, max >> 1)
  }
  /** Counts as a use. */
  get(key: Key): Value | undefined {
    const value = this.#young.get(key)
    if (value !== undefined) return value
    const older = this.#old.get(key)
    if (older !== undefined) this.set(key, older)
    return older
  }
  set(key: Key, value: Value): void {
    if (this.#young.size >= this.#generationMax && !this.#young.has(key)) {
      this.#old = this.#young
      this.#young = new Map()
    }
    this.#young.set(key, value)
  }
  delete(key: Key): void {
    this.#young.delete(key)
    this.#old.delete(key)
  }
}
