/** Accounts: the vendor's own name of a tenant (a shop's domain, a team's id), by which shared endpoints tell tenants apart. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { ConnectorId, type TenantKey } from "#domain/ids.ts"
import { name } from "#domain/name.ts"
import type { Origin } from "#domain/recorded.ts"
import { type SpaceScope, spaceOf, type TenantScope, tenantScope } from "#domain/scope.ts"
import { BoundedCache } from "./bounded-cache.ts"
import type { VaultUnavailable } from "./ports/unavailable.ts"
import { Vault } from "./ports/vault.ts"
import { Transact, type TransactError } from "./transact.ts"

/** An account of the vendor leads to one tenant of the space, for good. */
export class AccountTaken extends Schema.TaggedError<AccountTaken>()("AccountTaken", { connectorId: ConnectorId }) {
  override get message() {
    return `This ${this.connectorId} account belongs to another tenant already. Nothing was changed. Check the account's name.`
  }
}

/** Accounts whose tenant is remembered. */
const knownMax = 100_000

export class Accounts extends Context.Service<
  Accounts,
  {
    /** From now on events that name the account are this tenant's. Repeatable. */
    readonly claim: (
      scope: TenantScope,
      connectorId: ConnectorId,
      account: string,
      origin: Origin
    ) => Effect.Effect<void, AccountTaken | TransactError | VaultUnavailable>
    /** The tenant of an account, or null: nobody claimed it. */
    readonly find: (
      space: SpaceScope,
      connectorId: ConnectorId,
      account: string
    ) => Effect.Effect<TenantScope | null, TransactError | VaultUnavailable>
  }
>()("tributary/services/Accounts") {
  static readonly layer = Layer.effect(
    Accounts,
    Effect.gen(function* () {
      const { forget, read, transact } = yield* Transact
      const vault = yield* Vault
      const known = new BoundedCache<string, TenantScope>(knownMax)
      return Accounts.of({
        claim: Effect.fn("Accounts.claim")(function* (scope, connectorId, account, origin) {
          const digest = yield* vault.nameDigest(spaceOf(scope), `account:${connectorId}`, account)
          yield* transact(name, spaceOf(scope), digest, { _tag: "ClaimName", kind: "account", target: scope.key }, { origin }).pipe(
            Effect.catchTag("NameTaken", () => Effect.fail(new AccountTaken({ connectorId })))
          )
        }),
        find: Effect.fnUntraced(function* (space, connectorId, account) {
          const cached = known.get(`${space.key}/${connectorId}/${account}`)
          if (cached !== undefined) return cached
          const digest = yield* vault.nameDigest(space, `account:${connectorId}`, account)
          const { state } = yield* read(name, space, digest)
          forget(space, `name-${digest}`)
          if (state === null) return null
          const scope = tenantScope(space.space, state.target as TenantKey)
          known.set(`${space.key}/${connectorId}/${account}`, scope)
          return scope
        })
      })
    })
  )
}
