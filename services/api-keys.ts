/** API keys: shown once when made, recognised by a digest, gone at once when revoked. */
import { createHash, timingSafeEqual } from "node:crypto"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type { Principal, Role } from "#domain/access.ts"
import { type ApiKeyCommand, type ApiKeyRejected, type ApiKeyState, acceptedDigests, apiKey } from "#domain/api-key.ts"
import type { ApiKeyId, SpaceKey, TenantKey } from "#domain/ids.ts"
import { type Origin, systemActor } from "#domain/recorded.ts"
import { kindAndIdOf, type SpaceScope, scopeKeyOf, spaceScope } from "#domain/scope.ts"
import { type SpaceNotFound, type SpaceState, space } from "#domain/space.ts"
import { BoundedCache } from "./bounded-cache.ts"
import { digest26 } from "./identities.ts"
import { Entropy } from "./ports/entropy.ts"
import { Transact, type TransactError } from "./transact.ts"

/** Whatever is wrong with a key: who asks learns nothing else. */
export class ApiKeyRefused extends Data.TaggedError("ApiKeyRefused")<object> {
  override get message() {
    return "The API key is missing, unknown, expired or revoked. Nothing was done. Send a valid key in the header x-api-key."
  }
}

/** The request was carried out before under its Idempotency-Key: the secret made then is kept nowhere. */
export class SecretShownBefore extends Data.TaggedError("SecretShownBefore")<{ readonly keyId: ApiKeyId }> {
  override get message() {
    return `This request was carried out before and the secret of the key ${this.keyId} was shown then. Nothing was changed. If it is lost, rotate the key under a new Idempotency-Key.`
  }
}

export interface NewApiKey {
  readonly role: Role
  readonly label: string
  readonly tenantKey?: TenantKey | undefined
  /** Epoch milliseconds. */
  readonly expiresAt?: number | undefined
}
/** `text` is all that opens the door: it is shown once and kept nowhere. */
export interface IssuedApiKey {
  readonly keyId: ApiKeyId
  readonly text: Redacted.Redacted<string>
}
/** Who creates or changes a key, and may not hand out or take over more than they have. */
export type KeyHolder = Pick<Principal, "role" | "tenant">

/** `trib_<space key>_<key id>_<secret>`, the secret 32 characters of base32: 160 bits. */
const keyPattern = /^trib_(s[a-z2-7]{19})_([a-z2-7]{12})_([a-z2-7]{32})$/u
/** How long another process's revocation may go unnoticed (PRODUCT 12); in this process it is seen at once. */
const cachedMillis = 60_000
const cachedKeysMax = 10_000
const defaultGraceSeconds = 86_400
const installation: KeyHolder = { role: "platform-admin" }

const actingAs = ({ role, tenant }: KeyHolder) => ({ actingRole: role, ...(tenant === undefined ? {} : { actingTenant: tenant }) })
const digestOf = (secret: string): string => createHash("sha256").update(secret).digest("hex")
const matches = (digest: string, accepted: string): boolean => timingSafeEqual(Buffer.from(digest, "hex"), Buffer.from(accepted, "hex"))
/** Compared when there is no such key, so that the answer takes as long. */
const nobody = "0".repeat(64)

