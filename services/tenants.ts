/** Tenants: made under the id that the space chose, and found by it. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Result from "effect/Result"
import type { TenantKey } from "#domain/ids.ts"
import { name } from "#domain/name.ts"
import { builtInPlans, defaultPlan, PlanName, PlanNotFound, type Plans, planOf } from "#domain/plan.ts"
import type { Origin } from "#domain/recorded.ts"
import { type SpaceScope, type TenantScope, tenantScope } from "#domain/scope.ts"
import {
  type DisplayName,
  type ExternalTenantId,
  type Region,
  type TenantCommand,
  type TenantErased,
  TenantNotFound,
  type TenantRejected,
  type TenantStatus,
  type Tier,
  tenant
} from "#domain/tenant.ts"
import type { TenantView } from "#projections/tenants.ts"
import { BoundedCache } from "./bounded-cache.ts"
import { digest26 } from "./identities.ts"
import { Entropy } from "./ports/entropy.ts"
import type { VaultUnavailable } from "./ports/unavailable.ts"
import { type SecretGone, Vault } from "./ports/vault.ts"
import { CommandIdReused, type Expecting, type RevisionMismatch, Transact, type TransactError } from "./transact.ts"

export interface NewTenant {
  readonly id: ExternalTenantId
  /** The id, when left out. */
  readonly displayName?: DisplayName | undefined
  readonly plan?: string | undefined
  readonly region?: Region | undefined
  readonly tier?: Tier | undefined
}
/** A tenant with its id and name in the clear, for who asked. */
export interface TenantDetails {
  readonly tenantKey: TenantKey
  readonly id: ExternalTenantId
  readonly displayName: string
  readonly plan: PlanName
  readonly region: Region
  readonly tier: Tier
  readonly status: TenantStatus
}
/** A row of the list. */
export type ListedTenant = TenantDetails & Omit<TenantView, "externalId">
type Sealed = Omit<TenantDetails, "id"> & { readonly externalId: string }
type Failure = TransactError | VaultUnavailable
type ChangeFailure = TenantNotFound | TenantErased | RevisionMismatch | Failure

/** What of a tenant is to be otherwise. */
export interface TenantChange {
  readonly displayName?: DisplayName | undefined
  readonly plan?: string | undefined
}

/** Ids whose tenant is remembered; a claimed id leads to the same tenant for ever. */
const knownIdsMax = 100_000
/** A page's tenants are opened so many at a time. */
const openConcurrency = 16
/** So many tenants of one request are made at the same time: they share the journal's commits. */
const createConcurrency = 64

/** Each tenant of one request is remembered by an id of its own. */
const partOf = (origin: Origin, index: number): Origin =>
  origin.commandId === undefined ? origin : { ...origin, commandId: `${origin.commandId}.${index}` }

export class Tenants extends Context.Service<
  Tenants,
  {
    /**
     * Claims the id, then makes the tenant. Repeatable after a crash in between; the same Idempotency-Key gives the same tenant,
     * and with another request it is refused.
     */
    readonly create: (
      space: SpaceScope,
      tenant: NewTenant,
      origin: Origin
    ) => Effect.Effect<TenantScope, TenantRejected | PlanNotFound | Failure>
    /** Several at a time, each with an outcome of its own, in the order given; one request under one Idempotency-Key. */
    readonly createAll: (
      space: SpaceScope,
      tenants: ReadonlyArray<NewTenant>,
      origin: Origin
    ) => Effect.Effect<ReadonlyArray<Result.Result<TenantScope, TenantRejected | PlanNotFound | Failure>>, Failure>
    /** The scope behind the space's own id. Ids of other spaces are as unknown as any other. */
    readonly find: (space: SpaceScope, id: ExternalTenantId) => Effect.Effect<TenantScope, TenantNotFound | Failure>
    readonly get: (
      scope: TenantScope
    ) => Effect.Effect<TenantDetails & { readonly revision: number }, TenantNotFound | SecretGone | Failure>
    readonly status: (scope: TenantScope) => Effect.Effect<TenantStatus, TenantNotFound | TransactError>
    /** Opens the ids and names of one page of the view. A tenant whose keys are gone is left out. */
    readonly open: (space: SpaceScope, views: ReadonlyArray<TenantView>) => Effect.Effect<ReadonlyArray<ListedTenant>, Failure>
    /** Name and plan at once, or neither. */
    readonly change: (
      scope: TenantScope,
      change: TenantChange,
      origin: Origin,
      expecting?: Expecting
    ) => Effect.Effect<void, PlanNotFound | ChangeFailure>
    readonly suspend: (scope: TenantScope, origin: Origin, expecting?: Expecting) => Effect.Effect<void, ChangeFailure>
    readonly activate: (scope: TenantScope, origin: Origin, expecting?: Expecting) => Effect.Effect<void, ChangeFailure>
  }
