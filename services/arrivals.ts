/**
 * Arrivals: events that come in for one tenant at the same time are recorded together with what they lead to, in one append to all
 * their streams. Whatever does not fit this is left to the ordinary way: recorded first, and routed then.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import * as Layer from "effect/Layer"
import type { DeliveryId, TenantKey } from "#domain/ids.ts"
import { quotaWindowAt } from "#domain/quota.ts"
import type { TenantScope } from "#domain/scope.ts"
import { BoundedCache } from "./bounded-cache.ts"
import { Quotas } from "./quotas.ts"
import { Suspects } from "./suspects.ts"
import { type Part, PartRefused, Transact, type Transacted } from "./transact.ts"

/** An event with its routing and the beginnings of its runs, decided and not written yet. */
export interface Arrival {
  readonly deliveryId: DeliveryId
  /** Epoch milliseconds: the window of the quota that it is counted in. */
  readonly receivedAt: number
  /** Of its contents, about. */
  readonly bytes: number
  /** The delivery's own, and one for each run: all of streams that are presumed absent. */
  readonly parts: ReadonlyArray<Part>
  /** Is told once what became of the parts, in their order; null: nothing was recorded. */
  readonly settle: (recorded: Recorded | null) => void
}
// biome-ignore lint/suspicious/noExplicitAny: each caller knows the aggregates of its own parts.
export type Recorded = ReadonlyArray<Transacted<any, any>>

interface Waiting {
  readonly arrival: Arrival
  readonly resume: (isRecorded: boolean) => void
  isSettled: boolean
}

/** Nearer to the limit than this, every unit is decided before anything is done for it (R31). */
export const carefulUnits = 1_024
/** Arrivals of one append, and about how many bytes: one may be larger. */
const groupMax = 64
const groupBytesMax = 2 * 1024 * 1024
/** Tenants that are near a limit, remembered for so long. */
const carefulMax = 10_000
const carefulMillis = 1_000

export class Arrivals extends Context.Service<
  Arrivals,
  {
    /** Whether it is worth a try: the journal can, no death was close (R14), the tenant is not near its limit. Else the ordinary way. */
    readonly open: (scope: TenantScope, now: number) => boolean
    /**
     * Plans an event and records it with what it leads to and with its unit of the quota: all or nothing. False: nothing was, as there is
     * no plan, the same event is on its way or known already, the tenant is near its limit, or the journal has failed; who records it in the
     * ordinary way finds out.
     */
    readonly record: (scope: TenantScope, deliveryId: DeliveryId, plan: Effect.Effect<Arrival | null>) => Effect.Effect<boolean>
  }
