/** Tenants: made under the id that the space chose, and found by it. */
import { Context, Effect, Layer } from "effect"
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
import { CommandIdReused, Transact, type TransactError } from "./transact.ts"

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
type ChangeFailure = TenantNotFound | TenantErased | Failure

/** Ids whose tenant is remembered; a claimed id leads to the same tenant for ever. */
const knownIdsMax = 100_000
/** A page's tenants are opened so many at a time. */
const openConcurrency = 16

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
    /** The scope behind the space's own id. Ids of other spaces are as unknown as any other. */
    readonly find: (space: SpaceScope, id: ExternalTenantId) => Effect.Effect<TenantScope, TenantNotFound | Failure>
    readonly get: (scope: TenantScope) => Effect.Effect<TenantDetails, TenantNotFound | SecretGone | Failure>
    readonly status: (scope: TenantScope) => Effect.Effect<TenantStatus, TenantNotFound | TransactError>
    /** Opens the ids and names of one page of the view. A tenant whose keys are gone is left out. */
    readonly open: (space: SpaceScope, views: ReadonlyArray<TenantView>) => Effect.Effect<ReadonlyArray<ListedTenant>, Failure>
    readonly rename: (scope: TenantScope, displayName: DisplayName, origin: Origin) => Effect.Effect<void, ChangeFailure>
    readonly suspend: (scope: TenantScope, origin: Origin) => Effect.Effect<void, ChangeFailure>
    readonly activate: (scope: TenantScope, origin: Origin) => Effect.Effect<void, ChangeFailure>
    readonly changePlan: (scope: TenantScope, plan: string, origin: Origin) => Effect.Effect<void, PlanNotFound | ChangeFailure>
  }
>()("tributary/services/Tenants") {
  /** `plans`: those that tenants may be on. */
  static readonly layerWith = (plans: Plans) =>
    Layer.effect(
      Tenants,
      Effect.suspend(() => make(plans))
    )
  static readonly layer = Tenants.layerWith(builtInPlans)
}

const make = (plans: Plans) =>
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

    const create = Effect.fn("Tenants.create")(function* (space: SpaceScope, wanted: NewTenant, origin: Origin) {
      const plan = yield* checkedPlan(wanted.plan ?? defaultPlan)
      yield* claimCommand(space, origin)
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

    const stateOf = Effect.fnUntraced(function* (scope: TenantScope) {
      const { state } = yield* read(tenant, scope, "self")
      return state ?? (yield* new TenantNotFound())
    })

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

    const change = Effect.fnUntraced(function* (scope: TenantScope, command: TenantCommand, origin: Origin) {
      yield* transact(tenant, scope, "self", command, { origin }).pipe(Effect.catchTag("TenantExists", Effect.die))
    })

    return Tenants.of({
      create,
      find,
      get: Effect.fn("Tenants.get")(function* (scope) {
        return yield* opened(scope, { ...(yield* stateOf(scope)), tenantKey: scope.key })
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
      rename: Effect.fn("Tenants.rename")(function* (scope, displayName, origin) {
        const current = yield* opened(scope, { ...(yield* stateOf(scope)), tenantKey: scope.key }).pipe(
          Effect.catchTag("SecretGone", () => Effect.succeed(undefined))
        )
        if (current?.displayName === displayName) return
        const sealed = yield* vault.sealField(scope, "displayName", displayName)
        yield* change(scope, { _tag: "RenameTenant", displayName: sealed }, origin)
      }),
      suspend: Effect.fn("Tenants.suspend")((scope, origin) => change(scope, { _tag: "SuspendTenant" }, origin)),
      activate: Effect.fn("Tenants.activate")((scope, origin) => change(scope, { _tag: "ActivateTenant" }, origin)),
      changePlan: Effect.fn("Tenants.changePlan")(function* (scope, plan, origin) {
        yield* change(scope, { _tag: "ChangeTenantPlan", plan: yield* checkedPlan(plan) }, origin)
      })
    })
  })
