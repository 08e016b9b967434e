/**
 * Wake-ups over a NATS work queue. The server keeps what is pending and leases it; time is kept here: a ticket for later is taken
 * off the server and announced again by a timer of this process, because a delayed message would hold one of the server's slots
 * (R26). Whatever a crash or a wiped server loses, the sweeper announces again.
 */
import type { Msg } from "@nats-io/transport-node"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { type Scope, type ScopeKey, scopeOf } from "#domain/scope.ts"
import { Bus, type Ticket } from "#services/ports/bus.ts"
import { type Buckets, Ownership } from "#services/ports/ownership.ts"
import { Nats, refusedStream } from "./connection.ts"
import { Outbox } from "./outbox.ts"
import { Pulls } from "./pulls.ts"
import { type Delivered, type Held, Tickets } from "./tickets.ts"
import { subjectParts, WorkStream } from "./work-stream.ts"

export interface BusOptions {
  /** Of this installation (`prefixOf` its journal's id). */
  readonly prefix: string
  readonly leaseMillis?: number
  readonly pendingMax?: number
  readonly attemptsMax?: number
  readonly replicas?: number
}
const defaults = { leaseMillis: 60_000, pendingMax: 100_000, attemptsMax: 25, replicas: 1 }
/** Pauses while the stream cannot be made again: doubled from the first to the last. */
const mendMillis = { first: 100, last: 5_000 }
/** What is lost may be in the middle of being deleted: a stream that is made again meanwhile is broken on the server (seen on 2.9). */
const lostMillis = 500
/** How long `pending` waits for announcements on their way. */
const flushMillis = 500

/** Everything behind the port, as long as the process works. */
class NatsBus {
  private readonly nats: Nats["Service"]
  private readonly options: Required<BusOptions>
  private readonly ownership: Ownership["Service"]
  private readonly stream: WorkStream
  private readonly tickets: Tickets
  private readonly outbox: Outbox
  private readonly pulls: Pulls
  private readonly delayed = new Map<ScopeKey, NodeJS.Timeout>()
  private mending: Promise<void> | undefined
  private mendAgain = false
  private mendTimer: NodeJS.Timeout | undefined
  private mendPause = mendMillis.first
  private lastPending = 0
  private closed = false
  givenUp = 0

  constructor(nats: Nats["Service"], ownership: Ownership["Service"], options: Required<BusOptions>) {
    this.nats = nats
    this.options = options
    this.ownership = ownership
    this.stream = new WorkStream(nats.streams, options)
    this.tickets = new Tickets(options.leaseMillis)
    this.outbox = new Outbox(nats, options.prefix, options.pendingMax, { onStalled: () => this.mendIn(lostMillis) })
    this.pulls = new Pulls(nats.connection, this.stream.name, {
      onMessage: (message) => this.arrive(message),
      readyIn: (bucket) => this.tickets.readyIn(bucket),
      onLost: () => this.mendIn(lostMillis)
    })
    nats.onChange((connected) => {
      if (connected) void this.mend()
    })
  }

  get dropped(): number {
    return this.outbox.dropped
  }

  /** The first time a refusal is the caller's to hear. */
  readonly open = async (): Promise<void> => {
    await this.stream.ensure([])
    void this.mend()
  }

  announce(scope: Scope): void {
    this.outbox.announce(scope)
  }

  take(): Ticket | undefined {
    const taken = this.tickets.take(performance.now())
    if (taken === undefined) return undefined
    this.pulls.more(taken.bucket)
    return this.ticketOf(taken)
  }

  readonly ready = Effect.callback<void>((resume) => {
    const stop = this.tickets.onReady(() => resume(Effect.void))
    return Effect.sync(stop)
  })

