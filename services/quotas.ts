/** Quotas: units are reserved before they are used, and every unit can be traced to what used it (R31). */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { TenantKey } from "#domain/ids.ts"
import { builtInPlans, type CountedDimension, type Plans, planOf } from "#domain/plan.ts"
import { type QuotaDecision, type QuotaEvent, quota, quotaDecisions, quotaStreamId, quotaWindowAt } from "#domain/quota.ts"
import { type Origin, systemActor } from "#domain/recorded.ts"
import { streamName, type TenantScope } from "#domain/scope.ts"
import type { QuotaMode } from "#domain/setting-catalogue.ts"
import { resolve } from "#domain/settings.ts"
import { tenant } from "#domain/tenant.ts"
import { BoundedCache } from "./bounded-cache.ts"
import { Journal } from "./ports/journal.ts"
import type { JournalUnavailable } from "./ports/unavailable.ts"
import { Settings } from "./settings.ts"
import { type Part, Transact, type TransactError } from "./transact.ts"

/** What holds for a dimension of a tenant now. */
export interface QuotaPolicy {
  readonly mode: QuotaMode
  /** Null: unlimited. */
  readonly limit: number | null
}
export interface QuotaStanding extends QuotaPolicy {
  readonly dimension: CountedDimension
  readonly window: string
  readonly reserved: number
  /** Epoch milliseconds. */
  readonly windowEndsAt: number
}
/** One unit: what used it, and what was decided. */
export interface LedgerEntry {
  readonly consumer: string
  readonly decision: "granted" | "refused" | "postponed"
  /** Epoch milliseconds. */
  readonly at: number
}
export interface LedgerPage {
  readonly entries: ReadonlyArray<LedgerEntry>
  /** Revision to go on from; null: that was all so far. */
  readonly next: number | null
}

const decisionOf = { UnitsReserved: "granted", UnitsRefused: "refused", UnitsPostponed: "postponed" } as const
const exhaustedTenantsMax = 100_000
const ledgerEventsMax = 100
const origin: Origin = { actor: systemActor("quotas") }
const allReserved = (events: ReadonlyArray<QuotaEvent>): boolean => events.every(({ _tag }) => _tag === "UnitsReserved")

export class Quotas extends Context.Service<
  Quotas,
  {
    readonly policy: (scope: TenantScope, dimension: CountedDimension) => Effect.Effect<QuotaPolicy, TransactError>
    /**
     * One decision for all consumers, in their order, in the window of `at` (epoch milliseconds; now when left out). Exactly the limit passes, however many ask at once; who
     * asks again after a crash gets the unit it had.
     */
    readonly reserve: (
      scope: TenantScope,
      dimension: CountedDimension,
      consumers: ReadonlyArray<string>,
      at?: number
    ) => Effect.Effect<ReadonlyArray<QuotaDecision>, TransactError>
    /**
     * The same as the share of a change to several streams, which is made only if all are granted. `headroom`: how many units can still be
     * granted before the first is refused or postponed; infinite where none ever is.
     */
    readonly share: (
      scope: TenantScope,
      dimension: CountedDimension,
      consumers: ReadonlyArray<string>,
      at: number
    ) => Effect.Effect<{ readonly part: Part; readonly headroom: number }, TransactError>
    /** How many units can still be granted, as above: who takes far fewer need not wait for the decision. */
    readonly headroom: (scope: TenantScope, dimension: CountedDimension, at?: number) => Effect.Effect<number, TransactError>
    /**
     * Whether a new unit would surely be refused: the cached answer for ingest's 429 (R9). It never refuses what `reserve` would
     * grant, but may let pass what `reserve` then refuses. Null: go on.
     */
    readonly exhausted: (
      scope: TenantScope,
      dimension: CountedDimension
    ) => Effect.Effect<{ readonly limit: number; readonly windowEndsAt: number } | null, TransactError>
    /** The window of now, exact. */
    readonly standing: (scope: TenantScope, dimension: CountedDimension) => Effect.Effect<QuotaStanding, TransactError>
    /** What used the units of a window (`20261120`), in the order of the decisions. */
    readonly ledger: (
      scope: TenantScope,
      dimension: CountedDimension,
      window: string,
      from?: number
    ) => Effect.Effect<LedgerPage, JournalUnavailable>
  }
