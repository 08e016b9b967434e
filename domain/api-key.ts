/** An API key: who may act as which role; only a digest of its secret is known (PRODUCT 12). */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { isAtMost, Role } from "./access.ts"
import type { Aggregate } from "./decider.ts"
import { eventFamily } from "./event-family.ts"
import { ApiKeyId, TenantKey } from "./ids.ts"

/** SHA-256 of the secret, hex. The secret has 160 random bits, so that a plain hash keeps it. */
const Digest = Schema.String.check(Schema.isPattern(/^[0-9a-f]{64}$/u, { expected: "64 hex digits" }))
/** Epoch milliseconds. */
const Time = Schema.Int

export type KeyLabel = typeof KeyLabel.Type
/** What the key is for, for those who read the list: not the name of a customer. */
export const KeyLabel = Schema.Trimmed.check(Schema.isMinLength(1), Schema.isMaxLength(100))

const created = {
  keyId: ApiKeyId,
  digest: Digest,
  role: Role,
  /** The one tenant that the key is for. */
  tenantKey: Schema.optionalKey(TenantKey),
  label: KeyLabel,
  expiresAt: Schema.optionalKey(Time)
}
/** The role and tenant of who gives the command: nobody hands out, or takes over, more than they have. The installation is a platform admin. */
const acting = { actingRole: Role, actingTenant: Schema.optionalKey(TenantKey) }

export type ApiKeyCommand = typeof ApiKeyCommand.Type
export const ApiKeyCommand = Schema.TaggedUnion({
  CreateApiKey: { ...created, ...acting },
  /** From this time on it does not work; a time in the past ends it at once. */
  ExpireApiKey: { expiresAt: Time, ...acting },
  /** The new secret works at once, the old one until `graceUntil`. `at` is now. */
  RotateApiKey: { digest: Digest, graceUntil: Time, at: Time, ...acting },
  RevokeApiKey: acting
})
export type ApiKeyEvent = typeof ApiKeyEvent.Type
export const ApiKeyEvent = Schema.TaggedUnion({
  ApiKeyCreated: created,
  ApiKeyExpirySet: { expiresAt: Time },
  ApiKeyRotated: { digest: Digest, graceUntil: Time },
  ApiKeyRevoked: {}
})
const { ApiKeyCreated, ApiKeyExpirySet, ApiKeyRevoked, ApiKeyRotated } = ApiKeyEvent.cases

export interface ApiKey {
  readonly keyId: ApiKeyId
  readonly digest: string
  readonly role: Role
  readonly tenantKey: TenantKey | null
  readonly expiresAt: number | null
  /** The digest before the last rotation, and until when it works. */
  readonly previous: { readonly digest: string; readonly until: number } | null
  readonly revoked: boolean
}
/** Null: never created. */
export type ApiKeyState = ApiKey | null

export class ApiKeyNotFound extends Schema.TaggedError<ApiKeyNotFound>()("ApiKeyNotFound", {}) {
  override get message() {
    return "There is no such API key. Nothing was changed. List the keys to see their ids."
  }
}
export class ApiKeyExists extends Schema.TaggedError<ApiKeyExists>()("ApiKeyExists", { keyId: ApiKeyId }) {
  override get message() {
    return `The API key ${this.keyId} exists already. Nothing was changed. Create another one.`
  }
}
export class ApiKeyEnded extends Schema.TaggedError<ApiKeyEnded>()("ApiKeyEnded", {
  keyId: ApiKeyId,
  why: Schema.Literals(["revoked", "expired"])
}) {
  override get message() {
    return `The API key ${this.keyId} is ${this.why}. Nothing was changed. Create a new one.`
  }
}
export class GrantTooWide extends Schema.TaggedError<GrantTooWide>()("GrantTooWide", {
  role: Role,
  actingRole: Role,
  why: Schema.Literals(["role", "tenant"])
}) {
  override get message() {
    return this.why === "role"
      ? `The role ${this.actingRole} cannot create or change a key with the role ${this.role}, which is above it. Nothing was changed. Ask somebody with that role.`
      : "A key that is bound to a tenant can only create and change keys of that tenant. Nothing was changed. Name that tenant."
  }
}
/** A tenant user acts for one tenant: without one its key would open them all. */
export class TenantRequired extends Schema.TaggedError<TenantRequired>()("TenantRequired", {}) {
  override get message() {
    return "A key with the role tenant-user needs a tenant. Nothing was changed. Name the tenant."
  }
}
export type ApiKeyRejected = ApiKeyNotFound | ApiKeyExists | ApiKeyEnded | GrantTooWide | TenantRequired

