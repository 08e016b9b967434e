/**
 * Buckets shared among the workers of an installation. They tell each other over plain NATS subjects what they hold: nothing is
 * stored, so there is nothing to lose with the server, and a worker that cannot reach it keeps what it has.
 */
import { nuid } from "@nats-io/transport-node"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { newest } from "#adapters/memory/newest.ts"
import { type Buckets, Ownership } from "#services/ports/ownership.ts"
import { Nats } from "./connection.ts"
import { Membership, type Word } from "./membership.ts"

export interface OwnershipOptions {
  /** Of this installation (`prefixOf` its journal's id). */
  readonly prefix: string
  /** A worker that was not heard for so long is replaced. */
  readonly leaseMillis?: number
  /** How long a new worker listens before it takes anything. */
  readonly listenMillis?: number
}
const defaults = { leaseMillis: 8_000, listenMillis: 250 }
const wordsPerLease = 4

class SharedBuckets {
  readonly membership: Membership
  private readonly nats: Nats["Service"]
  private readonly subject: string
  private readonly listeners = new Set<(buckets: Buckets) => void>()
  private readonly subscription
  private readonly beat: NodeJS.Timeout
  private readonly listening: NodeJS.Timeout
  private hasListened = false
  private closed = false

  constructor(nats: Nats["Service"], { prefix, leaseMillis, listenMillis }: Required<OwnershipOptions>) {
    this.nats = nats
    this.subject = `${prefix}.members`
    this.membership = new Membership(nuid.next(), leaseMillis)
    this.subscription = nats.connection.subscribe(this.subject, {
      callback: (error, message) => {
        if (error === null) this.hear(message.json<Word>())
      }
    })
    this.say("joins")
    this.listening = setTimeout(() => {
      this.hasListened = true
      this.settle()
    }, listenMillis)
    let lastBeat = performance.now()
    this.beat = setInterval(() => {
      const now = performance.now()
      // Who stood still heard nobody either: what was said meanwhile is still to be read.
      if (now - lastBeat > leaseMillis / 2) this.membership.forgive(now)
      lastBeat = now
      if (!nats.isConnected()) return
      this.say("holds")
      this.settle()
    }, leaseMillis / wordsPerLease)
    nats.onChange((connected) => {
      if (!connected) return
      this.membership.forgive(performance.now())
      this.say(this.hasListened ? "holds" : "joins")
    })
  }

  onChange(listener: (buckets: Buckets) => void): () => void {
    this.listeners.add(listener)
    return () => void this.listeners.delete(listener)
  }

  async close(): Promise<void> {
    this.closed = true
    clearInterval(this.beat)
    clearTimeout(this.listening)
    this.membership.leave()
    if (this.nats.connection.isClosed()) return
    this.subscription.unsubscribe()
    this.nats.connection.publish(this.subject, JSON.stringify(this.membership.say("leaves")))
    if (this.nats.isConnected()) await this.nats.connection.flush().catch(() => undefined)
  }

  private hear(word: Word): void {
    if (this.closed) return
    if (this.membership.hear(word, performance.now())) this.say("holds")
    this.settle()
  }

  private settle(): void {
    if (!this.hasListened || !this.membership.settle(performance.now())) return
    for (const listener of this.listeners) listener(this.membership.owned)
    this.say("holds")
  }

  private say(what: Word["what"]): void {
    if (!this.closed && !this.nats.connection.isClosed())
      this.nats.connection.publish(this.subject, JSON.stringify(this.membership.say(what)))
  }
}

export const layer = (options: OwnershipOptions) =>
  Layer.effect(
    Ownership,
    Effect.gen(function* () {
      const nats = yield* Nats
      const shared = yield* Effect.acquireRelease(
        Effect.sync(() => new SharedBuckets(nats, { ...defaults, ...options })),
        (shared) => Effect.promise(() => shared.close())
      )
      const { membership } = shared
      return Ownership.of({
        member: membership.member,
        owned: () => membership.owned,
        changes: newest(
          () => membership.owned,
          (changed) => shared.onChange(changed)
        ),
        members: () => membership.members
      })
    })
  )
