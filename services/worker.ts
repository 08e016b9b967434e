/** Who does the open work: takes what is due, fairly by tenant and within bounds, and hands it to the router and the runner. */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberSet from "effect/FiberSet"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { UnknownEvent } from "#domain/event-family.ts"
import type { ConnectorId } from "#domain/ids.ts"
import { bucketOf, kindAndIdOf, type Scope, type ScopeKey, type SpaceScope, type StreamName, type TenantScope } from "#domain/scope.ts"
import type { Launch } from "./event-plan.ts"
import { Intake } from "./intake.ts"
import { ParkedRuns } from "./parked-runs.ts"
import { Bus, type Ticket } from "./ports/bus.ts"
import { OpenWork, type WorkItem } from "./ports/open-work.ts"
import { Ownership } from "./ports/ownership.ts"
import type { JournalUnavailable } from "./ports/unavailable.ts"
import { Router } from "./router.ts"
import { Runner } from "./runner.ts"
import { Settings } from "./settings.ts"
import { Transact } from "./transact.ts"
import { type Item, type Tenant, WorkQueue, type WorkQueueLimits } from "./work-queue.ts"
import { WorkTimers } from "./work-timers.ts"

export const limits = {
  /** Runs and routings in hand at the same time in a process unless it says otherwise; a tenant's own share is the setting `runs.inFlightMax`. */
  inFlight: 8_192,
  /** Deliveries routed together, and items taken from one tenant before the next has its turn. */
  quantum: 64,
  /** Items in memory, and timers; beyond it, and beyond a tenant's share of it, they wait in the index. */
  ready: 50_000,
  /** The index is looked through this often and this far ahead: so many pages at once, and the next ones a moment later. */
  sweepMillis: 15_000,
  horizonMillis: 60_000,
  page: 1_000,
  sweepPages: 16,
  sweepPauseMillis: 1_000,
  /** Pause before an item that failed in our own hands is tried again: doubled each time, up to the maximum. */
  retryMillis: 100,
  retryMaxMillis: 30_000,
  /** Times that a defect may repeat before the item is put aside (R15). */
  defectsMax: 3
} as const

/** What a later release wrote is no bug: it is left alone for a process that can read it, which takes the bucket over (R5). */
const unknownEventOf = ({ reasons }: Cause.Cause<unknown>): UnknownEvent | undefined => {
  for (const reason of reasons) if (Cause.isDieReason(reason) && reason.defect instanceof UnknownEvent) return reason.defect
  return undefined
}
/** The actors that change a stream while we have it in hand. */
const ours = new Set(["router", "runner"])
/** Streams whose open work is ours. */
const kinds = new Set(["delivery", "run", "integration"])

/** Bounds that a process may set for itself. */
export type WorkerBounds = Partial<Pick<WorkQueueLimits, "inFlight" | "ready">>

export interface WorkerFigures {
  readonly ready: number
  readonly inFlight: number
  readonly timers: number
  readonly tenants: number
}

export class Worker extends Context.Service<
  Worker,
  {
    readonly figures: () => WorkerFigures
    /**
     * Intake and runs share the process: while more is ready than is being taken up, a new delivery waits for its turn, a bounded
     * time and never for good (R9).
     */
    readonly admission: Effect.Effect<void>
    /** Takes runs in hand that nobody has offered; null: the tenant has as many as it may, or others wait for their turn before. */
    readonly launcher: (scope: TenantScope) => Effect.Effect<Launch | null>
    /** Looks through the index now, as it does from time to time. */
    readonly sweep: Effect.Effect<void>
    /** Stops taking work and waits until what is in hand is recorded, at most so long. What is left is found again at the next start. */
    readonly drain: (millis: number) => Effect.Effect<void>
    /** Resolves once nothing is ready or in hand. */
    readonly idle: Effect.Effect<void>
  }
