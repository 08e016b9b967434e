/** What becomes due soon, earliest first: a binary heap in memory. The open-work index holds everything; this only saves looking. */

export interface Due<Item> {
  readonly at: number
  readonly item: Item
}

export class DueQueue<Item> {
  readonly #heap: Array<Due<Item>> = []

  get size(): number {
    return this.#heap.length
  }

  /** Epoch milliseconds of the earliest item. */
  get earliestAt(): number | undefined {
    return this.#heap[0]?.at
  }

  add(at: number, item: Item): void {
    const heap = this.#heap
    let index = heap.push({ at, item }) - 1
    while (index > 0) {
      const parent = (index - 1) >> 1
      if (heap[parent]!.at <= heap[index]!.at) break
      ;[heap[parent], heap[index]] = [heap[index]!, heap[parent]!]
      index = parent
    }
  }

  /** Removes and returns the earliest item when it is due at `now`. */
  take(now: number): Item | undefined {
    const heap = this.#heap
    const first = heap[0]
    if (first === undefined || first.at > now) return undefined
    const last = heap.pop()!
    if (heap.length > 0) {
      heap[0] = last
      this.#sink()
    }
    return first.item
  }

  #sink(): void {
    const heap = this.#heap
    let index = 0
    for (;;) {
      const left = 2 * index + 1
      if (left >= heap.length) return
      const right = left + 1
      const child = right < heap.length && heap[right]!.at < heap[left]!.at ? right : left
      if (heap[index]!.at <= heap[child]!.at) return
      ;[heap[index], heap[child]] = [heap[child]!, heap[index]!]
      index = child
    }
  }
}
