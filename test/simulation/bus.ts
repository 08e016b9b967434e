/** The bus of a simulation: wake-ups that all processes share, and that on their way get lost, doubled and out of order. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { type Announcement, Announcements } from "#adapters/memory/announcements.ts"
import { bucketOf, type Scope } from "#domain/scope.ts"
import { Bus, type Ticket } from "#services/ports/bus.ts"
import { allBuckets, type Buckets } from "#services/ports/ownership.ts"
import { type Chance, oneOf } from "./chance.ts"
import type { Gate } from "./gate.ts"

/** What happens to messages, as shares of them; and how many others a late one may let pass. */
export interface BusFaults {
  readonly dropped: number
  readonly doubled: number
  readonly reorderedWithin: number
}
export const faithful: BusFaults = { dropped: 0, doubled: 0, reorderedWithin: 0 }

const attemptsMax = 25
/** Tickets held back at the same time. */
const lateMax = 8
const reordered = 0.3

interface Taken {
  readonly announcement: Announcement
  /** One that settles nothing is a copy's. */
  readonly lease: number
}
interface Late extends Taken {
  readonly bucket: string
  /** Tickets that it lets pass. */
  after: number
}
export interface BusFigures {
  announced: number
  dropped: number
  doubled: number
  reordered: number
}

/** What outlives the processes of it: a queue per bucket, asked in turn. */
export class SharedBus {
  readonly figures: BusFigures = { announced: 0, dropped: 0, doubled: 0, reordered: 0 }
  readonly #queues = new Map<string, Announcements>()
  readonly #takers = new Set<() => void>()
  readonly #faults: BusFaults
  readonly #chance: Chance
  #late: Array<Late> = []

  constructor(faults: BusFaults, chance: Chance) {
    this.#faults = faults
    this.#chance = chance
  }

  get pending(): number {
    let pending = 0
    for (const { size } of this.#queues.values()) pending += size
    return pending
  }
  sum(of: "dropped" | "givenUp"): number {
    let sum = 0
    for (const queue of this.#queues.values()) sum += queue[of]
    return sum
  }

  announce(scope: Scope): void {
    this.figures.announced++
    if (this.#faults.dropped > 0 && this.#chance() < this.#faults.dropped) this.figures.dropped++
    else this.queueOf(scope).announce(scope)
  }

  queueOf(scope: Scope): Announcements {
    const bucket = bucketOf(scope.key)
    const known = this.#queues.get(bucket)
    if (known !== undefined) return known
    const queue = new Announcements(100_000, attemptsMax)
    this.#queues.set(bucket, queue)
    this.#listenTo(queue)
    return queue
  }

  #listenTo(queue: Announcements): void {
    queue.onChange(() => {
      this.#listenTo(queue)
      this.wake()
    })
  }

  /** Lets everybody who waits look again. */
  wake(): void {
    const woken = [...this.#takers]
    this.#takers.clear()
    for (const wake of woken) wake()
  }

  /** Calls back once, when `take` is worth another try. */
  onChange(wake: () => void): () => void {
    this.#takers.add(wake)
    return () => void this.#takers.delete(wake)
  }

  nextDue(owned: Buckets): number {
    let next = Number.POSITIVE_INFINITY
    for (const [bucket, queue] of this.#queues) if (owned.has(bucket)) next = Math.min(next, queue.nextDue())
    return next
  }

  take(now: number, leaseMillis: number, owned: Buckets): Taken | undefined {
    const late = this.#takeLate(owned, (each) => each.after-- <= 0)
    if (late !== undefined) return late
    for (const [bucket, queue] of this.#queues) {
      if (!owned.has(bucket)) continue
      const announcement = queue.take(now, leaseMillis)
      if (announcement === undefined) continue
      this.#queues.delete(bucket)
      this.#queues.set(bucket, queue)
      return this.#onTheWay({ announcement, lease: announcement.lease }, bucket) ?? this.take(now, leaseMillis, owned)
    }
    return this.#takeLate(owned, () => true)
  }

  #takeLate(owned: Buckets, isDue: (late: Late) => boolean): Taken | undefined {
    const found = this.#late.find((each) => owned.has(each.bucket) && isDue(each))
    if (found !== undefined) this.#late = this.#late.filter((each) => each !== found)
    return found
  }

  /** What becomes of a ticket on its way; undefined: others come first. */
  #onTheWay(taken: Taken, bucket: string): Taken | undefined {
    const { reorderedWithin, doubled } = this.#faults
    if (doubled > 0 && this.#chance() < doubled) {
      this.figures.doubled++
      this.#late.push({ ...taken, lease: -1, bucket, after: oneOf(this.#chance, [0, 1, 3]) })
    }
    if (reorderedWithin === 0 || this.#late.length >= lateMax || this.#chance() >= reordered) return taken
    this.figures.reordered++
    this.#late.push({ ...taken, bucket, after: Math.floor(this.#chance() * reorderedWithin) })
    return undefined
  }
}

export interface BusOptions {
  /** The buckets of the process; all when left out. */
  readonly owned?: () => Buckets
  readonly leaseMillis?: number
  /** The bus's own time, in milliseconds; the process's when left out. */
  readonly now?: Effect.Effect<number>
}
const everything: Buckets = new Set(allBuckets)

const busOver = (
  shared: SharedBus,
  gate: Gate,
  { owned = () => everything, leaseMillis = 60_000, now: time = Clock.currentTimeMillis }: BusOptions
): Bus["Service"] => {
  /** What the bus does not hear of, it forgets: the port knows no failure. */
  const told = (what: string, perform: () => void): Effect.Effect<void> =>
    gate.io<void, never>({
      port: "bus",
      what,
      perform: () => Exit.succeed(perform()),
      refused: () => Exit.void,
      unknown: () => Exit.void,
      timeoutMillis: 5_000
    })
  const changed = gate.changed((wake) => shared.onChange(wake))
  const ticketOf = ({ announcement, lease }: Taken): Ticket => {
    const queue = shared.queueOf(announcement.scope)
    return {
      scope: announcement.scope,
      attempt: announcement.attempt,
      done: told("done", () => queue.done(announcement, lease)),
      later: (milliseconds) => Effect.flatMap(time, (now) => told("later", () => queue.later(announcement, lease, now + milliseconds)))
    }
  }
  const take: Effect.Effect<Ticket> = Effect.gen(function* () {
    while (true) {
      const now = yield* time
      const taken = shared.take(now, leaseMillis, owned())
      if (taken !== undefined) return ticketOf(taken)
      const wait = shared.nextDue(owned()) - now
      yield* Number.isFinite(wait) ? Effect.timeoutOption(changed, Math.max(1, wait)) : changed
    }
  })
  return Bus.of({
    facts: { survivesPowerLoss: false, attemptsMax },
    announce: (scope) => told(`announce ${scope.key}`, () => shared.announce(scope)),
    work: Stream.paginate(null, () => Effect.map(take, (ticket) => [[ticket], Option.some(null)] as const)),
    pending: Effect.sync(() => shared.pending),
    figures: () => ({ dropped: shared.sum("dropped"), givenUp: shared.sum("givenUp") })
  })
}

export const busLayer = (shared: SharedBus, gate: Gate, options: BusOptions = {}) => Layer.succeed(Bus, busOver(shared, gate, options))
