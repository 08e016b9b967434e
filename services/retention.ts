/** Retention: finished runs and deliveries older than the tenant's policy are removed; their names and last hashes stay. */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { type Aggregate, fold } from "#domain/decider.ts"
import { type Delivery, delivery } from "#domain/delivery.ts"
import { type Origin, systemActor } from "#domain/recorded.ts"
import { type RetiredStream, retention, retentionStreamId, retiredPerBatch } from "#domain/retention.ts"
import { isEnded, type Run, run } from "#domain/run.ts"
import { type LocalName, type SpaceScope, streamName, type TenantScope, tenantScope } from "#domain/scope.ts"
import { deliveries as deliveryViews } from "#projections/deliveries.ts"
import { runs as runViews } from "#projections/runs.ts"
import { type TenantView, tenants as tenantViews } from "#projections/tenants.ts"
import { Journal } from "./ports/journal.ts"
import type { Condition } from "./ports/read-models.ts"
import type { JournalUnavailable } from "./ports/unavailable.ts"
import { type ViewFailure, ViewServer } from "./ports/view-server.ts"
import { Settings } from "./settings.ts"
import { Transact, type TransactError } from "./transact.ts"

const dayMillis = 86_400_000
const tenantsPerPage = 200
/** Streams of a batch that are looked at together. */
const concurrency = 8
/** No decider has this version: the whole stream is read, with the hash of its last event. */
const withoutSnapshot = 0
const origin: Origin = { actor: systemActor("retention") }

/** What the views call finished; the stream itself has the last word. */
const finishedRuns = { is: "in", field: "status", values: ["succeeded", "failed", "cancelled", "quarantined"] } as const
const finishedDeliveries = { is: "in", field: "status", values: ["routed", "no-flow", "refused", "dead-letter"] } as const

export type SweepFailure = TransactError | ViewFailure
export interface Swept {
  readonly tenants: number
  readonly streams: number
  /** Tenants that could not be swept this time; the next sweep tries again. */
  readonly failed: number
}

export class Retention extends Context.Service<
  Retention,
  {
    /**
     * Removes what the tenant's policy no longer keeps; returns how many streams. Repeatable: after a crash in between, the
     * rows that are still in the views lead the next sweep to the streams that were not recorded yet.
     */
    readonly sweepTenant: (scope: TenantScope) => Effect.Effect<number, SweepFailure>
    /** All tenants of a space, one after the other. */
    readonly sweep: (space: SpaceScope) => Effect.Effect<Swept, ViewFailure>
  }
