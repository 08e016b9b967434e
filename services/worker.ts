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
import { Router } from "./router.ts"
import { Runner } from "./runner.ts"
import { Settings } from "./settings.ts"
import { Transact } from "./transact.ts"
import { WorkTimers } from "./work-timers.ts"

export const limits = {
  /** Runs and routings in hand at the same time in a process unless it says otherwise; a tenant's own share is the setting `runs.inFlightMax`. */
  inFlight: 8_192,
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
  readonly kind: string
  readonly id: string
  /** Found in the index without anybody holding it: a crash came in between (R14). */
  readonly recovered: boolean
}
/** A tenant, or the space with work of its own. */
interface Tenant {
  readonly scope: SpaceScope | TenantScope
  readonly deliveries: Array<Item>
  /** Runs, and integrations whose waiting runs are to be told. */
  readonly others: Array<Item>
  inFlight: number
  /** `runs.inFlightMax` as it held at the last routing. */
  inFlightMax: number
  routing: boolean
  /** In the ring of those that have their turn. */
  queued: boolean
}
type Hold = "ready" | "active" | "again"
/** What a later release wrote is no bug: it is left alone for a process that can read it, which takes the bucket over (R5). */
const unknownEventOf = ({ reasons }: Cause.Cause<unknown>): UnknownEvent | undefined => {
  for (const reason of reasons) if (Cause.isDieReason(reason) && reason.defect instanceof UnknownEvent) return reason.defect
  return undefined
}
/** Until the setting was looked up. */
const firstInFlightMax = limits.quantum
/** The actors that change a stream while we have it in hand. */
const ours = new Set(["router", "runner"])
/** Streams whose open work is ours. */
const kinds = new Set(["delivery", "run", "integration"])

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
  /** `inFlightMax`: runs and routings in hand at the same time in this process. */
  static readonly layerWith = (inFlightMax: number) =>
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

        const tenants = new Map<ScopeKey, Tenant>()
        const ring: Array<Tenant> = []
        const holds = new Map<StreamName, Hold>()
        const failures = new Map<StreamName, number>()
        const idlers: Array<() => void> = []
        let ready = 0
        let inFlight = 0
        let stopped = false
        const now = () => clock.currentTimeMillisUnsafe()
        const intake = new Intake({ ready: () => ready, now, fork })
        const timers = new WorkTimers<Item & { readonly scope: SpaceScope | TenantScope }>({
          max: limits.ready,
          now,
          fork,
          due: ({ scope, stream, recovered }) => {
            if (!stopped && isOurs(scope)) offer(scope, stream, recovered)
          }
        })

        const tenantOf = (scope: SpaceScope | TenantScope): Tenant => {
          const known = tenants.get(scope.key)
          if (known !== undefined) return known
          const tenant: Tenant = {
            scope,
            deliveries: [],
            others: [],
            inFlight: 0,
            inFlightMax: firstInFlightMax,
            routing: false,
            queued: false
          }
          tenants.set(scope.key, tenant)
          return tenant
        }
        const isOurs = ({ key }: Scope) => ownership.owned().has(bucketOf(key))
        const hasWork = (tenant: Tenant) =>
          tenant.inFlight < tenant.inFlightMax && (tenant.others.length > 0 || (tenant.deliveries.length > 0 && !tenant.routing))

        /** For a run that nobody has offered: those that wait have their turn first. */
        const hasRoom = (tenant: Tenant | undefined) => {
          if (stopped || inFlight >= inFlightMax) return false
          return tenant === undefined || (tenant.inFlight < tenant.inFlightMax && tenant.others.length + tenant.deliveries.length === 0)
        }

        const settle = (tenant: Tenant) => {
          if (hasWork(tenant)) {
            if (!tenant.queued) {
              tenant.queued = true
              ring.push(tenant)
            }
          } else if (tenant.inFlight === 0 && !tenant.routing && tenant.others.length === 0 && tenant.deliveries.length === 0)
            tenants.delete(tenant.scope.key)
          if (ready === 0 && inFlight === 0) while (idlers.length > 0) idlers.shift()!()
        }

        const offer = (scope: Scope, stream: StreamName, recovered: boolean): void => {
          const hold = holds.get(stream)
          if (hold !== undefined) {
            if (hold === "active") holds.set(stream, "again")
            return
          }
          if (stopped || ready >= limits.ready || scope.level === "platform") return
          const { kind, id } = kindAndIdOf(stream)
          if (!kinds.has(kind)) return
          const tenant = tenantOf(scope)
          holds.set(stream, "ready")
          ready++
          ;(kind === "delivery" ? tenant.deliveries : tenant.others).push({ stream, kind, id, recovered })
          settle(tenant)
          pump()
        }

        const offerAt = (scope: SpaceScope | TenantScope, item: Item, at: number) => timers.add(at, { ...item, scope })

        const release = (tenant: Tenant, item: Item, exit: Exit.Exit<unknown, unknown>) => {
          const again = holds.get(item.stream) === "again"
          holds.delete(item.stream)
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

        const take = (tenant: Tenant, from: Array<Item>): Array<Item> => {
          const room = Math.min(limits.quantum, tenant.inFlightMax - tenant.inFlight, inFlightMax - inFlight)
          const items = from.splice(0, Math.max(1, room))
          ready -= items.length
          intake.admit()
          for (const item of items) holds.set(item.stream, "active")
          return items
        }

        const hold = (tenant: Tenant, count: number) => {
          tenant.inFlight += count
          inFlight += count
        }

        const startRun = (tenant: Tenant, item: Item, work: Effect.Effect<unknown, unknown>) => {
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

        /** Takes the runs in hand that an event leads to. */
        const launcher =
          (scope: TenantScope): Launch =>
          (stream, id, work) => {
            if (holds.has(stream)) return false
            holds.set(stream, "active")
            // Tried again, it may be somebody else's by then: that is said first.
            startRun(tenantOf(scope), { stream, kind: "run", id, recovered: true }, work)
            return true
          }

        const lookUpLimit = (tenant: Tenant) =>
          Effect.map(settings.resolve(tenant.scope, "runs.inFlightMax"), (max) => {
            tenant.inFlightMax = max
          })

        /** Routes a batch of one tenant; the runs that it leads to are taken in hand before the deliveries are let go. */
        const startRouting = (tenant: Tenant, items: ReadonlyArray<Item>) => {
          const launch = launcher(tenant.scope as TenantScope)
          tenant.routing = true
          hold(tenant, items.length)
          fork(
            Effect.onExit(Effect.andThen(lookUpLimit(tenant), router.route(tenant.scope as TenantScope, items, launch)), (exit) =>
              Effect.sync(() => {
                tenant.routing = false
                hold(tenant, -items.length)
                const suspects = Exit.isSuccess(exit) ? exit.value : []
                for (const item of items) {
                  if (suspects.includes(item)) startRun(tenant, item, router.routeSuspect(tenant.scope as TenantScope, item, launch))
                  else release(tenant, item, exit)
                }
                settle(tenant)
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
          while (!stopped && inFlight < inFlightMax) {
            const tenant = ring.shift()
            if (tenant === undefined) return
            tenant.queued = false
            if (tenant.others.length > 0) for (const item of take(tenant, tenant.others)) startRun(tenant, item, workOn(tenant.scope, item))
            if (tenant.deliveries.length > 0 && !tenant.routing && tenant.inFlight < tenant.inFlightMax)
              startRouting(tenant, take(tenant, tenant.deliveries))
            settle(tenant)
          }
        }

        transact.onWork((scope, stream, dueAt, { actor }) => {
          if (scope.level === "platform") return
          // Whoever has it in hand goes on with it anyway; only a time that it waits for, or what others change meanwhile, is news.
          if (dueAt === 0 && holds.get(stream) === "active" && actor.kind === "system" && ours.has(actor.id)) return
          if (!isOurs(scope)) {
            // Its owner finds in the index what is due later.
            if (kinds.has(kindAndIdOf(stream).kind)) fork(bus.announce(scope))
            return
          }
          const ahead = dueAt - now()
          if (ahead <= 0) offer(scope, stream, false)
          else if (ahead <= limits.horizonMillis) offerAt(scope, { stream, ...kindAndIdOf(stream), recovered: false }, dueAt)
        })

        const takeUp = (item: WorkItem, at: number) => {
          if (item.scope.level === "platform" || holds.has(item.stream)) return
          if (item.dueAt <= at) offer(item.scope, item.stream, item.dueAt === 0)
          else offerAt(item.scope, { stream: item.stream, ...kindAndIdOf(item.stream), recovered: false }, item.dueAt)
        }

        /** Takes up what stands in the index, a page at a time, while there is room. */
        const takeUpAll = Effect.fnUntraced(function* (
          of: { readonly before: number; readonly key?: ScopeKey },
          at: number,
          wanted: (item: WorkItem) => boolean
        ) {
          let after: WorkItem | undefined
          while (!stopped && ready < limits.ready) {
            const items = yield* openWork.due({ ...of, limit: limits.sweepPage, ...(after === undefined ? {} : { after }) })
            for (const item of items) if (wanted(item)) takeUp(item, at)
            if (items.length < limits.sweepPage) return
            after = items.at(-1)
          }
        })

        /** A ticket says only that the tenant has work: what it is stands in the index. */
        const work = Effect.fnUntraced(function* (ticket: Ticket) {
          const at = now()
          yield* takeUpAll({ before: at, key: ticket.scope.key }, at, () => true)
          yield* ticket.done
        })

        /** Takes up what nobody announced here, as after a start or when a bucket was taken over: no message is needed for it. */
        const sweep = Effect.suspend(() => {
          const at = now()
          return takeUpAll({ before: at + limits.horizonMillis }, at, ({ scope }) => isOurs(scope))
        }).pipe(Effect.catch((error) => Effect.logWarning("The open-work index could not be read; it is tried again.", error.message)))

        /** What is ready and has another owner now is left to it; what is in hand is finished, and fenced by its revision. */
        const letGo = () => {
          for (const tenant of tenants.values()) {
            if (isOurs(tenant.scope)) continue
            for (const list of [tenant.others, tenant.deliveries]) {
              for (const { stream } of list) holds.delete(stream)
              ready -= list.length
              list.length = 0
            }
            settle(tenant)
          }
        }

        yield* Stream.runForEach(bus.work, (ticket) =>
          work(ticket).pipe(Effect.catch((error) => Effect.andThen(Effect.logWarning(error.message), ticket.later(1_000))))
        ).pipe(Effect.forkScoped)
        yield* Stream.runForEach(ownership.changes, () => Effect.sync(letGo)).pipe(Effect.forkScoped)
        // It says so at once: the sweep of the start.
        yield* Stream.runForEach(openWork.takenOver, () => sweep).pipe(Effect.forkScoped)
        yield* Effect.sleep(limits.sweepMillis).pipe(Effect.andThen(sweep), Effect.forever, Effect.forkScoped)

        const idle = Effect.callback<void>((resume) => {
          if (ready === 0 && inFlight === 0) resume(Effect.void)
          else idlers.push(() => resume(Effect.void))
        })
        const drain = (millis: number) =>
          Effect.suspend(() => {
            stopped = true
            ready = 0
            intake.admit()
            for (const tenant of tenants.values()) for (const list of [tenant.others, tenant.deliveries]) list.length = 0
            ring.length = 0
            return Effect.asVoid(Effect.timeoutOption(idle, millis))
          })
        yield* Effect.addFinalizer(() => drain(20_000))
        return Worker.of({
          figures: () => ({ ready, inFlight, timers: timers.size, tenants: tenants.size }),
          admission: intake.admission,
          launcher: (scope) => {
            if (!isOurs(scope)) return Effect.succeed(null)
            const launch = launcher(scope)
            const roomWith = (max: number) => {
              const tenant = tenants.get(scope.key)
              if (tenant !== undefined) tenant.inFlightMax = max
              return hasRoom(tenant)
            }
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

  static readonly layer = Worker.layerWith(limits.inFlight)
}