type Decided = Result.Result<ReadonlyArray<ApiKeyEvent>, ApiKeyRejected>
interface Acting {
  readonly actingRole: Role
  readonly actingTenant?: TenantKey
}
/** What speaks against this role's acting on a key of that role and tenant. */
const tooWide = (role: Role, tenantKey: TenantKey | null, { actingRole, actingTenant }: Acting): GrantTooWide | undefined => {
  if (!isAtMost(role, actingRole)) return new GrantTooWide({ role, actingRole, why: "role" })
  return actingTenant !== undefined && actingTenant !== tenantKey ? new GrantTooWide({ role, actingRole, why: "tenant" }) : undefined
}
const create = (
  { _tag, actingRole, actingTenant, ...fields }: typeof ApiKeyCommand.cases.CreateApiKey.Type,
  state: ApiKeyState
): Decided => {
  if (state !== null) return Result.fail(new ApiKeyExists({ keyId: fields.keyId }))
  const refused = tooWide(fields.role, fields.tenantKey ?? null, { actingRole, ...(actingTenant && { actingTenant }) })
  if (refused !== undefined) return Result.fail(refused)
  if (fields.role === "tenant-user" && fields.tenantKey === undefined) return Result.fail(new TenantRequired())
  return Result.succeed([ApiKeyCreated.make(fields)])
}
const whenThere = (state: ApiKeyState, acting: Acting, decide: (key: ApiKey) => Decided): Decided => {
  if (state === null) return Result.fail(new ApiKeyNotFound())
  const refused = tooWide(state.role, state.tenantKey, acting)
  return refused === undefined ? decide(state) : Result.fail(refused)
}
const whenLive = (state: ApiKeyState, acting: Acting, decide: (key: ApiKey) => Decided): Decided =>
  whenThere(state, acting, (key) => (key.revoked ? Result.fail(new ApiKeyEnded({ keyId: key.keyId, why: "revoked" })) : decide(key)))
const change = (state: ApiKeyState, fields: Partial<ApiKey>): ApiKeyState => state && { ...state, ...fields }

/** Stream `apikey-<key id>` of the space. */
export const apiKey: Aggregate<ApiKeyState, ApiKeyCommand, ApiKeyEvent, ApiKeyRejected> = {
  kind: "apikey",
  version: 1,
  events: eventFamily(ApiKeyEvent),
  initialState: null,
  decide: (command, state) =>
    ApiKeyCommand.match(command, {
      CreateApiKey: (command) => create(command, state),
      ExpireApiKey: ({ expiresAt, ...acting }) =>
        whenLive(state, acting, (key) => Result.succeed(key.expiresAt === expiresAt ? [] : [ApiKeyExpirySet.make({ expiresAt })])),
      RotateApiKey: ({ digest, graceUntil, at, ...acting }) =>
        whenLive(state, acting, (key) => {
          if (key.digest === digest) return Result.succeed([])
          return isExpired(key, at)
            ? Result.fail(new ApiKeyEnded({ keyId: key.keyId, why: "expired" }))
            : Result.succeed([ApiKeyRotated.make({ digest, graceUntil })])
        }),
      RevokeApiKey: (acting) => whenThere(state, acting, (key) => Result.succeed(key.revoked ? [] : [ApiKeyRevoked.make({})]))
    }),
  evolve: (state, event) =>
    ApiKeyEvent.match(event, {
      ApiKeyCreated: ({ keyId, digest, role, tenantKey, expiresAt }): ApiKeyState => ({
        keyId,
        digest,
        role,
        tenantKey: tenantKey ?? null,
        expiresAt: expiresAt ?? null,
        previous: null,
        revoked: false
      }),
      ApiKeyExpirySet: ({ expiresAt }) => change(state, { expiresAt }),
      ApiKeyRotated: ({ digest, graceUntil }) => state && { ...state, digest, previous: { digest: state.digest, until: graceUntil } },
      ApiKeyRevoked: () => change(state, { revoked: true })
    })
}

const isExpired = (key: ApiKey, at: number): boolean => key.expiresAt !== null && at >= key.expiresAt

/** The digests that open the door at a time: none when the key is revoked or expired. */
export const acceptedDigests = (state: ApiKeyState, at: number): ReadonlyArray<string> => {
  if (state === null || state.revoked || isExpired(state, at)) return []
  return state.previous !== null && at < state.previous.until ? [state.digest, state.previous.digest] : [state.digest]
}
