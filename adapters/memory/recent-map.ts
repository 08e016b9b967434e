/** A bounded map that forgets what was not used for longest, in two generations: no bookkeeping per access. */

export class RecentMap<Key, Value> {
  private readonly generationMax: number
  private young = new Map<Key, Value>()
  private old = new Map<Key, Value>()

  /** Holds at most `entriesMax` entries, and at least the half of it that was used last. */
  constructor(entriesMax: number) {
    this.generationMax = Math.max(1, entriesMax >> 1)
  }

  get(key: Key): Value | undefined {
    const value = this.young.get(key)
    if (value !== undefined) return value
    const older = this.old.get(key)
    if (older !== undefined) this.set(key, older)
    return older
  }

  set(key: Key, value: Value): void {
    if (this.young.size >= this.generationMax) this.age()
    this.young.set(key, value)
  }

  /** Forgets what was not used since the last time. */
  age(): void {
    this.old = this.young
    this.young = new Map()
  }

  delete(key: Key): void {
    this.young.delete(key)
    this.old.delete(key)
  }

  clear(): void {
    this.young.clear()
    this.old.clear()
  }
}
