/** What one worker knows of the others: who lives, which buckets each holds, and so which ones it may hold itself. */
import { allBuckets, type Buckets } from "#services/ports/ownership.ts"
import { assign } from "./rendezvous.ts"

/** What each worker says now and then, and whenever it changes. */
export interface Word {
  readonly member: string
  readonly what: "joins" | "holds" | "leaves"
  /** One hex digit for four buckets, in order. */
  readonly holds: string
}

export const encodeBuckets = (buckets: Buckets): string => {
  const digits: Array<string> = []
  for (let first = 0; first < allBuckets.length; first += 4) {
    let digit = 0
    for (let bit = 0; bit < 4; bit++) if (buckets.has(allBuckets[first + bit]!)) digit |= 1 << bit
    digits.push(digit.toString(16))
  }
  return digits.join("")
}
export const decodeBuckets = (text: string): Buckets =>
  new Set(allBuckets.filter((_, index) => (Number.parseInt(text[index >> 2] ?? "0", 16) & (1 << (index & 3))) !== 0))

interface Other {
  heardAt: number
  holds: Buckets
}

/**
 * A bucket moves by being let go and then taken: its new member waits until the old one no longer holds it, or was not heard for
 * a lease. Times are monotonic milliseconds of this process.
 */
export class Membership {
  readonly member: string
  private readonly leaseMillis: number
  private readonly others = new Map<string, Other>()
  private mine: Buckets = new Set()

  constructor(member: string, leaseMillis: number) {
    this.member = member
    this.leaseMillis = leaseMillis
  }

  get owned(): Buckets {
    return this.mine
  }
  get members(): ReadonlyArray<string> {
    return [this.member, ...this.others.keys()].toSorted()
  }

  /** True when the speaker has not heard of us yet. */
  hear(word: Word, now: number): boolean {
    if (word.member === this.member) return false
    if (word.what === "leaves") {
      this.others.delete(word.member)
      return false
    }
    const isNew = word.what === "joins" || !this.others.has(word.member)
    this.others.set(word.member, { heardAt: now, holds: decodeBuckets(word.holds) })
    return isNew
  }

  /** After a time without a connection nobody was heard, and nobody is to be taken for dead. */
  forgive(now: number): void {
    for (const other of this.others.values()) other.heardAt = now
  }

  /** Takes and lets go what has to be; true when something changed. */
  settle(now: number): boolean {
    for (const [member, { heardAt }] of this.others) if (heardAt + this.leaseMillis <= now) this.others.delete(member)
    const wanted = assign(this.members, allBuckets).get(this.member)!
    const elsewhere = [...this.others.values()].map(({ holds }) => holds)
    const next = new Set([...wanted].filter((bucket) => this.mine.has(bucket) || !elsewhere.some((held) => held.has(bucket))))
    if (encodeBuckets(next) === encodeBuckets(this.mine)) return false
    this.mine = next
    return true
  }

  /** Lets everything go. */
  leave(): void {
    this.mine = new Set()
  }

  say(what: Word["what"]): Word {
    return { member: this.member, what, holds: encodeBuckets(this.mine) }
  }
}