export class ApiKeys extends Context.Service<
  ApiKeys,
  {
    readonly create: (
      scope: SpaceScope,
      key: NewApiKey,
      acting: KeyHolder,
      origin: Origin
    ) => Effect.Effect<IssuedApiKey, ApiKeyRejected | SecretShownBefore | TransactError>
    /** A new secret under the same id; the old one works for the grace time (default a day). */
    readonly rotate: (
      scope: SpaceScope,
      keyId: ApiKeyId,
      acting: KeyHolder,
      origin: Origin,
      graceSeconds?: number
    ) => Effect.Effect<IssuedApiKey, ApiKeyRejected | SecretShownBefore | TransactError>
    readonly expire: (
      scope: SpaceScope,
      keyId: ApiKeyId,
      expiresAt: number,
      acting: KeyHolder,
      origin: Origin
    ) => Effect.Effect<void, ApiKeyRejected | TransactError>
    readonly revoke: (
      scope: SpaceScope,
      keyId: ApiKeyId,
      acting: KeyHolder,
      origin: Origin
    ) => Effect.Effect<void, ApiKeyRejected | TransactError>
    /** Who holds this key. Every wrong key gets the same answer after the same work. */
    readonly authenticate: (text: Redacted.Redacted<string>) => Effect.Effect<Principal, ApiKeyRefused | TransactError>
    /** The first platform admin's key at the first start; null at every later one. */
    readonly ensureFirstAdmin: (
      scope: SpaceScope
    ) => Effect.Effect<IssuedApiKey | null, ApiKeyRejected | SecretShownBefore | SpaceNotFound | TransactError>
    /** In place of a lost one: a new first key, and the old one is revoked. */
    readonly resetFirstAdmin: (
      scope: SpaceScope,
      origin: Origin
    ) => Effect.Effect<IssuedApiKey, ApiKeyRejected | SecretShownBefore | SpaceNotFound | TransactError>
  }
