/** How the guards decide: one place for keys, permissions, tenants and positions. */
import { createHash } from "node:crypto"
import { Context, Effect, Layer, Option, Redacted, Schema } from "effect"
import { RouteContext } from "effect/http/HttpRouter"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import type { HttpApiEndpoint } from "effect/http-api"
import { AccessDenied, type Permission, permits } from "#domain/access.ts"
import type { Position } from "#domain/ids.ts"
import type { Actor, Origin } from "#domain/recorded.ts"
import { spaceScope } from "#domain/scope.ts"
import { ExternalTenantId, TenantNotFound } from "#domain/tenant.ts"
import { ApiKeys } from "#services/api-keys.ts"
import { Feed } from "#services/ports/feed.ts"
import { Tenants } from "#services/tenants.ts"
import { Process } from "../../config.ts"
import {
  Authenticated,
  Caller,
  CurrentTenant,
  InTenant,
  KeyNotAccepted,
  KeyOfOneTenant,
  Needs,
  Permitted,
  SpaceNotOfKey,
  TenantNotOfPath
} from "../api/guards.ts"
import { RequestInvalid } from "../problems.ts"
import { described } from "./described.ts"

type Request = HttpServerRequest.HttpServerRequest

/** Of the whole space, and still for the eyes of a key that is bound to one tenant: what all tenants share. */
const shared: ReadonlySet<Permission> = new Set(["connectors:read", "flows:read"])

const traceparent = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/u
const digest = (text: string): string => createHash("sha256").update(text).digest("hex").slice(0, 32)

/** The client's address: the socket's, or what so many trusted proxies say it was. */
const addressOf = (request: Request, trustedProxies: number): string | undefined => {
  const forwarded = trustedProxies === 0 ? [] : (request.headers["x-forwarded-for"] ?? "").split(",").map((part) => part.trim())
  return forwarded.at(-trustedProxies) || Option.getOrUndefined(request.remoteAddress)
}

const visible = (charactersMax: number) => new RegExp(`^[\\x21-\\x7e]{1,${charactersMax}}$`, "u")
const headerPatterns = { "idempotency-key": visible(200), "x-min-position": visible(64) }

/** A header of ours, when it was sent; refused when it cannot be one. */
const headerOf = (request: Request, name: keyof typeof headerPatterns): Effect.Effect<string | undefined, RequestInvalid> => {
  const value = request.headers[name]
  if (value === undefined || headerPatterns[name].test(value)) return Effect.succeed(value)
  const error = { in: "header" as const, pointer: `/${name}`, detail: "Expected visible ASCII characters, and not too many" }
  return Effect.fail(new RequestInvalid({ errors: [error] }))
}

/** Command id and hash (R1): the caller's own `Idempotency-Key`, never stored as it came, and what was asked for with it. */
const commandOf = Effect.fnUntraced(function* (request: Request, keyId: string) {
  const key = yield* headerOf(request, "idempotency-key")
  if (key === undefined || !["POST", "PUT", "PATCH"].includes(request.method)) return {}
  const body = yield* Effect.orDie(request.text)
  return { commandId: digest(`${keyId}\n${key}`), commandHash: digest(`${request.method} ${request.url}\n${body}`) }
})

const originOf = Effect.fnUntraced(function* (request: Request, keyId: string, trustedProxies: number) {
  const address = addressOf(request, trustedProxies)
  const actor: Actor = { kind: "key", id: keyId, ...(address === undefined ? {} : { address }) }
  const trace = request.headers["traceparent"]
  const origin: Origin = {
    actor,
    ...(trace !== undefined && traceparent.test(trace) ? { trace } : {}),
    ...(yield* commandOf(request, keyId))
  }
  return origin
})

const firstHeader = (request: Request, ...names: ReadonlyArray<string>): string | undefined =>
  names.map((name) => request.headers[name]).find((value) => value !== undefined)

const bearer = /^Bearer +(\S+)$/iu

const credentialOf = (request: Request): Redacted.Redacted<string> =>
  Redacted.make(firstHeader(request, "x-api-key", "x-fastn-api-key") ?? bearer.exec(request.headers["authorization"] ?? "")?.[1] ?? "")

