/** Virtual time: what happens when, one thing after the other. Nothing in a simulation happens outside of it. */

interface Entry {
  readonly at: number
  /** Among those of the same time, first come, first served. */
  readonly order: number
  readonly happen: () => void
}

/** How to take back what was planned. */
export type Cancel = () => void

const nothing = () => {}

export class Timeline {
  /** Milliseconds, with fractions. */
  now: number
  #orders = 0
  readonly #heap: Array<Entry & { cancelled?: boolean }> = []

  constructor(now: number) {
    this.now = now
  }

  at(time: number, happen: () => void): Cancel {
    const entry: Entry & { cancelled?: boolean } = { at: Math.max(time, this.now), order: this.#orders++, happen }
    const heap = this.#heap
    let index = heap.push(entry) - 1
    while (index > 0) {
      const parent = (index - 1) >> 1
      if (!isBefore(entry, heap[parent]!)) break
      heap[index] = heap[parent]!
      index = parent
    }
    heap[index] = entry
    return () => {
      entry.cancelled = true
    }
  }

  after(millis: number, happen: () => void): Cancel {
    return Number.isFinite(millis) ? this.at(this.now + millis, happen) : nothing
  }

  /** Moves on to the next thing and lets it happen; false when there is none. */
  step(): boolean {
    for (;;) {
      const next = this.#take()
      if (next === undefined) return false
      if (next.cancelled) continue
      this.now = next.at
      next.happen()
      return true
    }
  }

  #take(): (Entry & { cancelled?: boolean }) | undefined {
    const heap = this.#heap
    const first = heap[0]
    if (first === undefined) return undefined
    const last = heap.pop()!
    if (heap.length === 0) return first
    let index = 0
    for (;;) {
      const left = 2 * index + 1
      if (left >= heap.length) break
      const right = left + 1
      const child = right < heap.length && isBefore(heap[right]!, heap[left]!) ? right : left
      if (!isBefore(heap[child]!, last)) break
      heap[index] = heap[child]!
      index = child
    }
    heap[index] = last
    return first
  }
}

const isBefore = (left: Entry, right: Entry): boolean => (left.at === right.at ? left.order < right.order : left.at < right.at)
