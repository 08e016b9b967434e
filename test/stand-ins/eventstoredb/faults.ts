/** What the stand-in is told to do wrong, by its control port. */

export interface FaultCounts {
  readonly dropped: number
  readonly delayed: number
  readonly notLeader: number
  readonly resets: number
}

export class Faults {
  /** Milliseconds before each append is looked at. */
  delayMillis = 0
  /** So many appends are committed, and their connections broken before the answer. */
  dropAnswers = 0
  /** So many appends are refused with "not the leader", naming this endpoint. */
  notLeaderFor = 0
  leader = { host: "127.0.0.1", port: 0 }
  private frozen: Promise<void> | null = null
  private thawFrozen: () => void = () => {}
  readonly counts = { dropped: 0, delayed: 0, notLeader: 0, resets: 0 }

  freeze(): void {
    if (this.frozen === null) this.frozen = new Promise((resolve) => (this.thawFrozen = resolve))
  }

  thaw(): void {
    this.thawFrozen()
    this.frozen = null
  }

  /** Waits as long as it is told to; null when there is no reason to. */
  hold(): Promise<void> | null {
    if (this.frozen !== null) return this.frozen
    if (this.delayMillis === 0) return null
    this.counts.delayed++
    return new Promise((resolve) => setTimeout(resolve, this.delayMillis))
  }

  takeDrop(): boolean {
    if (this.dropAnswers === 0) return false
    this.dropAnswers--
    this.counts.dropped++
    return true
  }

  takeNotLeader(): boolean {
    if (this.notLeaderFor === 0) return false
    this.notLeaderFor--
    this.counts.notLeader++
    return true
  }
}
