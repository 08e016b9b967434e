/** Announcements on their way to the server: bounded, one per scope, repeated until the server has them. */
import { JetStreamApiError } from "@nats-io/jetstream"
import { nuid } from "@nats-io/transport-node"
import type { Scope, ScopeKey } from "#domain/scope.ts"
import type { Nats } from "./connection.ts"
import { workSubject } from "./work-stream.ts"

const limits = {
  /** Announcements that wait for the server's answer. */
  sending: 256,
  answerMillis: 2_000,
  /** Pause after the server could not be reached: doubled from the first to the last. */
  pauseFirstMillis: 100,
  pauseLastMillis: 2_000,
  /**
   * When the server had no room for the scope, its two may have been taken just before the work was there, with the answer to
   * that still on its way: after this time it is tried once more.
   */
  secondTryMillis: 100
} as const
const storeRefused = 10077

interface Announcement {
  readonly scope: Scope
  /** Deliveries before this one. */
  readonly attempts: number
  readonly isSecondTry: boolean
}

export interface OutboxEvents {
  /** The server has no such stream, or does not answer. */
  readonly onStalled: () => void
}

export class Outbox {
  private readonly nats: Nats["Service"]
  private readonly prefix: string
  private readonly pendingMax: number
  private readonly events: OutboxEvents
  private readonly waiting = new Map<ScopeKey, Announcement>()
  private readonly refused = new Map<ScopeKey, Announcement>()
  private readonly sending = new Set<ScopeKey>()
  private readonly idlers = new Set<() => void>()
  private secondTry: NodeJS.Timeout | undefined
  private paused: NodeJS.Timeout | undefined
  private pauseMillis: number = limits.pauseFirstMillis
  private closed = false
  dropped = 0

  constructor(nats: Nats["Service"], prefix: string, pendingMax: number, events: OutboxEvents) {
    this.nats = nats
    this.prefix = prefix
    this.pendingMax = pendingMax
    this.events = events
  }

  /** Scopes whose announcement the server is not known to have. */
  get size(): number {
    return this.waiting.size + this.sending.size
  }

  announce(scope: Scope, attempts = 0): void {
    if (this.closed || this.waiting.has(scope.key)) return
    if (this.size >= this.pendingMax) {
      this.dropped++
      return
    }
    this.waiting.set(scope.key, { scope, attempts, isSecondTry: false })
    this.pump()
  }

  /** The server is there again. */
  resume(): void {
    clearTimeout(this.paused)
    this.paused = undefined
    this.pauseMillis = limits.pauseFirstMillis
    this.pump()
  }

  /** Resolves once nothing is on its way. */
  async idle(): Promise<void> {
    if (this.size > 0) await new Promise<void>((resolve) => this.idlers.add(resolve))
  }

  close(): void {
    this.closed = true
    clearTimeout(this.paused)
    clearTimeout(this.secondTry)
  }

  private pump(): void {
    if (this.paused !== undefined || this.closed || !this.nats.isConnected()) return
    for (const announcement of this.waiting.values()) {
      if (this.sending.size >= limits.sending) return
      const { key } = announcement.scope
      if (this.sending.has(key)) continue
      this.waiting.delete(key)
      this.sending.add(key)
      void this.send(announcement)
    }
  }

  private async send(announcement: Announcement): Promise<void> {
    const { scope, attempts } = announcement
    const body = JSON.stringify({ space: scope.space, attempts })
    try {
      const options = { msgID: nuid.next(), timeout: limits.answerMillis }
      await this.nats.whileConnected(() => this.nats.client.publish(workSubject(this.prefix, scope), body, options))
      this.pauseMillis = limits.pauseFirstMillis
    } catch (error) {
      this.failed(announcement, error)
    }
    this.sending.delete(scope.key)
    this.pump()
    if (this.size > 0) return
    for (const idler of this.idlers) idler()
    this.idlers.clear()
  }

  private failed(announcement: Announcement, error: unknown): void {
    const { key } = announcement.scope
    if (error instanceof JetStreamApiError && error.code === storeRefused) {
      if (!error.message.includes("per subject")) this.dropped++
      else if (!announcement.isSecondTry && this.refused.size < this.pendingMax) {
        this.refused.set(key, { ...announcement, isSecondTry: true })
        this.secondTry ??= setTimeout(() => this.tryAgain(), limits.secondTryMillis)
      }
      return
    }
    if (!this.waiting.has(key)) this.waiting.set(key, announcement)
    if (this.paused !== undefined || this.closed) return
    this.paused = setTimeout(() => {
      this.paused = undefined
      this.pump()
    }, this.pauseMillis)
    this.pauseMillis = Math.min(limits.pauseLastMillis, this.pauseMillis * 2)
    this.events.onStalled()
  }

  private tryAgain(): void {
    this.secondTry = undefined
    for (const [key, announcement] of this.refused) if (!this.waiting.has(key)) this.waiting.set(key, announcement)
    this.refused.clear()
    this.pump()
  }
}
