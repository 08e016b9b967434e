/** Which flows want an event and how its runs start; and its plan, where it is recorded together with their beginnings. */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { contentRef } from "#domain/content.ts"
import { type DeliveryCommand, delivery, type PassedFlow, type RoutedRun } from "#domain/delivery.ts"
import type { Enablement } from "#domain/enablement.ts"
import type { ConnectionId, ConnectorId, DeliveryId, FlowId } from "#domain/ids.ts"
import type { Run, RunEvent } from "#domain/run.ts"
import { type StreamName, streamName, type TenantScope } from "#domain/scope.ts"
import { tenant } from "#domain/tenant.ts"
import type { Arrival, Recorded } from "./arrivals.ts"
import type { TriggerData } from "./delivery-content.ts"
import type { Enablements } from "./enablements.ts"
import type { CompiledFlow, Flows } from "./flows.ts"
import { runIdOf } from "./identities.ts"
import type { NewContent } from "./ports/journal.ts"
import type { Outbound } from "./ports/outbound.ts"
import type { Runner } from "./runner.ts"
import type { Part, Transact, Transacted, TransactOptions } from "./transact.ts"

/** Takes a run in hand: false when somebody in this process has it already. */
export type Launch = (stream: StreamName, id: string, work: Effect.Effect<void, unknown>) => boolean

/** Milliseconds of work for an event before it is recorded and acknowledged: what takes longer goes on after that. */
const beforehandMillis = 20

/** An event that is about to be recorded. */
export interface Incoming {
  readonly command: typeof DeliveryCommand.cases.ReceiveDelivery.Type
  readonly options: TransactOptions
  readonly trigger: TriggerData
}
/** A run that begins with its event: what it would have recorded, and what became of that. */
interface JoiningRun {
  readonly routed: RoutedRun
  readonly part: Deferred.Deferred<Part | null>
  readonly recorded: Deferred.Deferred<Transacted<Run, RunEvent> | null>
}
/** What became of matching one event against the tenant's flows. */
interface Matched {
  readonly flows: ReadonlyArray<CompiledFlow>
  readonly passed: ReadonlyArray<PassedFlow>
}

/** The enabled flows that want the event, each in the version that holds now. */
export const matching = (flows: Flows["Service"]) =>
  Effect.fnUntraced(function* (scope: TenantScope, enabled: Enablement, connectorId: ConnectorId, trigger: TriggerData) {
    const wanted: Array<CompiledFlow> = []
    const passed: Array<PassedFlow> = []
    for (const [id, { version }] of Object.entries(enabled.flows)) {
      const flowId = id as FlowId
      const found = yield* Effect.result(flows.live(scope, flowId, version))
      if (Result.isFailure(found)) {
        if (found.failure._tag !== "FlowNotPublished") return yield* Effect.fail(found.failure)
        passed.push({ flowId, reason: "unpublished" })
        continue
      }
      const flow = found.success
      if (flow.document.trigger.connector !== connectorId) continue
      if (!flow.wants(trigger.event)) passed.push({ flowId, reason: "other-event" })
      else if (!flow.accepts(trigger)) passed.push({ flowId, reason: "condition" })
      else wanted.push(flow)
    }
    return { flows: wanted, passed } satisfies Matched
  })

/** What is the same of a run however it is recorded. */
export const runStartOf = (
  deliveryId: DeliveryId,
  trigger: TriggerData,
  flow: CompiledFlow,
  enabled: Enablement,
  connectionId: ConnectionId | undefined
) => ({
  runId: runIdOf(deliveryId, flow.flowId, "route"),
  flow,
  deliveryId,
  content: contentRef(`delivery-${deliveryId}`, "event"),
  trigger,
  purpose: "route" as const,
  bindings: enabled.flows[flow.flowId]?.bindings ?? {},
  connectionId
})

/** What planning draws on. */
export interface Planning {
  readonly transact: Pick<Transact["Service"], "forget" | "peek" | "read">
  readonly enablements: Enablements["Service"]
  readonly match: ReturnType<typeof matching>
  readonly outbound: Outbound["Service"]
  readonly runner: Runner["Service"]
  /** Told of each event that was recorded as planned, with how many runs. */
  readonly routed: (runs: number) => void
}

/** Null: the event is to be recorded alone, and routed then. Else its runs have begun, and wait for what becomes of it. */
export const planning = ({ transact: { forget, peek, read }, enablements, match, outbound, runner, routed }: Planning) => {
  /** Begins a run whose first append waits for its event's; null: it is in somebody's hands already. */
  const beginWith = (
    scope: TenantScope,
    { command: { connectionId, deliveryId }, trigger }: Incoming,
    flow: CompiledFlow,
    enabled: Enablement,
    launch: Launch
  ): JoiningRun | null => {
    const start = runStartOf(deliveryId, trigger, flow, enabled, connectionId)
    const { runId } = start
    const routed = { flowId: flow.flowId, version: flow.version, runId }
    const part = Deferred.makeUnsafe<Part | null>()
    const recorded = Deferred.makeUnsafe<Transacted<Run, RunEvent> | null>()
    const work = runner.begin(scope, {
      ...start,
      reserved: Effect.void,
      joining: {
        by: outbound.now() + beforehandMillis,
        record: (mine) =>
          Effect.andThen(
            Deferred.succeed(part, mine),
            Effect.flatMap(Deferred.await(recorded), (done) => (done === null ? Effect.interrupt : Effect.succeed(done)))
          )
      },
      onRecord: () => {}
    })
    const guarded = Effect.onExit(work, () => Deferred.succeed(part, null))
    return launch(streamName(scope, `run-${runId}`), runId, guarded) ? { routed, part, recorded } : null
  }

  return Effect.fnUntraced(function* (scope: TenantScope, incoming: Incoming, launch: Launch) {
    const { command, options, trigger } = incoming
    const { deliveryId, receivedAt } = command
    const enabled = yield* enablements.enabled(scope)
    const { status } = peek(tenant, scope, "self") ?? (yield* read(tenant, scope, "self")).state ?? {}
    if (status === "suspended") return null
    const { flows: wanted, passed } = yield* match(scope, enabled, command.connectorId, trigger)
    const begun: Array<JoiningRun> = []
    const settle = (recorded: Recorded | null) => {
      begun.forEach((each, index) => Deferred.doneUnsafe(each.recorded, Effect.succeed(recorded === null ? null : recorded[index + 1]!)))
      if (recorded === null) return
      forget(scope, `delivery-${deliveryId}`)
      routed(begun.length)
    }
    for (const flow of wanted) {
      const beginning = beginWith(scope, incoming, flow, enabled, launch)
      if (beginning !== null) begun.push(beginning)
    }
    const runs: Array<Part> = []
    let { bytes } = command
    for (const { part } of begun) {
      const ready = yield* Deferred.await(part)
      if (ready === null) continue
      runs.push(ready)
      for (const content of ready.options.contents as ReadonlyArray<NewContent>) bytes += content.bytes.length
    }
    if (runs.length < wanted.length) {
      settle(null)
      return null
    }
    const routing: DeliveryCommand = { _tag: "RouteEvent", runs: begun.map(({ routed }) => routed), passed }
    const received: Part = { aggregate: delivery, id: deliveryId, commands: [command, routing], options }
    return { deliveryId, receivedAt, bytes, parts: [received, ...runs], settle } satisfies Arrival
  })
}