  async pending(): Promise<number> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, flushMillis)
    })
    if (this.nats.isConnected()) await Promise.race([this.outbox.idle(), late])
    clearTimeout(timer)
    if (this.nats.isConnected()) this.lastPending = await this.stream.pending().catch(() => this.lastPending)
    return this.lastPending + this.outbox.size + this.delayed.size
  }

  /** Other buckets are ours from now on. */
  own(buckets: Buckets): void {
    this.pulls.keepOnly(buckets)
    this.tickets.handBack((bucket) => buckets.has(bucket))
    void this.mend()
  }

  async close(): Promise<void> {
    this.closed = true
    clearTimeout(this.mendTimer)
    for (const timer of this.delayed.values()) clearTimeout(timer)
    this.outbox.close()
    this.pulls.close()
    if (this.nats.connection.isClosed()) return
    this.tickets.handBackAll()
    if (this.nats.isConnected()) await this.nats.connection.flush().catch(() => undefined)
  }

  /** After this time at the earliest, and at twice of it at the latest: not all processes at once. */
  private mendIn(milliseconds: number): void {
    if (this.closed || this.mendTimer !== undefined) return
    this.mendTimer = setTimeout(
      () => {
        this.mendTimer = undefined
        void this.mend()
      },
      milliseconds * (1 + Math.random())
    )
  }

  /** Makes stream and consumers again, however they were lost, and asks anew. One at a time; never gives up. */
  private mend(): Promise<void> {
    this.mendAgain = true
    this.mending ??= this.mendAll().finally(() => {
      this.mending = undefined
    })
    return this.mending
  }

  private async mendAll(): Promise<void> {
    while (this.mendAgain && !this.closed && this.nats.isConnected()) {
      this.mendAgain = false
      try {
        const buckets = this.ownership.owned()
        const life = await this.nats.whileConnected(() => this.stream.ensure(buckets))
        if (this.closed) return
        this.mendPause = mendMillis.first
        this.pulls.start(buckets, life)
        this.outbox.resume()
      } catch {
        this.mendIn(this.mendPause)
        this.mendPause = Math.min(mendMillis.last, this.mendPause * 2)
        return
      }
    }
  }

  private arrive(message: Msg): void {
    const delivered = this.read(message)
    this.pulls.received(delivered.bucket)
    if (this.closed || !this.ownership.owned().has(delivered.bucket)) delivered.nak()
    else if (delivered.attempt <= this.options.attemptsMax) this.tickets.arrive(delivered)
    else {
      this.givenUp++
      delivered.ack()
    }
    this.pulls.more(delivered.bucket)
  }

  private read(message: Msg): Delivered {
    const { bucket, key } = subjectParts(message.subject)
    const { space, attempts } = message.json<{ space: string; attempts: number }>()
    const reply = message.reply!
    // $JS.ACK.[<domain>.<account>.]<stream>.<consumer>.<deliveries>.<sequence>.<consumer sequence>.<time>.<pending>[.<token>]
    const tokens = reply.split(".")
    const first = tokens.length > 9 ? 6 : 4
    const answer = (text: string) => () => {
      if (!this.nats.connection.isClosed()) this.nats.connection.publish(reply, text)
    }
    return {
      scope: scopeOf(space, key),
      bucket,
      sequence: Number(tokens[first + 1]),
      attempt: attempts + Number(tokens[first]),
      at: performance.now(),
      ack: answer("+ACK"),
      nak: answer("-NAK"),
      extend: answer("+WPI")
    }
  }

  private ticketOf(held: Held): Ticket {
    const { lease, scope } = held
    const { attempt } = held.message
    return {
      scope,
      attempt,
      // Not waited for: an answer that is lost only makes the ticket come again.
      done: Effect.sync(() => void this.tickets.done(held, lease, performance.now())),
      later: (milliseconds) =>
        Effect.sync(() => {
          if (this.tickets.withdraw(held, lease, performance.now())) this.announceLater(scope, attempt, milliseconds)
        })
    }
  }

  private announceLater(scope: Scope, attempts: number, milliseconds: number): void {
    if (this.closed || this.delayed.size >= this.options.pendingMax) return
    clearTimeout(this.delayed.get(scope.key))
    const announce = () => {
      this.delayed.delete(scope.key)
      this.outbox.announce(scope, attempts)
    }
    this.delayed.set(scope.key, setTimeout(announce, milliseconds))
  }
}

export const layer = (options: BusOptions) =>
  Layer.effect(
    Bus,
    Effect.gen(function* () {
      const nats = yield* Nats
      const ownership = yield* Ownership
      const settings = { ...defaults, ...options }
      const bus = yield* Effect.acquireRelease(
        Effect.sync(() => new NatsBus(nats, ownership, settings)),
        (bus) => Effect.promise(() => bus.close())
      )
      yield* Effect.tryPromise({ try: bus.open, catch: (cause) => refusedStream(nats.servers, cause) })
      yield* Stream.runForEach(ownership.changes, (buckets) => Effect.sync(() => bus.own(buckets))).pipe(
        Effect.forkScoped({ startImmediately: true })
      )
      const take: Effect.Effect<Ticket> = Effect.suspend(() => {
        const ticket = bus.take()
        return ticket === undefined ? Effect.flatMap(bus.ready, () => take) : Effect.succeed(ticket)
      })
      return Bus.of({
        // Servers acknowledge before the disk has it.
        facts: { survivesPowerLoss: false, attemptsMax: settings.attemptsMax },
        announce: (scope) => Effect.sync(() => bus.announce(scope)),
        work: Stream.paginate(null, () => Effect.map(take, (ticket) => [[ticket], Option.some(null)] as const)),
        pending: Effect.promise(() => bus.pending()),
        figures: () => ({ dropped: bus.dropped, givenUp: bus.givenUp })
      })
    })
  )