>()("tributary/services/Worker") {
  static readonly layerWith = (bounds: WorkerBounds) =>
    Layer.effect(
      Worker,
      Effect.gen(function* () {
        const transact = yield* Transact
        const openWork = yield* OpenWork
        const bus = yield* Bus
        const ownership = yield* Ownership
        const router = yield* Router
        const runner = yield* Runner
        const parkedRuns = yield* ParkedRuns
        const settings = yield* Settings
        const fibers = yield* FiberSet.make<void, never>()
        const fork = yield* FiberSet.runtime(fibers)<never>()
        const context = yield* Effect.context<never>()
        const clock = Effect.runSyncWith(context)(Clock.Clock)

        const queue = new WorkQueue({ ...limits, ...bounds })
        const failures = new Map<StreamName, number>()
        /** Times that buckets came to this process. */
        let takeovers = 0
        const now = () => clock.currentTimeMillisUnsafe()
        const intake = new Intake({ ready: () => queue.takeable, now, fork })
        const timers = new WorkTimers<Item & { readonly scope: SpaceScope | TenantScope }>({
          max: limits.ready,
          now,
          fork,
          due: ({ scope, stream, recovered }) => {
            if (isOurs(scope)) offer(scope, stream, recovered)
          }
        })

        const isOurs = ({ key }: Scope) => ownership.owned().has(bucketOf(key))

        /** False: there was no room for it. */
        const offer = (scope: Scope, stream: StreamName, recovered: boolean): boolean => {
          const { kind, id } = kindAndIdOf(stream)
          if (scope.level === "platform" || !kinds.has(kind)) return true
          const hasRoom = queue.offer(scope, { stream, kind, id, recovered })
          pump()
          return hasRoom
        }

        const offerAt = (scope: SpaceScope | TenantScope, item: Item, at: number) => timers.add(at, { ...item, scope })

        const release = (tenant: Tenant, item: Item, exit: Exit.Exit<unknown, unknown>) => {
          const again = queue.release(tenant, item)
          if (Exit.isSuccess(exit)) {
            failures.delete(item.stream)
            // A call of another process may be under way until then.
            if (typeof exit.value === "number") offerAt(tenant.scope, item, exit.value)
          } else if (!Exit.hasInterrupts(exit)) {
            const count = (failures.get(item.stream) ?? 0) + 1
            failures.set(item.stream, count)
            const pause = Math.min(limits.retryMillis * 2 ** (count - 1), limits.retryMaxMillis)
            const unread = unknownEventOf(exit.cause)
            if (unread !== undefined && count === limits.defectsMax)
              fork(Effect.logWarning(`Work waits for a release that can read it: ${item.stream}. ${unread.message}`))
            if (unread === undefined && count >= limits.defectsMax && Cause.hasDies(exit.cause)) putAside(tenant.scope, item, exit.cause)
            else offerAt(tenant.scope, item, now() + pause)
            return
          }
          if (again) offer(tenant.scope, item.stream, false)
        }

        /** A bug: the same defect again and again. It is recorded on the run or delivery, and logged once. */
        const putAside = (scope: SpaceScope | TenantScope, item: Item, cause: Cause.Cause<unknown>) => {
          failures.delete(item.stream)
          const recorded =
            item.kind === "run"
              ? runner.quarantine(scope as TenantScope, item.id, cause)
              : item.kind === "delivery"
                ? router.putAside(scope as TenantScope, item.id, cause)
                : Effect.void
          fork(Effect.ignore(Effect.andThen(Effect.logError("Work was put aside after repeated defects.", cause), recorded)))
        }

        const startRun = (tenant: Tenant, item: Item, work: Effect.Effect<unknown, unknown>) => {
          fork(
            Effect.onExit(work, (exit) =>
              Effect.sync(() => {
                release(tenant, item, exit)
                queue.settle(tenant)
                pump()
              })
            ).pipe(Effect.exit, Effect.asVoid)
          )
        }

        /** Takes the runs in hand that an event leads to. */
        const launcher =
          (scope: TenantScope): Launch =>
          (stream, id, work) => {
            const tenant = queue.launch(scope, stream)
            if (tenant === null) return false
            // Tried again, it may be somebody else's by then: that is said first.
            startRun(tenant, { stream, kind: "run", id, recovered: true }, work)
            return true
          }

        const lookUpLimit = (tenant: Tenant) =>
          Effect.map(settings.resolve(tenant.scope, "runs.inFlightMax"), (max) => queue.limit(tenant, max))

        /** Routes a batch of one tenant; the runs that it leads to are taken in hand before the deliveries are let go. */
        const startRouting = (tenant: Tenant, items: ReadonlyArray<Item>) => {
          const launch = launcher(tenant.scope as TenantScope)
          fork(
            Effect.onExit(Effect.andThen(lookUpLimit(tenant), router.route(tenant.scope as TenantScope, items, launch)), (exit) =>
              Effect.sync(() => {
                queue.routed(tenant)
                const suspects = Exit.isSuccess(exit) ? exit.value : []
                for (const item of items) {
                  if (suspects.includes(item)) startRun(tenant, item, router.routeSuspect(tenant.scope as TenantScope, item, launch))
                  else release(tenant, item, exit)
                }
                queue.settle(tenant)
                pump()
              })
            ).pipe(Effect.exit, Effect.asVoid)
          )
        }

        /** Runs and deliveries are always a tenant's. */
        const workOn = (scope: SpaceScope | TenantScope, item: Item): Effect.Effect<unknown, unknown> =>
          item.kind === "run"
            ? runner.resume(scope as TenantScope, item.id, item.recovered)
            : parkedRuns.release(scope, item.id as ConnectorId)

        const pump = () => {
          for (let turn = queue.next(); turn !== undefined; turn = queue.next()) {
            const { tenant, others, deliveries } = turn
            for (const item of others) startRun(tenant, item, workOn(tenant.scope, item))
            if (deliveries.length > 0) startRouting(tenant, deliveries)
          }
          for (const tenant of queue.short()) fork(fill(tenant))
          intake.admit()
        }

        transact.onWork((scope, stream, dueAt, { actor }) => {
          if (scope.level === "platform") return
          // Whoever has it in hand goes on with it anyway; only a time that it waits for, or what others change meanwhile, is news.
          if (dueAt === 0 && queue.isInHand(stream) && actor.kind === "system" && ours.has(actor.id)) return
          if (!isOurs(scope)) {
            // Its owner finds in the index what is due later.
            if (kinds.has(kindAndIdOf(stream).kind)) fork(bus.announce(scope))
            return
          }
          const ahead = dueAt - now()
          if (ahead <= 0) offer(scope, stream, false)
          else if (ahead <= limits.horizonMillis) offerAt(scope, { stream, ...kindAndIdOf(stream), recovered: false }, dueAt)
        })

        /** Takes up what was found in the index; false: there was no room for it. */
        const takeUp = ({ scope, stream, dueAt }: WorkItem, at: number): boolean => {
          if (scope.level === "platform" || queue.isHeld(stream)) return true
          if (dueAt <= at) return offer(scope, stream, dueAt === 0 && queue.isRecovered(scope))
          offerAt(scope, { stream, ...kindAndIdOf(stream), recovered: false }, dueAt)
          return true
        }

        /** Goes through the index, oldest first, until the visitor has enough. Gives what came last after so many pages; null: no more. */
        const visit = Effect.fnUntraced(function* (
          of: { readonly before: number; readonly key?: ScopeKey; readonly after?: WorkItem },
          visitor: (item: WorkItem) => boolean,
          pages = Number.POSITIVE_INFINITY
        ) {
          let { after } = of
          for (let page = 0; page < pages && !queue.stopped; page++) {
            const items = yield* openWork.due({ ...of, limit: limits.page, ...(after === undefined ? {} : { after }) })
            for (const item of items) if (!visitor(item)) return null
            if (items.length < limits.page) return null
            after = items.at(-1)
          }
          return after ?? null
        })

        /** Takes up what one tenant has in the index, as far as there is room. */
        const takeUpOf = Effect.fnUntraced(function* ({ key }: Scope, wanted: (item: WorkItem) => boolean) {
          const at = now()
          yield* visit({ before: at, key }, (item) => wanted(item) && takeUp(item, at))
          return true
        })

        /** A ticket says only that the tenant has work: what it is stands in the index. */
        const work = (ticket: Ticket) =>
          Effect.andThen(
            takeUpOf(ticket.scope, () => true),
            ticket.done
          )

        const unreadable = Effect.fnUntraced(function* (error: JournalUnavailable) {
          yield* Effect.logWarning("The open-work index could not be read; it is tried again.", error.message)
          return false
        })

        /** Takes up what there was no room for before. */
        const fill = (tenant: Tenant) =>
          takeUpOf(tenant.scope, ({ scope }) => isOurs(scope)).pipe(
            Effect.catch(unreadable),
            Effect.map((whole) => queue.filled(tenant, whole))
          )

        const sweepAll = Effect.fnUntraced(function* () {
          const since = takeovers
          for (let after: WorkItem | null | undefined; after !== null; ) {
            const at = now()
            const visitor = (item: WorkItem) => {
              if (isOurs(item.scope)) takeUp(item, at)
              return true
            }
            const of = { before: at + limits.horizonMillis, ...(after === undefined ? {} : { after }) }
            after = yield* visit(of, visitor, limits.sweepPages)
            if (after !== null) yield* Effect.sleep(limits.sweepPauseMillis)
          }
          if (since === takeovers) queue.lookedThrough(true)
          pump()
          return true
        })

        /** Takes up what nobody announced here, as after a start or when a bucket was taken over: no message is needed for it. */
        const sweep = Effect.asVoid(Effect.catch(Effect.suspend(sweepAll), unreadable))

        const takeOver = Effect.suspend(() => {
          takeovers++
          queue.lookedThrough(false)
          return sweep
        })

        yield* Stream.runForEach(bus.work, (ticket) =>
          work(ticket).pipe(Effect.catch((error) => Effect.andThen(Effect.logWarning(error.message), ticket.later(1_000))))
        ).pipe(Effect.forkScoped)
        yield* Stream.runForEach(ownership.changes, () => Effect.sync(() => queue.letGo(isOurs))).pipe(Effect.forkScoped)
        // It says so at once: the sweep of the start.
        yield* Stream.runForEach(openWork.takenOver, () => takeOver).pipe(Effect.forkScoped)
        yield* Effect.sleep(limits.sweepMillis).pipe(Effect.andThen(sweep), Effect.forever, Effect.forkScoped)

        const idle = Effect.callback<void>((resume) => queue.whenIdle(() => resume(Effect.void)))
        const drain = (millis: number) =>
          Effect.suspend(() => {
            queue.stop()
            intake.admit()
            return Effect.asVoid(Effect.timeoutOption(idle, millis))
          })
        yield* Effect.addFinalizer(() => drain(20_000))
        return Worker.of({
          figures: () => ({ ready: queue.ready, inFlight: queue.inFlight, timers: timers.size, tenants: queue.tenants }),
          admission: intake.admission,
          launcher: (scope) => {
            if (!isOurs(scope)) return Effect.succeed(null)
            const launch = launcher(scope)
            const roomWith = (max: number) => queue.hasRoom(scope, max)
            return Effect.match(settings.resolve(scope, "runs.inFlightMax"), {
              onFailure: () => null,
              // Of the events that come here at the same time, not all may find room.
              onSuccess: (max) => (roomWith(max) ? (stream, id, work) => roomWith(max) && launch(stream, id, work) : null)
            })
          },
          sweep,
          drain,
          idle
        })
      })
    )

  static readonly layer = Worker.layerWith({})
}
