/** The router: decides which flows want an event, takes its unit of the quota, and starts the runs. */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import { contentRef } from "#domain/content.ts"
import { type Delivery, type DeliveryCommand, delivery, type RoutedRun } from "#domain/delivery.ts"
import type { Enablement } from "#domain/enablement.ts"
import type { ConnectionId, DeliveryId, FlowId, RunId } from "#domain/ids.ts"
import { type QuotaDecision, quotaWindowAt } from "#domain/quota.ts"
import { type Origin, systemActor } from "#domain/recorded.ts"
import { type RunRejection, run } from "#domain/run.ts"
import { type StreamName, streamName, type TenantScope } from "#domain/scope.ts"
import { tenant } from "#domain/tenant.ts"
import { TooBusy } from "./actors.ts"
import { type Arrival, carefulUnits } from "./arrivals.ts"
import { BoundedCache } from "./bounded-cache.ts"
import { type TriggerData, triggerOf } from "./delivery-content.ts"
import { Enablements } from "./enablements.ts"
import { type Incoming, type Launch, matching, planning, runStartOf } from "./event-plan.ts"
import { type CompiledFlow, Flows } from "./flows.ts"
import { Outbound } from "./ports/outbound.ts"
import { Ownership } from "./ports/ownership.ts"
import { Payloads } from "./ports/payloads.ts"
import { Quotas } from "./quotas.ts"
import { Runner } from "./runner.ts"
import { Suspects } from "./suspects.ts"
import { Transact, type TransactError } from "./transact.ts"

/** An open delivery. */
export interface RoutingItem {
  readonly stream: StreamName
  readonly id: string
  readonly recovered: boolean
}
type RouteError = TransactError | RunRejection

/** Events just received, kept until they are routed so that nobody has to open their content; beyond it they are opened. */
const primedMax = 4_096
/** Recovered deliveries in hand. */
const resumedMax = 65_536
/** When the event came, or until when it was put off: who asks again after midnight gets the unit that it had (R31). */
const countedAt = ({ postponedUntil, received }: Delivery): number => postponedUntil ?? received?.receivedAt ?? 0
const granted: QuotaDecision = { _tag: "Granted" }
const actor = systemActor("router")

/** A delivery that is open, as it was when its window was looked up. */
interface OpenDelivery {
  readonly item: RoutingItem
  readonly state: Delivery
}
export class Router extends Context.Service<
  Router,
  {
    /** Hands over the content of a delivery that is about to be recorded; kept where it is routed in this process. */
    readonly prime: (stream: StreamName, trigger: TriggerData) => void
    /** It was a repeat, or was not recorded. */
    readonly unprime: (stream: StreamName) => void
    /**
     * Routes an event that is about to be recorded, up to what is recorded with it: its runs have begun, and wait for that. Null: it is to
     * be recorded alone, and routed then.
     */
    readonly plan: (scope: TenantScope, incoming: Incoming, launch: Launch) => Effect.Effect<Arrival | null>
    /**
     * Routes open deliveries of one tenant; each ends routed, refused, postponed or as a dead letter. Those that were in hand when
     * the process died more than once are handed back: `routeSuspect` takes them one after the other.
     */
    readonly route: (
      scope: TenantScope,
      items: ReadonlyArray<RoutingItem>,
      launch: Launch
    ) => Effect.Effect<ReadonlyArray<RoutingItem>, RouteError>
    readonly routeSuspect: (scope: TenantScope, item: RoutingItem, launch: Launch) => Effect.Effect<void, RouteError>
    /** After repeated defects: a dead letter. */
    readonly putAside: (scope: TenantScope, id: string, cause: Cause.Cause<unknown>) => Effect.Effect<void, TransactError>
    readonly figures: () => Readonly<Record<"routed" | "refused" | "postponed" | "deadLettered" | "unwanted", number>>
  }