>()("tributary/services/ApiKeys") {
  static readonly layer = Layer.effect(
    ApiKeys,
    Effect.gen(function* () {
      const { forget, onOvertaken, read, transact } = yield* Transact
      const entropy = yield* Entropy
      /** Counts changes, so that a state read before one is not kept after it. */
      let changes = 0
      const known = new BoundedCache<string, { readonly state: ApiKeyState; readonly until: number }>(cachedKeysMax)

      const drop = (name: string) => {
        changes++
        known.delete(name)
      }
      onOvertaken((stream) => {
        const { kind, id } = kindAndIdOf(stream)
        if (kind === apiKey.kind) drop(`${scopeKeyOf(stream)}_${id}`)
      })

      const issue = (scope: SpaceScope, keyId: ApiKeyId) => {
        const secret = entropy.base32(32)
        return { digest: digestOf(secret), issued: { keyId, text: Redacted.make(`trib_${scope.key}_${keyId}_${secret}`) } }
      }
      const change = (scope: SpaceScope, keyId: ApiKeyId, command: ApiKeyCommand, origin: Origin) =>
        Effect.ensuring(
          transact(apiKey, scope, keyId, command, { origin }),
          Effect.sync(() => drop(`${scope.key}_${keyId}`))
        )
      /** Where a secret is made, a repeat must not show another one. */
      const changeOnce = Effect.fnUntraced(function* (scope: SpaceScope, keyId: ApiKeyId, command: ApiKeyCommand, origin: Origin) {
        const { repeated } = yield* change(scope, keyId, command, origin)
        if (repeated) return yield* new SecretShownBefore({ keyId })
      })
      /** A create that is repeated finds the stream of the first (R1). */
      const newKeyId = (scope: SpaceScope, { commandId }: Origin) =>
        (commandId === undefined ? entropy.base32(12) : digest26(`apikey\n${scope.key}\n${commandId}`).slice(0, 12)) as ApiKeyId

      const create = Effect.fn("ApiKeys.create")(function* (scope: SpaceScope, key: NewApiKey, acting: KeyHolder, origin: Origin) {
        const keyId = newKeyId(scope, origin)
        const { digest, issued } = issue(scope, keyId)
        const command: ApiKeyCommand = {
          _tag: "CreateApiKey",
          keyId,
          digest,
          role: key.role,
          label: key.label,
          ...(key.tenantKey === undefined ? {} : { tenantKey: key.tenantKey }),
          ...(key.expiresAt === undefined ? {} : { expiresAt: key.expiresAt }),
          ...actingAs(acting)
        }
        yield* changeOnce(scope, keyId, command, origin)
        return issued
      })

      const rotate = Effect.fn("ApiKeys.rotate")(function* (
        scope: SpaceScope,
        keyId: ApiKeyId,
        acting: KeyHolder,
        origin: Origin,
        graceSeconds = defaultGraceSeconds
      ) {
        const at = yield* Clock.currentTimeMillis
        const { digest, issued } = issue(scope, keyId)
        yield* changeOnce(
          scope,
          keyId,
          { _tag: "RotateApiKey", digest, graceUntil: at + graceSeconds * 1_000, at, ...actingAs(acting) },
          origin
        )
        return issued
      })

      const stateOf = Effect.fnUntraced(function* (spaceKey: SpaceKey, keyId: ApiKeyId, at: number) {
        const name = `${spaceKey}_${keyId}`
        const cached = known.get(name)
        if (cached !== undefined && at < cached.until) return cached.state
        const scope = spaceScope(spaceKey)
        const changesBefore = changes
        const { state } = yield* read(apiKey, scope, keyId).pipe(Effect.catchTag("AggregateRetired", () => Effect.succeed({ state: null })))
        if (state === null) forget(scope, `apikey-${keyId}`)
        else if (changes === changesBefore) known.set(name, { state, until: at + cachedMillis })
        return state
      })

      const authenticate = Effect.fnUntraced(function* (text: Redacted.Redacted<string>) {
        const parts = keyPattern.exec(Redacted.value(text))
        if (parts === null) return yield* new ApiKeyRefused()
        const [, spaceKey, keyId, secret] = parts as unknown as [string, SpaceKey, ApiKeyId, string]
        const at = yield* Clock.currentTimeMillis
        const state = yield* stateOf(spaceKey, keyId, at)
        const digest = digestOf(secret)
        const accepted = acceptedDigests(state, at)
        const opens = (accepted.length === 0 ? [nobody] : accepted).map((candidate) => matches(digest, candidate)).includes(true)
        if (state === null || accepted.length === 0 || !opens) return yield* new ApiKeyRefused()
        const principal: Principal = { space: spaceKey, role: state.role, keyId }
        return state.tenantKey === null ? principal : { ...principal, tenant: state.tenantKey }
      })

      const revoke = Effect.fn("ApiKeys.revoke")(function* (scope: SpaceScope, keyId: ApiKeyId, acting: KeyHolder, origin: Origin) {
        yield* change(scope, keyId, { _tag: "RevokeApiKey", ...actingAs(acting) }, origin)
      })
      const adminKeyOf = (scope: SpaceScope) =>
        Effect.map(read(space, scope, "self"), ({ state }: { readonly state: SpaceState }) => state?.adminKeyId ?? null)
      /**
       * Recorded last: a crash before leaves a key that nobody has seen, and the next try makes another. Made first: a repeated
       * request stops there and revokes nothing.
       */
      const replaceAdminKey = Effect.fnUntraced(function* (scope: SpaceScope, lost: ApiKeyId | null, origin: Origin) {
        const issued = yield* create(scope, { role: "platform-admin", label: "First administrator" }, installation, origin)
        if (lost !== null) yield* revoke(scope, lost, installation, origin)
        yield* transact(space, scope, "self", { _tag: "RecordAdminKey", keyId: issued.keyId }, { origin })
        return issued
      })
      const ensureFirstAdmin = Effect.fn("ApiKeys.ensureFirstAdmin")(function* (scope: SpaceScope) {
        const known = yield* adminKeyOf(scope)
        return known === null ? yield* replaceAdminKey(scope, null, { actor: systemActor("start") }) : null
      })
      const resetFirstAdmin = Effect.fn("ApiKeys.resetFirstAdmin")(function* (scope: SpaceScope, origin: Origin) {
        return yield* replaceAdminKey(scope, yield* adminKeyOf(scope), origin)
      })

      return ApiKeys.of({
        create,
        rotate,
        expire: Effect.fn("ApiKeys.expire")(function* (scope, keyId, expiresAt, acting, origin) {
          yield* change(scope, keyId, { _tag: "ExpireApiKey", expiresAt, ...actingAs(acting) }, origin)
        }),
        revoke,
        authenticate,
        ensureFirstAdmin,
        resetFirstAdmin
      })
    })
  )
}
