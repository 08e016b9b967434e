/** Tells how far a move is, every few seconds. */
export class Progress {
  private readonly tell: (line: string) => void
  private readonly what: string
  private readonly total: number
  private readonly startedAt = Date.now()
  private toldAt = this.startedAt
  private readonly begun: number
  private done: number

  /** `begun` were done by an earlier try. */
  constructor(tell: (line: string) => void, what: string, total: number, begun: number) {
    this.tell = tell
    this.what = what
    this.total = total
    this.done = this.begun = begun
  }

  add(count: number): void {
    this.done += count
    const now = Date.now()
    if (now - this.toldAt < tellMillis) return
    this.toldAt = now
    const share = this.total === 0 ? 100 : Math.floor((this.done / this.total) * 100)
    this.tell(`${this.what}: ${counted(this.done)} of ${counted(this.total)} (${share} %), ${counted(this.perSecond)} per second`)
  }

  private get perSecond(): number {
    return Math.round(((this.done - this.begun) * 1_000) / Math.max(1, Date.now() - this.startedAt))
  }
}

const tellMillis = 2_000

/** 1234567 as `1,234,567`. */
export const counted = (count: number): string => count.toLocaleString("en-US")