>()("tributary/services/Router") {
  static readonly layer = Layer.effect(
    Router,
    Effect.gen(function* () {
      const transactions = yield* Transact
      const { forget, read, transact } = transactions
      const enablements = yield* Enablements
      const match = matching(yield* Flows)
      const ownership = yield* Ownership
      const payloads = yield* Payloads
      const quotas = yield* Quotas
      const runner = yield* Runner
      const suspects = yield* Suspects
      const primed = new BoundedCache<StreamName, TriggerData>(primedMax)
      /** Recoveries that are on record already: a failure on our side afterwards is no further death (R14). */
      const resumedHere = new BoundedCache<StreamName, true>(resumedMax)
      const figures = { routed: 0, refused: 0, postponed: 0, deadLettered: 0, unwanted: 0 }
      const origin = (id: string): Origin => ({ actor, correlationId: id })
      const routed = (runs: number) => {
        figures.routed++
        if (runs === 0) figures.unwanted++
      }
      const plan = planning({ transact: transactions, enablements, match, outbound: yield* Outbound, runner, routed })

      /** What is open exists; that it was received before is a matter of ingest alone. */
      const record = (scope: TenantScope, id: string, command: DeliveryCommand) =>
        transact(delivery, scope, id, command, { origin: origin(id) }).pipe(
          Effect.catchTag(["DedupeWindowOver", "DeliveryNotFound"], (error) => Effect.die(error))
        )

      const close = Effect.fnUntraced(function* (scope: TenantScope, item: RoutingItem, command: DeliveryCommand) {
        yield* record(scope, item.id, command)
        resumedHere.delete(item.stream)
        forget(scope, `delivery-${item.id}`)
      })

      const deadLetter = (
        scope: TenantScope,
        item: RoutingItem,
        reason: "not-json" | "content-gone" | "routing-failed",
        message: string
      ) => {
        figures.deadLettered++
        return close(scope, item, { _tag: "DeadLetterEvent", reason, message })
      }

      /** The event's content: as ingest handed it over, else opened. */
      const triggerFor = Effect.fnUntraced(function* (scope: TenantScope, item: RoutingItem) {
        const known = primed.get(item.stream)
        if (known !== undefined) {
          primed.delete(item.stream)
          return known
        }
        const [bytes] = yield* payloads.open(scope, [contentRef(`delivery-${item.id}`, "event")])
        return triggerOf(bytes!)
      })

      /** In somebody's hands is not on record: until it is, the event stays open. */
      const onRecordElsewhere = (scope: TenantScope, runId: RunId): Effect.Effect<void, RouteError> =>
        Effect.flatMap(read(run, scope, runId), ({ state }) =>
          state.status === "absent" ? Effect.fail(new TooBusy({ reason: "A run of the event is being recorded." })) : Effect.void
        )

      const startRuns = Effect.fnUntraced(function* (
        scope: TenantScope,
        id: DeliveryId,
        trigger: TriggerData,
        wanted: ReadonlyArray<CompiledFlow>,
        enabled: Enablement,
        connectionId: ConnectionId | undefined,
        launch: Launch,
        reserved: Effect.Effect<unknown, RouteError>
      ) {
        const runs: Array<RoutedRun> = []
        const records: Array<Effect.Effect<void, RouteError>> = []
        for (const flow of wanted) {
          const start = runStartOf(id, trigger, flow, enabled, connectionId)
          const { runId } = start
          runs.push({ flowId: flow.flowId, version: flow.version, runId })
          const onRecord = Deferred.makeUnsafe<void, RouteError>()
          const work = runner.begin(scope, {
            ...start,
            reserved,
            onRecord: () => Deferred.doneUnsafe(onRecord, Effect.void)
          })
          // A run that fails before it is on record keeps the delivery open.
          const guarded = Effect.onExit(work, (exit) => Effect.sync(() => Deferred.doneUnsafe(onRecord, Effect.asVoid(exit))))
          if (launch(streamName(scope, `run-${runId}`), runId, guarded)) records.push(Deferred.await(onRecord))
          else records.push(onRecordElsewhere(scope, runId))
        }
        return { runs, recorded: records }
      })

      const routeOne = Effect.fnUntraced(function* (
        scope: TenantScope,
        { item, state }: OpenDelivery,
        enabled: Enablement,
        launch: Launch,
        reserved: Effect.Effect<unknown, RouteError>
      ) {
        if (state.received === null) return
        const trigger = yield* Effect.result(triggerFor(scope, item))
        if (Result.isFailure(trigger)) {
          if (trigger.failure._tag === "JournalUnavailable") return yield* Effect.fail(trigger.failure)
          return yield* deadLetter(scope, item, "content-gone", trigger.failure.message)
        }
        const matched = yield* match(scope, enabled, state.received.connectorId, trigger.success)
        const { connectionId } = state.received
        const { runs, recorded } = yield* startRuns(
          scope,
          item.id as DeliveryId,
          trigger.success,
          matched.flows,
          enabled,
          connectionId,
          launch,
          reserved
        )
        for (const record of recorded) yield* record
        yield* reserved
        routed(runs.length)
        yield* close(scope, item, { _tag: "RouteEvent", runs, passed: matched.passed })
      })

      /** Found open in nobody's hands: recorded before it is tried again, so that an event that kills the process is put aside. */
      const noteRecovery = (scope: TenantScope, item: RoutingItem) =>
        item.recovered && resumedHere.get(item.stream) === undefined
          ? Effect.map(record(scope, item.id, { _tag: "ResumeRouting" }), ({ state }) => {
              resumedHere.set(item.stream, true)
              return state.status === "received" || state.status === "postponed"
            })
          : Effect.succeed(true)

      const decided = (
        scope: TenantScope,
        open: OpenDelivery,
        decision: QuotaDecision,
        enabled: Enablement,
        launch: Launch,
        reserved: Effect.Effect<unknown, RouteError>
      ) => {
        if (decision._tag === "Granted") return routeOne(scope, open, enabled, launch, reserved)
        if (decision._tag === "Refused") {
          figures.refused++
          return close(scope, open.item, { _tag: "RefuseEvent", limit: decision.limit })
        }
        figures.postponed++
        return close(scope, open.item, { _tag: "PostponeEvent", until: decision.until })
      }

      /** A suspended tenant's events are recorded, and neither run nor counted. */
      const passOver = (scope: TenantScope, item: RoutingItem, enabled: Enablement) => {
        figures.unwanted++
        const passed = Object.keys(enabled.flows).map((id) => ({ flowId: id as FlowId, reason: "suspended" as const }))
        return close(scope, item, { _tag: "RouteEvent", runs: [], passed })
      }

      const routeTogether = Effect.fnUntraced(function* (scope: TenantScope, items: ReadonlyArray<RoutingItem>, launch: Launch) {
        const still = yield* Effect.forEach(items, (item) => noteRecovery(scope, item), { concurrency: "unbounded" })
        const open = items.filter((_, index) => still[index])
        if (open.length === 0) return
        const enabled = yield* enablements.enabled(scope)
        if ((yield* read(tenant, scope, "self")).state?.status === "suspended")
          return yield* Effect.forEach(open, (item) => passOver(scope, item, enabled), { concurrency: "unbounded", discard: true })
        const byWindow = new Map<string, { readonly at: number; readonly deliveries: Array<OpenDelivery> }>()
        for (const item of open) {
          const { state } = yield* read(delivery, scope, item.id)
          const at = countedAt(state)
          const { id } = quotaWindowAt("events", at)
          const known = byWindow.get(id)
          if (known === undefined) byWindow.set(id, { at, deliveries: [{ item, state }] })
          else known.deliveries.push({ item, state })
        }
        for (const { at, deliveries } of byWindow.values()) yield* routeWindow(scope, deliveries, at, enabled, launch)
      })

      /** Events that are counted in the same window of the quota. */
      const routeWindow = Effect.fnUntraced(function* (
        scope: TenantScope,
        open: ReadonlyArray<OpenDelivery>,
        at: number,
        enabled: Enablement,
        launch: Launch
      ) {
        const reserving = quotas.reserve(
          scope,
          "events",
          open.map(({ item }) => item.id),
          at
        )
        const each = (decide: (index: number) => QuotaDecision, reserved: Effect.Effect<unknown, RouteError>) =>
          Effect.forEach(open, (each, index) => decided(scope, each, decide(index), enabled, launch, reserved), {
            concurrency: "unbounded",
            discard: true
          })
        if ((yield* quotas.headroom(scope, "events", at)) < open.length + carefulUnits) {
          const decisions = yield* reserving
          return yield* each((index) => decisions[index]!, Effect.void)
        }
        // Far from the limit nobody waits for the decision: it is on its way to the disk ahead of the runs, and each run waits for
        // it before it calls out.
        const reserved = yield* Effect.forkChild(reserving, { startImmediately: true })
        yield* each(() => granted, Fiber.join(reserved))
      })

      const route = Effect.fnUntraced(function* (scope: TenantScope, items: ReadonlyArray<RoutingItem>, launch: Launch) {
        const together: Array<RoutingItem> = []
        const apart: Array<RoutingItem> = []
        for (const item of items) {
          const suspect = item.recovered && (yield* read(delivery, scope, item.id)).state.resumes > 0
          ;(suspect ? apart : together).push(item)
        }
        yield* routeTogether(scope, together, launch)
        return apart
      })

      return Router.of({
        // Whatever is wrong shows again, and has its own way there, once the event is recorded.
        plan: (scope, incoming, launch) => Effect.catchCause(plan(scope, incoming, launch), () => Effect.succeed(null)),
        prime: (stream, trigger) => {
          if (ownership.owned().has(stream.slice(0, 2))) primed.set(stream, trigger)
        },
        unprime: (stream) => primed.delete(stream),
        route,
        routeSuspect: (scope, item, launch) =>
          Effect.flatMap(read(delivery, scope, item.id), ({ state }) =>
            suspects.alone(state.resumes, routeTogether(scope, [item], launch))
          ),
        putAside: Effect.fnUntraced(function* (scope: TenantScope, id: string, cause: Cause.Cause<unknown>) {
          const message = `A defect repeated itself: ${Cause.pretty(cause).split("\n")[0] ?? "unknown"}`.slice(0, 300)
          yield* deadLetter(scope, { stream: streamName(scope, `delivery-${id}`), id, recovered: false }, "routing-failed", message)
        }),
        figures: () => figures
      })
    })
  )
}
