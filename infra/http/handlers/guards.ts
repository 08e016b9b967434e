/** How the guards decide: one place for keys, permissions, tenants and positions. */
import { createHash } from "node:crypto"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { RouteContext } from "effect/http/HttpRouter"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import type * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { AccessDenied, type Permission, permits } from "#domain/access.ts"
import type { Actor, Origin } from "#domain/recorded.ts"
import { spaceScope } from "#domain/scope.ts"
import { ExternalTenantId, TenantNotFound } from "#domain/tenant.ts"
import { ApiKeys } from "#services/api-keys.ts"
import { Feed } from "#services/ports/feed.ts"
import { Journal } from "#services/ports/journal.ts"
import { readPositionToken, writePositionToken } from "#services/position-token.ts"
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
import { Revisions } from "../api/revisions.ts"
import { pointerOf, RequestInvalid } from "../problems.ts"
import { described } from "./described.ts"
import { expectingOf } from "./revisions.ts"

type Request = HttpServerRequest.HttpServerRequest

/** Of the whole space, and still for the eyes of a key that is bound to one tenant: what all tenants share. */
const shared: ReadonlySet<Permission> = new Set(["connectors:read", "flows:read"])

/** Unknown parameters that are named in the answer. */
const unknownMax = 10

const annotationsOf = ({ annotations }: HttpApiEndpoint.Top) => annotations as Context.Context<Needs | Revisions>

const traceparent = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/u
const digest = (text: string): string => createHash("sha256").update(text).digest("hex").slice(0, 32)

/** The client's address: the socket's, or what so many trusted proxies say it was. */
const addressOf = (request: Request, trustedProxies: number): string | undefined => {
  const forwarded = trustedProxies === 0 ? [] : (request.headers["x-forwarded-for"] ?? "").split(",").map((part) => part.trim())
  return forwarded.at(-trustedProxies) || Option.getOrUndefined(request.remoteAddress)
}

const visible = /^[\x21-\x7e]{1,200}$/u
const idempotencyKeyOf = (request: Request): Effect.Effect<string | undefined, RequestInvalid> => {
  const value = request.headers["idempotency-key"]
  if (value === undefined || visible.test(value)) return Effect.succeed(value)
  const error = { in: "header" as const, pointer: "/idempotency-key", detail: "Expected 1 to 200 visible ASCII characters" }
  return Effect.fail(new RequestInvalid({ errors: [error] }))
}

/** What the caller has seen of this journal. */
const afterOf = ({ headers }: Request, journalId: string) => {
  const token = headers["x-min-position"]
  return token === undefined ? Effect.succeed(null) : Effect.fromResult(readPositionToken(journalId, token))
}

/** Command id and hash (R1): the caller's own `Idempotency-Key`, never stored as it came, and what was asked for with it. */
const commandOf = Effect.fnUntraced(function* (request: Request, keyId: string) {
  const key = yield* idempotencyKeyOf(request)
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
    const { journalId } = yield* Journal
    const identify = Effect.fnUntraced(function* (endpoint: HttpApiEndpoint.Top) {
      const request = yield* HttpServerRequest.HttpServerRequest
      const credential = credentialOf(request)
      const principal = yield* keys.authenticate(credential).pipe(
        Effect.catchTags({
          ApiKeyRefused: () => Effect.fail(new KeyNotAccepted()),
          AggregateRetired: () => Effect.fail(new KeyNotAccepted())
        })
      )
      const origin = yield* originOf(request, principal.keyId, trustedProxies)
      return {
        principal,
        space: spaceScope(principal.space),
        origin,
        expecting: yield* expectingOf(request, Context.getOrUndefined(annotationsOf(endpoint), Revisions)),
        after: yield* afterOf(request, journalId),
        stillValid: Effect.isSuccess(keys.authenticate(credential))
      }
    })
    return Authenticated.of((handler, { endpoint }) =>
      Effect.flatMap(identify(endpoint), (caller) => Effect.provideService(handler, Caller, caller))
    )
  })
)

/** A header is bytes: a tenant's id may come as UTF-8 or percent-encoded. */
const tenantSpellings = (header: string): ReadonlyArray<string> => {
  const utf8 = Buffer.from(header, "latin1").toString("utf8")
  const decoded = Option.getOrElse(Option.liftThrowable(decodeURIComponent)(header), () => header)
  return [header, utf8, decoded].map((spelling) => spelling.normalize("NFC"))
}

/** Names of the query parameters that an endpoint declares. */
const queryNames = ({ query }: HttpApiEndpoint.Top): ReadonlyArray<string> => {
  const ast = query?.ast
  return ast?._tag === "Objects" ? ast.propertySignatures.map(({ name }) => String(name)) : []
}

/** A misspelt filter that is ignored answers with everything: so an unknown one is refused, with those that there are. */
const checkQuery = (endpoint: HttpApiEndpoint.Top, url: string): Effect.Effect<void, RequestInvalid> => {
  const start = url.indexOf("?")
  if (start === -1) return Effect.void
  const known = queryNames(endpoint)
  const unknown = [...new Set(new URLSearchParams(url.slice(start)).keys())].filter((name) => !known.includes(name))
  if (unknown.length === 0) return Effect.void
  const detail =
    known.length === 0 ? "This operation has no query parameters" : `There is no such parameter. There are: ${known.join(", ")}`
  const errors = unknown.slice(0, unknownMax).map((name) => ({ in: "query" as const, pointer: pointerOf([name.slice(0, 64)]), detail }))
  return Effect.fail(new RequestInvalid({ errors }))
}

const isRead = (method: string): boolean => method === "GET" || method === "HEAD"

const check = (endpoint: HttpApiEndpoint.Top) =>
  Effect.gen(function* () {
    const { principal } = yield* Caller
    const request = yield* HttpServerRequest.HttpServerRequest
    const permission = Context.get(annotationsOf(endpoint), Needs)
    const { tid } = (yield* RouteContext).params
    const space = firstHeader(request, "x-space-id", "x-fastn-space-id")
    if (space !== undefined && space !== principal.space) return yield* new SpaceNotOfKey()
    const tenant = firstHeader(request, "x-tenant-id", "x-fastn-space-tenantid")
    if (tenant !== undefined && tid !== undefined && !tenantSpellings(tenant).includes(tid.normalize("NFC")))
      return yield* new TenantNotOfPath()
    if (!permits(principal.role, permission)) return yield* new AccessDenied({ permission, role: principal.role })
    if (principal.tenant !== undefined && tid === undefined && !shared.has(permission)) return yield* new KeyOfOneTenant()
    yield* checkQuery(endpoint, request.url)
  })

const permitted = Layer.effect(
  Permitted,
  Effect.gen(function* () {
    const feed = yield* Feed
    const { journalId } = yield* Journal
    /** The head of the log is no older than what this request wrote: who reads from there on sees it. */
    const positioned = (response: HttpServerResponse.HttpServerResponse) =>
      response.status >= 400
        ? Effect.succeed(response)
        : feed.head.pipe(
            Effect.map((head) =>
              head === null ? response : HttpServerResponse.setHeader(response, "x-position", writePositionToken(journalId, head))
            ),
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