>()("tributary/services/Arrivals") {
  static readonly layer = Layer.effect(
    Arrivals,
    Effect.gen(function* () {
      const { together } = yield* Transact
      const quotas = yield* Quotas
      const suspects = yield* Suspects
      const fork = yield* FiberSet.makeRuntime<never, void, never>()
      const waiting = new Map<TenantKey, Array<Waiting>>()
      /** How many the newest group had. */
      let newest = 1
      /** What is to be done once an event is recorded, or not: its repeats wait for that. */
      const onTheirWay = new Map<`${TenantKey}/${DeliveryId}`, Array<() => void>>()
      const careful = new BoundedCache<TenantKey, number>(carefulMax)

      /** The next ones that are counted in the same window. */
      const take = (from: Array<Waiting>): ReadonlyArray<Waiting> => {
        const windowOf = ({ arrival }: Waiting) => quotaWindowAt("events", arrival.receivedAt).endsAt
        const first = windowOf(from[0]!)
        let bytes = from[0]!.arrival.bytes
        let count = 1
        for (; count < from.length && count < groupMax && windowOf(from[count]!) === first; count++) {
          bytes += from[count]!.arrival.bytes
          if (bytes > groupBytesMax) break
        }
        return from.splice(0, count)
      }

      /** Once each of them, or none; those that cannot be recorded so are left out. */
      const recordGroup = Effect.fnUntraced(function* (scope: TenantScope, group: ReadonlyArray<Waiting>) {
        const at = group[0]!.arrival.receivedAt
        for (let left = group; left.length > 0; ) {
          const ids = left.map(({ arrival }) => arrival.deliveryId)
          const { part, headroom } = yield* quotas.share(scope, "events", ids, at)
          if (headroom < carefulUnits + left.length) {
            careful.set(scope.key, at + carefulMillis)
            return
          }
          const done = yield* Effect.result(together!(scope, [part, ...left.flatMap(({ arrival }) => arrival.parts)]))
          if (done._tag === "Success") {
            let from = 1
            for (const each of left) {
              const { length } = each.arrival.parts
              settle(each, done.success.slice(from, from + length))
              from += length
            }
            return
          }
          const owner = done.failure instanceof PartRefused ? ownerOf(left, done.failure.index) : undefined
          if (owner === undefined) return
          settle(owner, null)
          left = left.filter((each) => each !== owner)
        }
      })

      const leave = (group: ReadonlyArray<Waiting>) => {
        for (const each of group) settle(each, null)
      }

      const recordNext = Effect.fnUntraced(function* (scope: TenantScope, queue: Array<Waiting>) {
        const group = take(queue)
        newest = group.length
        yield* recordGroup(scope, group).pipe(
          Effect.tapDefect((defect) => Effect.logError("Events could not be recorded together", defect)),
          Effect.exit,
          Effect.ensuring(Effect.sync(() => leave(group)))
        )
        if (queue.length === 0) waiting.delete(scope.key)
      })
      const recordRest = Effect.fnUntraced(function* (scope: TenantScope, queue: Array<Waiting>) {
        while (queue.length > 0) yield* recordNext(scope, queue)
      })

      // Whoever still waits at the end is told so: their own ways end as well.
      let isClosed = false
      yield* Effect.addFinalizer(() =>
        Effect.sync(() => {
          isClosed = true
          for (const queue of waiting.values()) leave(queue.splice(0))
        })
      )

      /** Whoever finds nobody before it records the first group itself, and is answered; what has come in meanwhile is recorded after that. */
      const lead = Effect.fnUntraced(function* (scope: TenantScope, arrival: Arrival) {
        let isRecorded = false
        const resume = (recorded: boolean) => {
          isRecorded = recorded
        }
        const queue: Array<Waiting> = [{ arrival, resume, isSettled: false }]
        waiting.set(scope.key, queue)
        // What else has come in at this moment goes along, where several do of late.
        if (newest > 1) yield* Effect.yieldNow
        if (queue.length > 0) yield* recordNext(scope, queue)
        if (queue.length > 0) fork(recordRest(scope, queue))
        return isRecorded
      })

      /** Waits for a place in one of the tenant's next groups. */
      const follow = (queue: Array<Waiting>, arrival: Arrival) =>
        Effect.callback<boolean>((resume) => {
          queue.push({ arrival, resume: (isRecorded) => resume(Effect.succeed(isRecorded)), isSettled: false })
        })

      const join = (scope: TenantScope, arrival: Arrival): Effect.Effect<boolean> => {
        if (isClosed) {
          arrival.settle(null)
          return Effect.succeed(false)
        }
        const queue = waiting.get(scope.key)
        return queue === undefined ? lead(scope, arrival) : follow(queue, arrival)
      }

      const record = Effect.fnUntraced(function* (scope: TenantScope, deliveryId: DeliveryId, plan: Effect.Effect<Arrival | null>) {
        const key = `${scope.key}/${deliveryId}` as const
        const others = onTheirWay.get(key)
        if (others !== undefined) return yield* Effect.callback<boolean>((resume) => void others.push(() => resume(Effect.succeed(false))))
        const repeats: Array<() => void> = []
        onTheirWay.set(key, repeats)
        const arrival = yield* plan
        const isRecorded = arrival !== null && (yield* join(scope, arrival))
        onTheirWay.delete(key)
        for (const goOn of repeats) goOn()
        return isRecorded
      })

      return Arrivals.of({
        open: ({ key }, now) => together !== null && suspects.calm() && (careful.get(key) ?? 0) <= now,
        // What has begun waits for its end: nobody may leave in between.
        record: (scope, deliveryId, plan) => Effect.uninterruptible(record(scope, deliveryId, plan))
      })
    })
  )
}

/** The first time counts. */
const settle = (waiting: Waiting, recorded: Recorded | null): void => {
  if (waiting.isSettled) return
  waiting.isSettled = true
  waiting.arrival.settle(recorded)
  waiting.resume(recorded !== null)
}

/** Whose part it is; the first one is the quota's. */
const ownerOf = (group: ReadonlyArray<Waiting>, index: number): Waiting | undefined => {
  let from = 1
  for (const each of group) {
    if (index >= from && index < from + each.arrival.parts.length) return each
    from += each.arrival.parts.length
  }
  return undefined
}