const authenticated = Layer.effect(
  Authenticated,
  Effect.gen(function* () {
    const keys = yield* ApiKeys
    const { trustedProxies } = yield* Process
    const identify = Effect.gen(function* () {
      const request = yield* HttpServerRequest.HttpServerRequest
      const credential = credentialOf(request)
      const principal = yield* keys.authenticate(credential).pipe(
        Effect.catchTags({
          ApiKeyRefused: () => Effect.fail(new KeyNotAccepted()),
          AggregateRetired: () => Effect.fail(new KeyNotAccepted())
        })
      )
      const origin = yield* originOf(request, principal.keyId, trustedProxies)
      const after = ((yield* headerOf(request, "x-min-position")) as Position | undefined) ?? null
      return { principal, space: spaceScope(principal.space), origin, after, stillValid: Effect.isSuccess(keys.authenticate(credential)) }
    })
    return Authenticated.of((handler) => Effect.flatMap(identify, (caller) => Effect.provideService(handler, Caller, caller)))
  })
)

/** A header is bytes: a tenant's id may come as UTF-8 or percent-encoded. */
const tenantSpellings = (header: string): ReadonlyArray<string> => {
  const utf8 = Buffer.from(header, "latin1").toString("utf8")
  const decoded = Option.getOrElse(Option.liftThrowable(decodeURIComponent)(header), () => header)
  return [header, utf8, decoded].map((spelling) => spelling.normalize("NFC"))
}

const isRead = (method: string): boolean => method === "GET" || method === "HEAD"

const check = (endpoint: HttpApiEndpoint.Top) =>
  Effect.gen(function* () {
    const { principal } = yield* Caller
    const request = yield* HttpServerRequest.HttpServerRequest
    const permission = Context.get(endpoint.annotations as Context.Context<Needs>, Needs)
    const { tid } = (yield* RouteContext).params
    const space = firstHeader(request, "x-space-id", "x-fastn-space-id")
    if (space !== undefined && space !== principal.space) return yield* new SpaceNotOfKey()
    const tenant = firstHeader(request, "x-tenant-id", "x-fastn-space-tenantid")
    if (tenant !== undefined && tid !== undefined && !tenantSpellings(tenant).includes(tid.normalize("NFC")))
      return yield* new TenantNotOfPath()
    if (!permits(principal.role, permission)) return yield* new AccessDenied({ permission, role: principal.role })
    if (principal.tenant !== undefined && tid === undefined && !shared.has(permission)) return yield* new KeyOfOneTenant()
  })

const permitted = Layer.effect(
  Permitted,
  Effect.gen(function* () {
    const feed = yield* Feed
    /** The head of the log is no older than what this request wrote: who reads from there on sees it. */
    const positioned = (response: HttpServerResponse.HttpServerResponse) =>
      response.status >= 400
        ? Effect.succeed(response)
        : feed.head.pipe(
            Effect.map((head) => (head === null ? response : HttpServerResponse.setHeader(response, "x-position", head))),
            Effect.catch(() => Effect.succeed(response))
          )
    return Permitted.of((handler, { endpoint }) =>
      Effect.andThen(check(endpoint), isRead(endpoint.method) ? handler : Effect.flatMap(handler, positioned))
    )
  })
)

const decodeTenantId = Schema.decodeUnknownOption(ExternalTenantId)
const inTenant = Layer.effect(
  InTenant,
  Effect.gen(function* () {
    const tenants = yield* Tenants
    return InTenant.of((handler) =>
      Effect.gen(function* () {
        const { principal, space } = yield* Caller
        const { tid } = (yield* RouteContext).params
        const externalId = decodeTenantId(tid)
        if (Option.isNone(externalId)) return yield* new TenantNotFound()
        const scope = yield* tenants.find(space, externalId.value)
        if (principal.tenant !== undefined && principal.tenant !== scope.key) return yield* new TenantNotFound()
        return yield* Effect.provideService(handler, CurrentTenant, scope)
      })
    )
  })
)

export const layer = Layer.mergeAll(authenticated, permitted, inTenant, described)
