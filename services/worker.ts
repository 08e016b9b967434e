/** Who does the open work: takes what is due, fairly by tenant and within bounds, and hands it to the router and the runner. */
import { Cause, Clock, Context, Effect, Exit, Fiber, FiberSet, Layer, Stream } from "effect"
import { kindAndIdOf, type Scope, type ScopeKey, type StreamName, type TenantScope } from "#domain/scope.ts"
import { DueQueue } from "./due-queue.ts"
import { Bus, type Ticket } from "./ports/bus.ts"
import { OpenWork, type WorkItem } from "./ports/open-work.ts"
import { Router } from "./router.ts"
import { Runner } from "./runner.ts"
import { Transact } from "./transact.ts"

export const limits = {
  /** Runs and routings in hand at the same time, in this process and for one tenant. */
  inFlight: 8_192,
  inFlightPerTenant: 4_096,
  /** Deliveries routed together, and items taken from one tenant before the next has its turn. */
  quantum: 64,
  /** Items kept in memory; beyond it they wait in the index. */
  ready: 50_000,
  /** The index is looked through this often, and this far ahead. */
  sweepMillis: 15_000,
  horizonMillis: 60_000,
  sweepPage: 1_000,
  /** Pause before an item that failed in our own hands is tried again: doubled each time, up to the maximum. */
  retryMillis: 100,
  retryMaxMillis: 30_000,
  /** Times that a defect may repeat before the item is put aside (R15). */
  defectsMax: 3
} as const

interface Item {
  readonly stream: StreamName
  readonly id: string
  /** Found in the index without anybody holding it: a crash came in between (R14). */
  readonly recovered: boolean
}
interface Tenant {
  readonly scope: TenantScope
  readonly deliveries: Array<Item>
  readonly runs: Array<Item>
  inFlight: number
  routing: boolean
  /** In the ring of those that have their turn. */
  queued: boolean
}
type Hold = "ready" | "active" | "again"

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
    /** Looks through the index now, as it does from time to time. */
    readonly sweep: Effect.Effect<void>
    /** Stops taking work and waits until what is in hand is recorded, at most so long. What is left is found again at the next start. */
    readonly drain: (millis: number) => Effect.Effect<void>
    /** Resolves once nothing is ready or in hand. */
    readonly idle: Effect.Effect<void>
  }