>()("tributary/services/Retention") {
  static readonly layer = Layer.effect(
    Retention,
    Effect.gen(function* () {
      const { forget, transact } = yield* Transact
      const journal = yield* Journal
      const settings = yield* Settings
      const views = yield* ViewServer

      /** Null: it is kept. */
      const retireWhen = Effect.fnUntraced(function* <State, Command, Event extends { readonly _tag: string }, Rejection>(
        scope: TenantScope,
        aggregate: Aggregate<State, Command, Event, Rejection>,
        id: string,
        olderThan: number,
        isFinished: (state: State) => Effect.Effect<boolean, JournalUnavailable>
      ) {
        const local: LocalName = `${aggregate.kind}-${id}`
        const stream = streamName(scope, local)
        const found = yield* journal.load(scope, stream, withoutSnapshot)
        if (found.retired) return { stream: local } satisfies RetiredStream
        const last = found.events.at(-1)
        if (last === undefined || last.at >= olderThan) return null
        const events = found.events.map(({ type, version, data }) => aggregate.events.decode(type, version, data))
        if (!(yield* isFinished(fold(aggregate, aggregate.initialState, events)))) return null
        // Somebody may have gone on with it since, such as a person who retried the run.
        if (!(yield* journal.retire(scope, stream, last.revision))) return null
        forget(scope, local)
        return { stream: local, hash: last.hash } satisfies RetiredStream
      })

      const isGone = (scope: TenantScope, runId: string) =>
        Effect.map(
          journal.load(scope, streamName(scope, `${run.kind}-${runId}`), withoutSnapshot),
          ({ retired, events }) => retired || events.length === 0
        )
      const retireRun = (scope: TenantScope, id: string, olderThan: number) =>
        retireWhen(scope, run, id, olderThan, ({ status }: Run) => Effect.succeed(isEnded(status)))
      /** A delivery holds what its runs were given: it is kept as long as any of them. */
      const retireDelivery = (scope: TenantScope, id: string, olderThan: number) =>
        retireWhen(scope, delivery, id, olderThan, (state: Delivery) =>
          delivery.workDue!(state) === null
            ? Effect.map(
                Effect.forEach(state.runs, ({ runId }) => isGone(scope, runId)),
                (gone) => gone.every(Boolean)
              )
            : Effect.succeed(false)
        )

      const record = (scope: TenantScope, streams: ReadonlyArray<RetiredStream>, olderThan: number) =>
        Effect.flatMap(Clock.currentTimeMillis, (now) =>
          transact(retention, scope, retentionStreamId(now), { _tag: "RecordRetired", streams, olderThan }, { origin })
        )

      const sweepView = Effect.fnUntraced(function* (
        scope: TenantScope,
        view: { readonly name: string; readonly time: string; readonly finished: Condition },
        olderThan: number,
        retire: (scope: TenantScope, id: string, olderThan: number) => Effect.Effect<RetiredStream | null, JournalUnavailable>
      ) {
        const where: ReadonlyArray<Condition> = [view.finished, { field: view.time, is: "lt", value: olderThan }]
        let total = 0
        let cursor: string | null = null
        do {
          const query = { scope, where, sort: [view.time], limit: retiredPerBatch, ...(cursor === null ? {} : { cursor }) }
          const page: { readonly items: ReadonlyArray<Record<string, unknown>>; readonly next: string | null } = yield* views.find(
            view.name,
            query,
            null
          )
          const looked = yield* Effect.forEach(page.items, (item) => retire(scope, String(item["id"]), olderThan), { concurrency })
          const retired = looked.filter((stream) => stream !== null)
          yield* record(scope, retired, olderThan)
          total += retired.length
          cursor = page.next
        } while (cursor !== null)
        return total
      })

      const sweepTenant = Effect.fn("Retention.sweepTenant")(function* (scope: TenantScope) {
        const days = yield* settings.resolve(scope, "runs.retentionDays")
        const olderThan = (yield* Clock.currentTimeMillis) - days * dayMillis
        const runs = yield* sweepView(scope, { name: runViews.name, time: "startedAt", finished: finishedRuns }, olderThan, retireRun)
        const inbound = { name: deliveryViews.name, time: "receivedAt", finished: finishedDeliveries }
        return runs + (yield* sweepView(scope, inbound, olderThan, retireDelivery))
      })

      const sweepOne = (scope: TenantScope): Effect.Effect<number | null> =>
        sweepTenant(scope).pipe(
          Effect.catch((error) =>
            Effect.as(Effect.logWarning("A tenant could not be swept; the next sweep tries again.", error._tag), null)
          )
        )

      const sweep = Effect.fn("Retention.sweep")(function* (space: SpaceScope) {
        let swept: Swept = { tenants: 0, streams: 0, failed: 0 }
        let cursor: string | null = null
        do {
          const query = { scope: space, across: space, limit: tenantsPerPage, ...(cursor === null ? {} : { cursor }) }
          const page: { readonly items: ReadonlyArray<Record<string, unknown>>; readonly next: string | null } = yield* views.find(
            tenantViews.name,
            query,
            null
          )
          for (const { tenantKey } of page.items as unknown as ReadonlyArray<TenantView>) {
            const streams = yield* sweepOne(tenantScope(space.space, tenantKey))
            swept = {
              tenants: swept.tenants + 1,
              streams: swept.streams + (streams ?? 0),
              failed: swept.failed + (streams === null ? 1 : 0)
            }
          }
          cursor = page.next
        } while (cursor !== null)
        return swept
      })

      return Retention.of({ sweepTenant, sweep })
    })
  )
}
