/** The newest position that is known here, and who waits for one behind it. */

export class HeadWatch {
  private position: number
  private readonly waiters = new Set<() => void>()

  constructor(position: number) {
    this.position = position
  }

  /** A lower position than before changes nothing: messages may overtake each other. */
  advance(position: number): void {
    if (position <= this.position) return
    this.position = position
    if (this.waiters.size === 0) return
    const woken = [...this.waiters]
    this.waiters.clear()
    for (const wake of woken) wake()
  }

  /** Calls back once, as soon as something lies behind a position. Returns how to stop waiting. */
  whenAfter(position: number, wake: () => void): () => void {
    if (this.position > position) {
      wake()
      return () => {}
    }
    this.waiters.add(wake)
    return () => void this.waiters.delete(wake)
  }
}
