/** A map that keeps the entries used last, up to a bound. */
export class BoundedCache<Key, Value> {
  readonly #entries = new Map<Key, Value>()
  readonly #max: number
  constructor(max: number) {
    this.#max = max
  }
  /** Counts as a use. */
  get(key: Key): Value | undefined {
    const value = this.#entries.get(key)
    if (value !== undefined && this.#entries.size > this.#max / 2) {
      this.#entries.delete(key)
      this.#entries.set(key, value)
    }
    return value
  }
  set(key: Key, value: Value): void {
    this.#entries.delete(key)
    this.#entries.set(key, value)
    if (this.#entries.size > this.#max) this.#entries.delete(this.#entries.keys().next().value as Key)
  }
  delete(key: Key): void {
    this.#entries.delete(key)
  }
  get size(): number {
    return this.#entries.size
  }
}
