/** Wake-ups within one process: what is lost with it, or for want of room, stands in the open-work index. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { Bus, type Ticket } from "#services/ports/bus.ts"
import { type Announcement, Announcements } from "./announcements.ts"

export interface BusOptions {
  /** How long a worker may hold a ticket before it comes again. */
  readonly leaseMillis: number
  /** Scopes pending at once; a further announcement is left to the sweeper, which announces what is overdue (R24). */
  readonly pendingMax: number
  /** Times that an announcement comes without being done before it is given up. */
  readonly attemptsMax: number
}
const defaults: BusOptions = { leaseMillis: 60_000, pendingMax: 100_000, attemptsMax: 25 }

/** Leases and delays are lengths of time: a wall clock that is set must neither end nor prolong them. */
const monotonicMillis = Effect.map(Clock.monotonicTimeNanos, (nanos) => Number(nanos / 1_000n) / 1_000)

const makeBus = ({ leaseMillis, pendingMax, attemptsMax }: BusOptions) => {
  const announcements = new Announcements(pendingMax, attemptsMax)
  const changed = Effect.callback<void>((resume) => {
    const stop = announcements.onChange(() => resume(Effect.void))
    return Effect.sync(stop)
  })
  const ticketOf = (announcement: Announcement): Ticket => {
    const { scope, attempt, lease } = announcement
    return {
      scope,
      attempt,
      done: Effect.sync(() => announcements.done(announcement, lease)),
      later: (milliseconds) => Effect.map(monotonicMillis, (now) => announcements.later(announcement, lease, now + milliseconds))
    }
  }
  const take: Effect.Effect<Ticket> = Effect.gen(function* () {
    while (true) {
      const now = yield* monotonicMillis
      const taken = announcements.take(now, leaseMillis)
      if (taken !== undefined) return ticketOf(taken)
      const wait = Math.ceil(announcements.nextDue() - now)
      yield* Number.isFinite(wait) ? Effect.timeoutOption(changed, wait) : changed
    }
  })
  return Bus.of({
    facts: { survivesPowerLoss: false, attemptsMax },
    announce: (scope) => Effect.sync(() => announcements.announce(scope)),
    work: Stream.paginate(null, () => Effect.map(take, (ticket) => [[ticket], Option.some(null)] as const)),
    pending: Effect.sync(() => announcements.size),
    figures: () => ({ dropped: announcements.dropped, givenUp: announcements.givenUp })
  })
}

export const layerWith = (options: Partial<BusOptions>) =>
  Layer.effect(
    Bus,
    Effect.sync(() => makeBus({ ...defaults, ...options }))
  )

export const layer = layerWith({})
