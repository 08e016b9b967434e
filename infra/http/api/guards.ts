/** What stands before every endpoint: who calls, whether their role allows it, and whose facts they may see. */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as HttpApiMiddleware from "effect/http-api/HttpApiMiddleware"
import * as Schema from "effect/Schema"
import { AccessDenied, type Permission, type Principal } from "#domain/access.ts"
import type { Position } from "#domain/ids.ts"
import type { Origin } from "#domain/recorded.ts"
import type { SpaceScope, TenantScope } from "#domain/scope.ts"
import { TenantNotFound } from "#domain/tenant.ts"
import { TooBusy } from "#services/actors.ts"
import { ContentGone } from "#services/ports/payloads.ts"
import { QueryRefused } from "#services/ports/read-models.ts"
import { JournalUnavailable, ReadModelsUnavailable, VaultUnavailable } from "#services/ports/unavailable.ts"
import { SecretGone } from "#services/ports/vault.ts"
import { ProjectionUnknown, ViewsBehind, ViewsBuilding } from "#services/ports/view-server.ts"
import { PositionForeign, PositionMalformed } from "#services/position-token.ts"
import { AggregateRetired, CommandIdReused, type Expecting } from "#services/transact.ts"
import { problem, problemOf, RequestInvalid } from "../problems.ts"

/** The permission that an endpoint needs. Every endpoint carries one; a test proves it. */
export class Needs extends Context.Service<Needs, Permission>()("tributary/http/Needs") {}

/** The caller, as their API key says, and what the events of this request will say about them. */
export class Caller extends Context.Service<
  Caller,
  {
    readonly principal: Principal
    readonly space: SpaceScope
    /** Actor, address, trace, command id and its hash. */
    readonly origin: Origin
    /** `If-Match`: the revision that a change was decided on. */
    readonly expecting: Expecting
    /** `x-min-position`: what is read has to contain everything up to here. */
    readonly after: Position | null
    /** Whether the key still opens the door: for answers that last. */
    readonly stillValid: Effect.Effect<boolean>
  }
>()("tributary/http/Caller") {}

/** The tenant of the path, found and allowed. */
export class CurrentTenant extends Context.Service<CurrentTenant, TenantScope>()("tributary/http/CurrentTenant") {}

export class KeyNotAccepted extends Schema.TaggedError<KeyNotAccepted>()("KeyNotAccepted", {}) {
  override get message() {
    return "The API key is missing, unknown, expired or revoked. Nothing was done. Send a valid one as x-api-key, or as a bearer token."
  }
}
/** The key belongs to one tenant, and this endpoint is about the whole space. */
export class KeyOfOneTenant extends Schema.TaggedError<KeyOfOneTenant>()("KeyOfOneTenant", {}) {
  override get message() {
    return "This API key is for one tenant, and the request is about the whole space. Nothing was done. Use the paths below /tenants, or a key of the space."
  }
}
export class SpaceNotOfKey extends Schema.TaggedError<SpaceNotOfKey>()("SpaceNotOfKey", {}) {
  override get message() {
    return "The x-space-id header names another space than the API key's. Nothing was done. Leave it out, or send the key of that space."
  }
}
export class TenantNotOfPath extends Schema.TaggedError<TenantNotOfPath>()("TenantNotOfPath", {}) {
  override get message() {
    return "The x-tenant-id header names another tenant than the path. Nothing was done. Leave it out, or ask for that tenant's path."
  }
}
/** What may be answered to any request. */
const common = [
  problem(RequestInvalid, 400, "The request is not valid"),
  problemOf(PositionMalformed, 400, "Not a position"),
  problemOf(PositionForeign, 409, "A position of another journal"),
  problemOf(TooBusy, 503, "Too busy"),
  problemOf(JournalUnavailable, 503, "The journal is unavailable"),
  problemOf(VaultUnavailable, 503, "The vault is unavailable"),
  problemOf(ReadModelsUnavailable, 503, "The read models are unavailable"),
  problemOf(SecretGone, 409, "A stored secret cannot be opened"),
  problem(AggregateRetired, 410, "Retired by the retention policy"),
  problem(CommandIdReused, 422, "The Idempotency-Key was used for another request")
] as const

/** Turns what any endpoint may meet into problems: invalid input, ports that could not, views that lag. */
export class Described extends HttpApiMiddleware.Service<Described>()("tributary/http/Described", {
  error: [
    problemOf(ViewsBehind, 503, "The views are behind"),
    problemOf(ViewsBuilding, 503, "The views are being built"),
    problemOf(QueryRefused, 400, "The query cannot be answered"),
    problemOf(ProjectionUnknown, 404, "No such projection"),
    problemOf(ContentGone, 410, "The content is gone"),
    ...common
  ]
}) {}

/**
 * Finds the caller by their API key. Not declared as alternative security schemes: with these the last one's error would hide what
 * was wrong with the key that was sent. `describeHeaders` puts them into the document.
 */
export class Authenticated extends HttpApiMiddleware.Service<Authenticated, { provides: Caller }>()("tributary/http/Authenticated", {
  error: [problem(KeyNotAccepted, 401, "The API key was not accepted"), ...common]
}) {}

/** Checks the declared permission against the caller's role, space and tenant headers against key and path; refuses unknown query parameters. */
export class Permitted extends HttpApiMiddleware.Service<Permitted, { requires: Caller }>()("tributary/http/Permitted", {
  error: [
    problem(RequestInvalid, 400, "The request is not valid"),
    problem(AccessDenied, 403, "The key's role does not permit this"),
    problem(KeyOfOneTenant, 403, "The key is for one tenant"),
    problem(SpaceNotOfKey, 403, "Another space than the key's"),
    problem(TenantNotOfPath, 403, "Another tenant than the path's")
  ]
}) {}

/** Resolves `:tid`, the space's own id of the tenant, to the tenant; the only place that does. */
export class InTenant extends HttpApiMiddleware.Service<InTenant, { requires: Caller; provides: CurrentTenant }>()(
  "tributary/http/InTenant",
  {
    error: [problem(TenantNotFound, 404, "No such tenant"), ...common]
  }
) {}