>()("tributary/services/Quotas") {
  /** `plans`: those that tenants may be on. */
  static readonly layerWith = (plans: Plans) =>
    Layer.effect(
      Quotas,
      Effect.gen(function* () {
        const { read, transact } = yield* Transact
        const settings = yield* Settings
        const journal = yield* Journal
        const full = new BoundedCache<`${TenantKey}/${CountedDimension}`, { readonly total: number; readonly endsAt: number }>(
          exhaustedTenantsMax
        )

        /** A plan that is gone allows nothing. */
        const planLimit = Effect.fnUntraced(function* (scope: TenantScope, dimension: CountedDimension) {
          const { state } = yield* read(tenant, scope, "self")
          const plan = planOf(plans, state?.plan ?? "")
          return plan === undefined ? 0 : plan[dimension]
        })
        /** Only events per day have settings of their own so far; the other dimensions are blocked at the plan's limit. */
        const policy = Effect.fnUntraced(function* (scope: TenantScope, dimension: CountedDimension) {
          if (dimension !== "events") return { mode: "block", limit: yield* planLimit(scope, dimension) } satisfies QuotaPolicy
          const chain = yield* settings.chain(scope)
          const limit = resolve("quota.eventsPerDay.limit", chain)
          return {
            mode: resolve("quota.eventsPerDay.mode", chain),
            limit: limit === "unlimited" ? null : limit === "plan" ? yield* planLimit(scope, dimension) : limit
          } satisfies QuotaPolicy
        })

        const reservation = Effect.fnUntraced(function* (
          scope: TenantScope,
          dimension: CountedDimension,
          consumers: ReadonlyArray<string>,
          at: number
        ) {
          const { mode, limit } = yield* policy(scope, dimension)
          const { id, endsAt: windowEndsAt } = quotaWindowAt(dimension, at)
          return { id: quotaStreamId(dimension, id), command: { _tag: "ReserveUnits", consumers, limit, mode, windowEndsAt } as const }
        })

        const reserve = Effect.fnUntraced(function* (
          scope: TenantScope,
          dimension: CountedDimension,
          consumers: ReadonlyArray<string>,
          at?: number
        ) {
          const { command, id } = yield* reservation(scope, dimension, consumers, at ?? (yield* Clock.currentTimeMillis))
          const { state, events } = yield* transact(quota, scope, id, command, { origin })
          const { limit, windowEndsAt } = command
          if (limit !== null && state.total >= limit) full.set(`${scope.key}/${dimension}`, { total: state.total, endsAt: windowEndsAt })
          return quotaDecisions(consumers, events)
        })

        const share = Effect.fnUntraced(function* (
          scope: TenantScope,
          dimension: CountedDimension,
          consumers: ReadonlyArray<string>,
          at: number
        ) {
          const { command, id } = yield* reservation(scope, dimension, consumers, at)
          const part: Part = { aggregate: quota, id, commands: [command], options: { origin }, onlyIf: allReserved }
          return { part, headroom: yield* headroomOf(scope, id, command) }
        })

        const headroomOf = Effect.fnUntraced(function* (scope: TenantScope, id: string, { limit, mode }: QuotaPolicy) {
          if (limit === null || mode === "warn" || mode === "overage") return Number.POSITIVE_INFINITY
          const { state } = yield* read(quota, scope, id)
          return Math.max(0, limit - state.total)
        })

        const headroom = Effect.fnUntraced(function* (scope: TenantScope, dimension: CountedDimension, at?: number) {
          const { id } = quotaWindowAt(dimension, at ?? (yield* Clock.currentTimeMillis))
          return yield* headroomOf(scope, quotaStreamId(dimension, id), yield* policy(scope, dimension))
        })

        const exhausted = Effect.fnUntraced(function* (scope: TenantScope, dimension: CountedDimension) {
          const flag = full.get(`${scope.key}/${dimension}`)
          if (flag === undefined) return null
          if ((yield* Clock.currentTimeMillis) >= flag.endsAt) {
            full.delete(`${scope.key}/${dimension}`)
            return null
          }
          const { mode, limit } = yield* policy(scope, dimension)
          return mode === "block" && limit !== null && flag.total >= limit ? { limit, windowEndsAt: flag.endsAt } : null
        })

        const standing = Effect.fn("Quotas.standing")(function* (scope: TenantScope, dimension: CountedDimension) {
          const { id, endsAt: windowEndsAt } = quotaWindowAt(dimension, yield* Clock.currentTimeMillis)
          const { state } = yield* read(quota, scope, quotaStreamId(dimension, id))
          return { ...(yield* policy(scope, dimension)), dimension, window: id, reserved: state.total, windowEndsAt }
        })

        const ledger = Effect.fn("Quotas.ledger")(function* (scope: TenantScope, dimension: CountedDimension, window: string, from = 0) {
          const stream = streamName(scope, `quota-${quotaStreamId(dimension, window)}`)
          const stored = yield* journal.readStream(scope, stream, { from, limit: ledgerEventsMax })
          const entries = stored.flatMap(({ type, version, data, at }) => {
            const event = quota.events.decode(type, version, data)
            if (event._tag === "QuotaExceeded") return []
            return event.consumers.map((consumer): LedgerEntry => ({ consumer, decision: decisionOf[event._tag], at }))
          })
          return { entries, next: stored.length < ledgerEventsMax ? null : from + stored.length }
        })

        return Quotas.of({ policy, reserve, share, headroom, exhausted, standing, ledger })
      })
    )
  static readonly layer = Quotas.layerWith(builtInPlans)
}