>()("tributary/services/Worker") {
  static readonly layer = Layer.effect(
    Worker,
    Effect.gen(function* () {
      const transact = yield* Transact
      const openWork = yield* OpenWork
      const bus = yield* Bus
      const router = yield* Router
      const runner = yield* Runner
      const fibers = yield* FiberSet.make<void, never>()
      const fork = yield* FiberSet.runtime(fibers)<never>()
      const context = yield* Effect.context<never>()
      const clock = Effect.runSyncWith(context)(Clock.Clock)

      const tenants = new Map<ScopeKey, Tenant>()
      const ring: Array<Tenant> = []
      const holds = new Map<StreamName, Hold>()
      const failures = new Map<StreamName, number>()
      const timers = new DueQueue<{ readonly scope: TenantScope; readonly item: Item }>()
      const idlers: Array<() => void> = []
      let ready = 0
      let inFlight = 0
      let stopped = false
      let armed: { readonly at: number; readonly fiber: Fiber.Fiber<void> } | undefined

      const tenantOf = (scope: TenantScope): Tenant => {
        const known = tenants.get(scope.key)
        if (known !== undefined) return known
        const tenant: Tenant = { scope, deliveries: [], runs: [], inFlight: 0, routing: false, queued: false }
        tenants.set(scope.key, tenant)
        return tenant
      }
      const hasWork = (tenant: Tenant) =>
        tenant.inFlight < limits.inFlightPerTenant && (tenant.runs.length > 0 || (tenant.deliveries.length > 0 && !tenant.routing))

      const settle = (tenant: Tenant) => {
        if (hasWork(tenant)) {
          if (!tenant.queued) {
            tenant.queued = true
            ring.push(tenant)
          }
        } else if (tenant.inFlight === 0 && !tenant.routing && tenant.runs.length === 0 && tenant.deliveries.length === 0)
          tenants.delete(tenant.scope.key)
        if (ready === 0 && inFlight === 0) while (idlers.length > 0) idlers.shift()!()
      }

      const offer = (scope: Scope, stream: StreamName, recovered: boolean): void => {
        const hold = holds.get(stream)
        if (hold !== undefined) {
          if (hold === "active") holds.set(stream, "again")
          return
        }
        if (stopped || ready >= limits.ready || scope.level !== "tenant") return
        const { kind, id } = kindAndIdOf(stream)
        if (kind !== "delivery" && kind !== "run") return
        const tenant = tenantOf(scope)
        holds.set(stream, "ready")
        ready++
        ;(kind === "run" ? tenant.runs : tenant.deliveries).push({ stream, id, recovered })
        settle(tenant)
        pump()
      }

      const offerAt = (scope: TenantScope, item: Item, at: number) => {
        if (timers.size >= limits.ready) return
        timers.add(at, { scope, item })
        arm()
      }

      /** One sleeping fiber for the earliest timer. */
      const arm = () => {
        const at = timers.earliestAt
        if (at === undefined || stopped || (armed !== undefined && armed.at <= at)) return
        const before = armed?.fiber
        const fire = Effect.sync(() => {
          armed = undefined
          const now = clock.currentTimeMillisUnsafe()
          for (let due = timers.take(now); due !== undefined; due = timers.take(now)) offer(due.scope, due.item.stream, due.item.recovered)
          arm()
        })
        armed = { at, fiber: fork(Effect.andThen(Effect.sleep(Math.max(0, at - clock.currentTimeMillisUnsafe())), fire)) }
        if (before !== undefined) fork(Fiber.interrupt(before))
      }

      const release = (tenant: Tenant, item: Item, exit: Exit.Exit<unknown, unknown>) => {
        const again = holds.get(item.stream) === "again"
        holds.delete(item.stream)
        if (Exit.isSuccess(exit)) failures.delete(item.stream)
        else if (!Exit.hasInterrupts(exit)) {
          const count = (failures.get(item.stream) ?? 0) + 1
          failures.set(item.stream, count)
          const pause = Math.min(limits.retryMillis * 2 ** (count - 1), limits.retryMaxMillis)
          if (count >= limits.defectsMax && Cause.hasDies(exit.cause)) putAside(tenant.scope, item, exit.cause)
          else offerAt(tenant.scope, { ...item, recovered: false }, clock.currentTimeMillisUnsafe() + pause)
          return
        }
        if (again) offer(tenant.scope, item.stream, false)
      }

      /** A bug: the same defect again and again. It is recorded on the run or delivery, and logged once. */
      const putAside = (scope: TenantScope, item: Item, cause: Cause.Cause<unknown>) => {
        failures.delete(item.stream)
        const recorded =
          kindAndIdOf(item.stream).kind === "run" ? runner.quarantine(scope, item.id, cause) : router.putAside(scope, item.id, cause)
        fork(Effect.ignore(Effect.andThen(Effect.logError("Work was put aside after repeated defects.", cause), recorded)))
      }

      const take = (tenant: Tenant, from: Array<Item>): Array<Item> => {
        const room = Math.min(limits.quantum, limits.inFlightPerTenant - tenant.inFlight, limits.inFlight - inFlight)
        const items = from.splice(0, Math.max(1, room))
        ready -= items.length
        for (const item of items) holds.set(item.stream, "active")
        return items
      }

      const hold = (tenant: Tenant, count: number) => {
        tenant.inFlight += count
        inFlight += count
      }

      const startRun = (tenant: Tenant, item: Item, work: Effect.Effect<void, unknown>) => {
        hold(tenant, 1)
        fork(
          Effect.onExit(work, (exit) =>
            Effect.sync(() => {
              hold(tenant, -1)
              release(tenant, item, exit)
              settle(tenant)
              pump()
            })
          ).pipe(Effect.exit, Effect.asVoid)
        )
      }

      /** Routes a batch of one tenant; the runs that it leads to are taken in hand before the deliveries are let go. */
      const startRouting = (tenant: Tenant, items: ReadonlyArray<Item>) => {
        tenant.routing = true
        hold(tenant, items.length)
        const launch = (stream: StreamName, id: string, work: Effect.Effect<void, unknown>) => {
          if (holds.has(stream)) return false
          holds.set(stream, "active")
          startRun(tenant, { stream, id, recovered: false }, work)
          return true
        }
        fork(
          Effect.onExit(router.route(tenant.scope, items, launch), (exit) =>
            Effect.sync(() => {
              tenant.routing = false
              hold(tenant, -items.length)
              for (const item of items) release(tenant, item, exit)
              settle(tenant)
              pump()
            })
          ).pipe(Effect.exit, Effect.asVoid)
        )
      }

      const pump = () => {
        while (!stopped && inFlight < limits.inFlight) {
          const tenant = ring.shift()
          if (tenant === undefined) return
          tenant.queued = false
          if (tenant.runs.length > 0)
            for (const item of take(tenant, tenant.runs)) startRun(tenant, item, runner.resume(tenant.scope, item.id, item.recovered))
          if (tenant.deliveries.length > 0 && !tenant.routing && tenant.inFlight < limits.inFlightPerTenant)
            startRouting(tenant, take(tenant, tenant.deliveries))
          settle(tenant)
        }
      }

      transact.onWork((scope, stream, dueAt) => {
        if (scope.level !== "tenant") return
        const now = clock.currentTimeMillisUnsafe()
        if (dueAt <= now) offer(scope, stream, false)
        else if (dueAt <= now + limits.horizonMillis) offerAt(scope, { stream, id: kindAndIdOf(stream).id, recovered: false }, dueAt)
      })

      const takeUp = (item: WorkItem, now: number) => {
        if (item.scope.level !== "tenant" || holds.has(item.stream)) return
        if (item.dueAt <= now) offer(item.scope, item.stream, item.dueAt === 0)
        else offerAt(item.scope, { stream: item.stream, id: kindAndIdOf(item.stream).id, recovered: false }, item.dueAt)
      }

      /** A ticket says only that the tenant has work: what it is stands in the index. */
      const work = Effect.fnUntraced(function* (ticket: Ticket) {
        const now = yield* Clock.currentTimeMillis
        let after: WorkItem | undefined
        while (ready < limits.ready) {
          const items = yield* openWork.due({
            before: now,
            limit: limits.sweepPage,
            key: ticket.scope.key,
            ...(after === undefined ? {} : { after })
          })
          for (const item of items) takeUp(item, now)
          if (items.length < limits.sweepPage) break
          after = items.at(-1)
        }
        yield* ticket.done
      })

      const sweep = Effect.gen(function* () {
        const now = yield* Clock.currentTimeMillis
        const announced = new Set<ScopeKey>()
        let after: WorkItem | undefined
        while (!stopped && ready < limits.ready) {
          const items = yield* openWork.due({
            before: now + limits.horizonMillis,
            limit: limits.sweepPage,
            ...(after === undefined ? {} : { after })
          })
          for (const item of items) {
            if (holds.has(item.stream)) continue
            if (item.dueAt > now) takeUp(item, now)
            else if (!announced.has(item.scope.key)) {
              announced.add(item.scope.key)
              yield* bus.announce(item.scope)
            }
          }
          if (items.length < limits.sweepPage) break
          after = items.at(-1)
        }
      }).pipe(Effect.catch((error) => Effect.logWarning("The open-work index could not be read; it is tried again.", error.message)))

      yield* Stream.runForEach(bus.work, (ticket) =>
        work(ticket).pipe(Effect.catch((error) => Effect.andThen(Effect.logWarning(error.message), ticket.later(1_000))))
      ).pipe(Effect.forkScoped)
      yield* sweep.pipe(Effect.andThen(Effect.sleep(limits.sweepMillis)), Effect.forever, Effect.forkScoped)

      const idle = Effect.callback<void>((resume) => {
        if (ready === 0 && inFlight === 0) resume(Effect.void)
        else idlers.push(() => resume(Effect.void))
      })
      const drain = (millis: number) =>
        Effect.suspend(() => {
          stopped = true
          ready = 0
          for (const tenant of tenants.values()) for (const list of [tenant.runs, tenant.deliveries]) list.length = 0
          ring.length = 0
          return Effect.asVoid(Effect.timeoutOption(idle, millis))
        })
      yield* Effect.addFinalizer(() => drain(20_000))
      return Worker.of({
        figures: () => ({ ready, inFlight, timers: timers.size, tenants: tenants.size }),
        sweep,
        drain,
        idle
      })
    })
  )
}