>()("tributary/services/Tenants") {
  /** `plans`: those that tenants may be on. */
  static readonly layerWith = (plans: Plans) =>
    Layer.effect(
      Tenants,
      Effect.suspend(() => service(plans))
    )
  static readonly layer = Tenants.layerWith(builtInPlans)
}

const service = (plans: Plans) =>
  Effect.gen(function* () {
    const { forget, read, transact } = yield* Transact
    const vault = yield* Vault
    const entropy = yield* Entropy
    const known = new BoundedCache<string, TenantScope>(knownIdsMax)

    const checkedPlan = (plan: string): Effect.Effect<PlanName, PlanNotFound> =>
      planOf(plans, plan) === undefined
        ? Effect.fail(new PlanNotFound({ plan, known: Object.keys(plans) }))
        : Effect.succeed(PlanName.make(plan))

    /** A request under an Idempotency-Key claims its key first: the same key with another body stops here (R1). */
    const claimCommand = Effect.fnUntraced(function* (space: SpaceScope, origin: Origin) {
      if (origin.commandId === undefined) return
      const claim = { _tag: "ClaimName", kind: "command", target: origin.commandHash ?? "" } as const
      yield* transact(name, space, digest26(`command\n${origin.commandId}`), claim, { origin }).pipe(
        Effect.catchTag("NameTaken", () => Effect.fail(new CommandIdReused({ commandId: origin.commandId! })))
      )
    })

    /** Whoever claimed first decided the key: also an earlier try of ours that got no further. */
    const claimId = Effect.fnUntraced(function* (space: SpaceScope, id: ExternalTenantId, origin: Origin) {
      const digest = yield* vault.nameDigest(space, "tenant", id)
      const claim = { _tag: "ClaimName", kind: "tenant", target: `t${entropy.base32(19)}` } as const
      const target = yield* transact(name, space, digest, claim, { origin }).pipe(
        Effect.map(({ state }) => state!.target),
        Effect.catchTag("NameTaken", (taken) => Effect.succeed(taken.target))
      )
      return tenantScope(space.space, target as TenantKey)
    })

    const make = Effect.fnUntraced(function* (space: SpaceScope, wanted: NewTenant, plan: PlanName, origin: Origin) {
      const scope = yield* claimId(space, wanted.id, origin)
      const command: TenantCommand = {
        _tag: "CreateTenant",
        tenantKey: scope.key,
        externalId: yield* vault.sealField(scope, "externalId", wanted.id),
        displayName: yield* vault.sealField(scope, "displayName", wanted.displayName ?? wanted.id),
        plan,
        region: wanted.region ?? "eu",
        tier: wanted.tier ?? "shared"
      }
      yield* transact(tenant, scope, "self", command, { origin })
      return scope
    })

    const create = Effect.fn("Tenants.create")(function* (space: SpaceScope, wanted: NewTenant, origin: Origin) {
      const plan = yield* checkedPlan(wanted.plan ?? defaultPlan)
      yield* claimCommand(space, origin)
      return yield* make(space, wanted, plan, origin)
    })

    const createAll = Effect.fn("Tenants.createAll")(function* (space: SpaceScope, wanted: ReadonlyArray<NewTenant>, origin: Origin) {
      yield* claimCommand(space, origin)
      const one = (tenant: NewTenant, index: number) =>
        Effect.flatMap(checkedPlan(tenant.plan ?? defaultPlan), (plan) => make(space, tenant, plan, partOf(origin, index)))
      return yield* Effect.forEach(wanted, (tenant, index) => Effect.result(one(tenant, index)), { concurrency: createConcurrency })
    })

    const found = Effect.fnUntraced(function* (scope: TenantScope) {
      const { state, revision } = yield* read(tenant, scope, "self")
      return state === null ? yield* new TenantNotFound() : { state, revision }
    })
    const stateOf = (scope: TenantScope) => Effect.map(found(scope), ({ state }) => state)

    const find = Effect.fnUntraced(function* (space: SpaceScope, id: ExternalTenantId) {
      const cached = known.get(`${space.key}/${id}`)
      if (cached !== undefined) return cached
      const digest = yield* vault.nameDigest(space, "tenant", id)
      const { state } = yield* read(name, space, digest)
      if (state === null) {
        forget(space, `name-${digest}`)
        return yield* new TenantNotFound()
      }
      const scope = tenantScope(space.space, state.target as TenantKey)
      const { status } = yield* stateOf(scope)
      if (status === "erased") return yield* new TenantNotFound()
      known.set(`${space.key}/${id}`, scope)
      return scope
    })

    const opened = Effect.fnUntraced(function* <A extends Sealed>(scope: TenantScope, { externalId, displayName, ...rest }: A) {
      return {
        ...rest,
        tenantKey: scope.key,
        id: (yield* vault.openField(scope, "externalId", externalId)) as ExternalTenantId,
        displayName: yield* vault.openField(scope, "displayName", displayName)
      }
    })

    const decide = Effect.fnUntraced(function* (
      scope: TenantScope,
      commands: ReadonlyArray<TenantCommand>,
      origin: Origin,
      expecting: Expecting = {}
    ) {
      yield* transact(tenant, scope, "self", commands, { origin, ...expecting }).pipe(Effect.catchTag("TenantExists", Effect.die))
    })

    /** Sealing the same name gives another text each time: one that is the same is no change. */
    const renaming = Effect.fnUntraced(function* (scope: TenantScope, displayName: DisplayName) {
      const current = yield* opened(scope, { ...(yield* stateOf(scope)), tenantKey: scope.key }).pipe(
        Effect.catchTag("SecretGone", () => Effect.succeed(undefined))
      )
      if (current?.displayName === displayName) return []
      return [{ _tag: "RenameTenant" as const, displayName: yield* vault.sealField(scope, "displayName", displayName) }]
    })

    return Tenants.of({
      create,
      createAll,
      find,
      get: Effect.fn("Tenants.get")(function* (scope) {
        const { state, revision } = yield* found(scope)
        return { ...(yield* opened(scope, { ...state, tenantKey: scope.key })), revision }
      }),
      status: (scope) => Effect.map(stateOf(scope), ({ status }) => status),
      open: Effect.fn("Tenants.open")(function* (space, views) {
        const rows = yield* Effect.forEach(
          views,
          (view) =>
            opened(tenantScope(space.space, view.tenantKey), view).pipe(
              Effect.map((details) => [details]),
              Effect.catchTag("SecretGone", () => Effect.succeed([]))
            ),
          { concurrency: openConcurrency }
        )
        return rows.flat()
      }),
      change: Effect.fn("Tenants.change")(function* (scope, { displayName, plan }, origin, expecting) {
        const planning = plan === undefined ? [] : [{ _tag: "ChangeTenantPlan" as const, plan: yield* checkedPlan(plan) }]
        const commands = [...planning, ...(displayName === undefined ? [] : yield* renaming(scope, displayName))]
        yield* decide(scope, commands, origin, expecting)
      }),
      suspend: Effect.fn("Tenants.suspend")((scope, origin, expecting) => decide(scope, [{ _tag: "SuspendTenant" }], origin, expecting)),
      activate: Effect.fn("Tenants.activate")((scope, origin, expecting) => decide(scope, [{ _tag: "ActivateTenant" }], origin, expecting))
    })
  })
