/** The tickets that this process has of the server's: one per scope at a time, whatever the server delivers. */
import type { Scope, ScopeKey } from "#domain/scope.ts"

/** An announcement as the server delivered it. */
export interface Delivered {
  readonly scope: Scope
  readonly bucket: string
  /** Place in the stream: the same one again is a redelivery. */
  readonly sequence: number
  /** 1 for the first delivery. */
  readonly attempt: number
  /** Monotonic milliseconds. */
  readonly at: number
  readonly ack: () => void
  /** Gives it back at once. */
  readonly nak: () => void
  /** Begins its lease anew. */
  readonly extend: () => void
}

/** A scope's announcement, from its arrival here until it is done or its lease has run out. */
export interface Held {
  readonly scope: Scope
  readonly bucket: string
  message: Delivered
  /** Announced again while a worker held it: its next ticket. */
  next: Delivered | undefined
  /** The holder's number; 0: ready. */
  lease: number
  /** When the holder's lease ends. */
  until: number
}

/**
 * The server acknowledges whoever answers, also a holder whose lease has run out: so a holder's lease is judged here, and it is a
 * little shorter than the server's.
 */
export class Tickets {
  private readonly leaseMillis: number
  private readonly byKey = new Map<ScopeKey, Held>()
  private readonly ready = new Set<Held>()
  private readonly readyByBucket = new Map<string, number>()
  /** In the order in which their leases end. */
  private readonly held = new Map<number, Held>()
  private readonly takers = new Set<() => void>()
  private leases = 0

  constructor(leaseMillis: number) {
    this.leaseMillis = leaseMillis
  }

  readyIn(bucket: string): number {
    return this.readyByBucket.get(bucket) ?? 0
  }

  arrive(message: Delivered): void {
    const known = this.byKey.get(message.scope.key)
    if (known === undefined) {
      const { scope, bucket } = message
      this.add({ scope, bucket, message, next: undefined, lease: 0, until: 0 })
    } else if (known.lease === 0) {
      if (known.message.sequence === message.sequence || this.isStale(known, message.at)) known.message = message
      else message.ack()
    } else if (known.message.sequence === message.sequence || known.until <= message.at) {
      this.drop(known)
      this.add({ ...known, message, next: undefined, lease: 0 })
    } else {
      if (known.next !== undefined && known.next.sequence !== message.sequence) known.next.ack()
      known.next = message
    }
  }

  /** The one that has waited longest, held from now on. */
  take(now: number): Held | undefined {
    this.forgetExpired(now)
    for (const next of this.ready) {
      this.unready(next)
      if (this.isStale(next, now)) {
        // The server delivers it again, perhaps elsewhere.
        this.byKey.delete(next.scope.key)
        continue
      }
      if (next.message.at < now) next.message.extend()
      next.lease = ++this.leases
      next.until = now + this.leaseMillis
      this.held.set(next.lease, next)
      return next
    }
    return undefined
  }

  /** False: its lease had run out, and it is somebody else's by now. */
  done(ticket: Held, lease: number, now: number): boolean {
    if (!this.settle(ticket, lease, now)) return false
    ticket.message.ack()
    if (ticket.next !== undefined) this.add({ ...ticket, message: ticket.next, next: undefined, lease: 0 })
    return true
  }

  /** Takes it off the server; false as with `done`. */
  withdraw(ticket: Held, lease: number, now: number): boolean {
    if (!this.settle(ticket, lease, now)) return false
    ticket.message.ack()
    ticket.next?.ack()
    return true
  }

  /** Gives back at once what nobody holds, of the buckets that are not ours any more. */
  handBack(isOurs: (bucket: string) => boolean): void {
    for (const ticket of this.ready) {
      if (isOurs(ticket.bucket)) continue
      this.unready(ticket)
      this.byKey.delete(ticket.scope.key)
      ticket.message.nak()
    }
  }

  /** Gives back everything, also what is held: this process stops. */
  handBackAll(): void {
    for (const { message, next } of this.byKey.values()) {
      message.nak()
      next?.nak()
    }
    this.byKey.clear()
    this.ready.clear()
    this.held.clear()
  }

  /** Calls back once, when there may be one to take, perhaps at once. Returns how to stop waiting. */
  onReady(taker: () => void): () => void {
    if (this.ready.size > 0) taker()
    else this.takers.add(taker)
    return () => void this.takers.delete(taker)
  }

  /** Ends the lease; false when there was none any more. */
  private settle(ticket: Held, lease: number, now: number): boolean {
    if (ticket.lease !== lease || this.held.get(lease) !== ticket || ticket.until <= now) return false
    this.drop(ticket)
    return true
  }

  private drop(ticket: Held): void {
    this.held.delete(ticket.lease)
    this.byKey.delete(ticket.scope.key)
  }

  private add(ticket: Held): void {
    this.byKey.set(ticket.scope.key, ticket)
    this.ready.add(ticket)
    this.readyByBucket.set(ticket.bucket, this.readyIn(ticket.bucket) + 1)
    const woken = [...this.takers]
    this.takers.clear()
    for (const taker of woken) taker()
  }

  private unready(ticket: Held): void {
    this.ready.delete(ticket)
    this.readyByBucket.set(ticket.bucket, this.readyIn(ticket.bucket) - 1)
  }

  private isStale({ message }: Held, now: number): boolean {
    return message.at + this.leaseMillis <= now
  }

  private forgetExpired(now: number): void {
    for (const ticket of this.held.values()) {
      if (ticket.until > now) return
      this.drop(ticket)
    }
  }
}
