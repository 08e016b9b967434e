/** Scopes that were announced and are not done yet: ready ones in order of arrival, held and delayed ones by time. */
import type { Scope, ScopeKey } from "#domain/scope.ts"

/** One scope's announcement, from the first until its ticket is done. */
export interface Announcement {
  readonly scope: Scope
  attempt: number
  /** Announced again while a worker held the ticket: it comes once more after that one is done. */
  again: boolean
  /** While it waits: when its lease ends, or when it was asked to come again. */
  until: number
  /** The holder's number; 0 when nobody holds it. Only the newest holder may settle it. */
  lease: number
}

export class Announcements {
  private readonly pendingMax: number
  private readonly attemptsMax: number
  private readonly pending = new Map<ScopeKey, Announcement>()
  private readonly ready = new Set<Announcement>()
  /** Held or delayed. */
  private readonly waiting = new Set<Announcement>()
  private readonly takers = new Set<() => void>()
  private leases = 0
  /** No waiting one is due before this; it may be too early, never too late. */
  private earliest = Number.POSITIVE_INFINITY
  dropped = 0
  givenUp = 0

  constructor(pendingMax: number, attemptsMax: number) {
    this.pendingMax = pendingMax
    this.attemptsMax = attemptsMax
  }

  get size(): number {
    return this.pending.size
  }

  announce(scope: Scope): void {
    const known = this.pending.get(scope.key)
    if (known !== undefined) known.again ||= known.lease !== 0
    else if (this.pending.size < this.pendingMax) {
      const announcement: Announcement = { scope, attempt: 0, again: false, until: 0, lease: 0 }
      this.pending.set(scope.key, announcement)
      this.makeReady(announcement)
    } else this.dropped++
  }

  /** The oldest ready one, held from now on; undefined when there is none. */
  take(now: number, leaseMillis: number): Announcement | undefined {
    this.releaseDue(now)
    const next = this.nextReady()
    if (next === undefined) return undefined
    this.ready.delete(next)
    next.lease = ++this.leases
    next.attempt++
    this.waitUntil(next, now + leaseMillis)
    return next
  }

  done(announcement: Announcement, lease: number): void {
    if (announcement.lease !== lease) return
    this.waiting.delete(announcement)
    if (announcement.again) {
      announcement.again = false
      announcement.attempt = 0
      this.makeReady(announcement)
    } else this.pending.delete(announcement.scope.key)
  }

  later(announcement: Announcement, lease: number, until: number): void {
    if (announcement.lease !== lease) return
    announcement.lease = 0
    this.waitUntil(announcement, until)
  }

  /** Calls back once, when `take` is worth another try. Returns how to stop waiting. */
  onChange(taker: () => void): () => void {
    this.takers.add(taker)
    return () => void this.takers.delete(taker)
  }

  /** The time from which a waiting one may be due; infinite when none waits. */
  nextDue(): number {
    return this.earliest
  }

  /** Those that came often enough without being done are given up on the way. */
  private nextReady(): Announcement | undefined {
    for (const next of this.ready) {
      if (next.attempt < this.attemptsMax) return next
      this.ready.delete(next)
      this.pending.delete(next.scope.key)
      this.givenUp++
    }
    return undefined
  }

  private releaseDue(now: number): void {
    if (now < this.earliest) return
    this.earliest = Number.POSITIVE_INFINITY
    for (const announcement of this.waiting) {
      if (announcement.until <= now) this.makeReady(announcement)
      else this.earliest = Math.min(this.earliest, announcement.until)
    }
  }

  private makeReady(announcement: Announcement): void {
    announcement.lease = 0
    this.waiting.delete(announcement)
    this.ready.add(announcement)
    this.wake()
  }

  private waitUntil(announcement: Announcement, until: number): void {
    announcement.until = until
    this.waiting.add(announcement)
    if (until >= this.earliest) return
    this.earliest = until
    this.wake()
  }

  private wake(): void {
    const woken = [...this.takers]
    this.takers.clear()
    for (const taker of woken) taker()
  }
}
