/** Ingest: a webhook call is verified on its raw bytes, told from repeats, durably appended, and only then answered (R7, R8, R9). */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import { contentRef } from "#domain/content.ts"
import { type DedupeWindowOver, type DeliveryNotFound, delivery } from "#domain/delivery.ts"
import { enablement, enablementId } from "#domain/enablement.ts"
import type { ConnectionId, ConnectorId, DeliveryId, EndpointId } from "#domain/ids.ts"
import { quota, quotaStreamId, quotaWindowAt } from "#domain/quota.ts"
import type { Actor, Origin } from "#domain/recorded.ts"
import { spaceOf, streamName, type TenantScope } from "#domain/scope.ts"
import { resolve, settings as settingsOf } from "#domain/settings.ts"
import { tenant } from "#domain/tenant.ts"
import { Accounts } from "./accounts.ts"
import { Arrivals } from "./arrivals.ts"
import type { CompiledWebhook } from "./compiled-connector.ts"
import { Connectors } from "./connectors.ts"
import { type DeliveryHead, encodeDeliveryContent, keptHeaders } from "./delivery-content.ts"
import { type ActiveEndpoint, Endpoints } from "./endpoints.ts"
import type { Incoming } from "./event-plan.ts"
import { deliveryIdOf, deliveryWindow } from "./identities.ts"
import type { Located } from "./locators.ts"
import { Entropy } from "./ports/entropy.ts"
import type { VaultUnavailable } from "./ports/unavailable.ts"
import { Quotas } from "./quotas.ts"
import { Router } from "./router.ts"
import { Settings } from "./settings.ts"
import { Transact, type TransactError } from "./transact.ts"
import { type Headers, type VerificationFailure, verificationAdvice } from "./verification.ts"
import { Worker } from "./worker.ts"

/** One webhook call, as the vendor made it. */
export interface WebhookCall {
  readonly method: string
  /** The full public URL. */
  readonly url: string
  /** Lower-case names. */
  readonly headers: Headers
  readonly rawBody: Uint8Array
  readonly address: string
}

/** What is answered: the vendor's own kind of yes, or a problem. */
export type WebhookAnswer =
  | {
      readonly _tag: "Accepted"
      readonly status: number
      readonly headers: Readonly<Record<string, string>>
      readonly body: string
    }
  | {
      readonly _tag: "Refused"
      readonly status: 400 | 401 | 404 | 413 | 429 | 503
      /** Stable and machine-readable, such as `signature-mismatch`. */
      readonly code: string
      readonly detail: string
      readonly retryAfterSeconds?: number
    }

/** What a place to deliver to is known by, before the body is read. */
export interface Reception {
  readonly bodyBytesMax: number
  readonly receive: (call: WebhookCall) => Effect.Effect<WebhookAnswer>
}

export interface ReceivedEvent {
  readonly deliveryId: DeliveryId
  readonly duplicate: boolean
}
/** One event to take in: from a verified call, or sent through the API. */
export interface IncomingEvent {
  readonly scope: TenantScope
  readonly connectorId: ConnectorId
  readonly connectionId?: ConnectionId | undefined
  readonly endpointId?: EndpointId | undefined
  readonly event: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: unknown
  readonly bodyBytes: Uint8Array
  /** What repeats are recognised by, and for how long. */
  readonly dedupe: { readonly by: "vendor-id" | "content"; readonly id: DeliveryId; readonly windowMillis: number }
  readonly verified: "signature" | "api-key"
  readonly actor: Actor
}

export interface IngestFigures {
  accepted: number
  duplicates: number
  refused: number
  bytes: number
}

const dayMillis = 86_400_000
/** Windows of one delivery id: a vendor that repeats an id this often has no delivery ids. */
const windowsMax = 1_000

const refused = (
  status: Extract<WebhookAnswer, { _tag: "Refused" }>["status"],
  code: string,
  detail: string,
  retryAfterSeconds?: number
): WebhookAnswer => ({ _tag: "Refused", status, code, detail, ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }) })

const unknownEndpoint = refused(404, "endpoint-not-found", "There is no endpoint at this address. Nothing was recorded. Check the URL.")
const unavailable = refused(503, "unavailable", "The event could not be recorded now. Nothing was kept. Deliver it again shortly.", 2)

export class Ingest extends Context.Service<
  Ingest,
  {
    /** The endpoint's reception, or null: there is none. */
    readonly at: (endpointId: string) => Effect.Effect<Reception | null, TransactError | VaultUnavailable>
    /** Takes in one event that was verified already. */
    readonly take: (incoming: IncomingEvent) => Effect.Effect<ReceivedEvent, TransactError>
    readonly figures: () => Readonly<IngestFigures>
  }
>()("tributary/services/Ingest") {
  static readonly layer = Layer.effect(
    Ingest,
    Effect.gen(function* () {
      const { peek, read, transact } = yield* Transact
      const accounts = yield* Accounts
      const arrivals = yield* Arrivals
      const connectors = yield* Connectors
      const endpoints = yield* Endpoints
      const entropy = yield* Entropy
      const quotas = yield* Quotas
      const router = yield* Router
      const settings = yield* Settings
      const worker = yield* Worker
      const figures: IngestFigures = { accepted: 0, duplicates: 0, refused: 0, bytes: 0 }

      const takeInWindow = Effect.fnUntraced(function* (incoming: IncomingEvent, deliveryId: DeliveryId, receivedAt: number) {
        const { scope, connectionId, endpointId } = incoming
        const head: DeliveryHead = {
          event: incoming.event,
          deliveryId,
          receivedAt: DateTime.formatIso(DateTime.makeUnsafe(receivedAt)),
          headers: incoming.headers
        }
        const command: Incoming["command"] = {
          _tag: "ReceiveDelivery",
          deliveryId,
          connectorId: incoming.connectorId,
          event: incoming.event,
          content: contentRef(`delivery-${deliveryId}`, "event"),
          bytes: incoming.bodyBytes.length,
          verified: incoming.verified,
          dedupe: incoming.dedupe.by,
          receivedAt,
          windowMillis: incoming.dedupe.windowMillis,
          ...(connectionId === undefined ? {} : { connectionId }),
          ...(endpointId === undefined ? {} : { endpointId })
        }
        const origin: Origin = { actor: incoming.actor, correlationId: deliveryId }
        const contents = [{ slot: "event", bytes: encodeDeliveryContent(head, incoming.bodyBytes) }]
        const trigger = { ...head, body: incoming.body }
        const launch = arrivals.open(scope, receivedAt) ? yield* worker.launcher(scope) : null
        const options = { origin, contents, presumeAbsent: true }
        const plan = launch === null ? null : router.plan(scope, { command, options, trigger }, launch)
        if (plan !== null && (yield* arrivals.record(scope, deliveryId, plan))) {
          figures.accepted++
          figures.bytes += incoming.bodyBytes.length
          return { deliveryId, duplicate: false } satisfies ReceivedEvent
        }
        const stream = streamName(scope, `delivery-${deliveryId}`)
        router.prime(stream, trigger)
        const done = yield* transact(delivery, scope, deliveryId, command, {
          origin,
          contents: ([first]) => (first?._tag === "DeliveryReceived" ? contents : []),
          presumeAbsent: true
        })
        const duplicate = done.events[0]?._tag !== "DeliveryReceived"
        if (duplicate) {
          router.unprime(stream)
          figures.duplicates++
        } else {
          figures.accepted++
          figures.bytes += incoming.bodyBytes.length
        }
        return { deliveryId, duplicate } satisfies ReceivedEvent
      })

      /** A first delivery that is older than the window, or was retired, makes room for the next under the same id. */
      const take = Effect.fnUntraced(function* (incoming: IncomingEvent) {
        const receivedAt = yield* Clock.currentTimeMillis
        for (let window = 0; ; window++) {
          const id = deliveryWindow(incoming.dedupe.id, window)
          const taken: Result.Result<ReceivedEvent, TransactError | DedupeWindowOver | DeliveryNotFound> = yield* Effect.result(
            takeInWindow(incoming, id, receivedAt)
          )
          if (Result.isSuccess(taken)) return taken.success
          router.unprime(streamName(incoming.scope, `delivery-${id}`))
          const error = taken.failure
          if (error._tag === "DeliveryNotFound") return yield* Effect.die(error)
          const over = error._tag === "DedupeWindowOver" || error._tag === "AggregateRetired"
          if (!over) return yield* Effect.fail(error)
          if (window >= windowsMax) return { deliveryId: id, duplicate: true } satisfies ReceivedEvent
        }
      })

      const takeElement = Effect.fnUntraced(function* (
        endpoint: ActiveEndpoint,
        scope: TenantScope,
        call: WebhookCall,
        located: Located,
        kept: Readonly<Record<string, string>>,
        body: unknown
      ) {
        const { dedupe } = located
        const windowMillis =
          dedupe.by === "content"
            ? dedupe.minutes * 60_000
            : resolve("ingest.dedupeDays", yield* settings.chain(scope, { connectorId: endpoint.connectorId })) * dayMillis
        const key = dedupe.by === "nothing" ? entropy.eventId() : dedupe.key
        const whole = located.element === undefined
        return yield* take({
          scope,
          connectorId: endpoint.connectorId,
          connectionId: endpoint.connectionId ?? undefined,
          endpointId: endpoint.endpointId,
          event: located.event,
          headers: kept,
          body: whole ? body : located.element,
          bodyBytes: whole ? bodyText(call, body) : Buffer.from(JSON.stringify(located.element)),
          dedupe: {
            by: dedupe.by === "vendor-id" ? "vendor-id" : "content",
            id: deliveryIdOf(sourceOf(endpoint, scope), `${dedupe.by}\n${key}`),
            windowMillis
          },
          verified: "signature",
          actor: { kind: "webhook", id: endpoint.endpointId, address: call.address }
        })
      })

      /** Whose event it is: the endpoint's tenant, or the one that the call names. */
      const tenantOf = (
        endpoint: ActiveEndpoint,
        located: Located
      ): Effect.Effect<TenantScope | null, TransactError | VaultUnavailable> => {
        if (endpoint.scope.level === "tenant") return Effect.succeed(endpoint.scope)
        if (located.tenant === undefined) return Effect.succeed(null)
        return accounts.find(spaceOf(endpoint.scope), endpoint.connectorId, located.tenant)
      }

      const unverified = (reason: VerificationFailure) => {
        figures.refused++
        return refused(401, reason, `${verificationAdvice[reason]} Nothing was recorded.`)
      }

      const receive = (endpoint: ActiveEndpoint, webhook: CompiledWebhook) => {
        const signatures = webhook.signatureHeaders
        const { status, body, contentType } = webhook.response
        const accepted: WebhookAnswer = {
          _tag: "Accepted",
          status,
          headers: contentType === undefined ? {} : { "content-type": contentType },
          body
        }
        return Effect.fnUntraced(function* (call: WebhookCall) {
          const now = yield* Clock.currentTimeMillis
          const verdict = webhook.verify(call.method, call.url, call.headers, call.rawBody, endpoint.secrets, now)
          const { handshake } = webhook
          if (!verdict.ok && (handshake === undefined || handshake.signed)) return unverified(verdict.reason)
          const parsed = webhook.parse(call.headers, call.rawBody)
          const echo = handshake?.answer(call.url, call.headers, Result.isSuccess(parsed) ? parsed.success : undefined)
          if (echo !== undefined) return { _tag: "Accepted", ...echo } as WebhookAnswer
          if (!verdict.ok) return unverified(verdict.reason)
          const located = Result.flatMap(parsed, (body) => webhook.locate(call.headers, body, call.rawBody))
          if (Result.isFailure(located) || Result.isFailure(parsed)) {
            figures.refused++
            const failure = Result.isFailure(parsed)
              ? parsed.failure
              : (located as { readonly failure: { reason: string; message: string } }).failure
            return refused(400, failure.reason, `${failure.message} Nothing was recorded.`)
          }
          const elements = located.success
          const scopes: Array<TenantScope> = []
          for (const element of elements) {
            const scope = yield* tenantOf(endpoint, element)
            if (scope === null) {
              figures.refused++
              return refused(404, "tenant-unknown", "The call names a tenant that has not connected this app. Nothing was recorded.")
            }
            const exhausted = yield* quotas.exhausted(scope, "events")
            if (exhausted !== null) {
              figures.refused++
              const seconds = Math.max(1, Math.ceil((exhausted.windowEndsAt - now) / 1000))
              return refused(
                429,
                "quota-exhausted",
                `The tenant's ${exhausted.limit} events of this window are used up. Nothing was recorded.`,
                seconds
              )
            }
            scopes.push(scope)
          }
          yield* worker.admission
          const kept = keptHeaders(call.headers, signatures)
          if (elements.length === 1) yield* takeElement(endpoint, scopes[0]!, call, elements[0]!, kept, parsed.success)
          else
            yield* Effect.forEach(
              elements,
              (element, index) => takeElement(endpoint, scopes[index]!, call, element, kept, parsed.success),
              {
                concurrency: "unbounded",
                discard: true
              }
            )
          return accepted
        })
      }

      /** Made once per endpoint and version of its connector. */
      const receivers = new WeakMap<ActiveEndpoint, { readonly webhook: CompiledWebhook; readonly receive: Reception["receive"] }>()
      const receiver = (endpoint: ActiveEndpoint, webhook: CompiledWebhook): Reception["receive"] => {
        const known = receivers.get(endpoint)
        if (known?.webhook === webhook) return known.receive
        const received = receive(endpoint, webhook)
        const made: Reception["receive"] = (call) => Effect.catch(received(call), () => Effect.succeed(unavailable))
        receivers.set(endpoint, { webhook, receive: made })
        return made
      }

      /** What ingest, router and runner are about to ask of a tenant that is not in memory, in one request instead of five. */
      const warm = (scope: TenantScope) =>
        Effect.flatMap(Clock.currentTimeMillis, (now) =>
          Effect.all(
            [
              read(settingsOf, scope, "self"),
              read(tenant, scope, "self"),
              read(enablement, scope, enablementId),
              read(quota, scope, quotaStreamId("events", quotaWindowAt("events", now).id))
            ],
            { concurrency: "unbounded", discard: true }
          )
        ).pipe(Effect.ignore)

      const at = Effect.fnUntraced(function* (endpointId: string) {
        const endpoint = yield* endpoints.find(endpointId)
        if (endpoint === undefined) return null
        const { scope } = endpoint
        if (scope.level === "tenant" && peek(enablement, scope, enablementId) === undefined)
          yield* Effect.forkChild(warm(scope), { startImmediately: true })
        const connector = yield* Effect.result(connectors.compiled(spaceOf(endpoint.scope), endpoint.connectorId))
        if (Result.isFailure(connector)) {
          if (connector.failure._tag === "ConnectorNotFound") return null
          return yield* Effect.fail(connector.failure)
        }
        const { webhook } = connector.success
        if (webhook === undefined) return null
        const chain = yield* settings.chain(endpoint.scope, { connectorId: endpoint.connectorId })
        return { bodyBytesMax: resolve("ingest.bodyBytesMax", chain), receive: receiver(endpoint, webhook) } satisfies Reception
      })

      return Ingest.of({ at, take, figures: () => figures })
    })
  )
}

export { unavailable, unknownEndpoint }

/** An endpoint's id names its tenant; behind a shared one, two tenants may have the same delivery id, and keep apart all the same. */
const sourceOf = ({ endpointId, scope: { level } }: ActiveEndpoint, { key }: TenantScope): string =>
  level === "tenant" ? endpointId : `${endpointId}:${key}`

/** The event's JSON text: the call's own bytes when they are JSON already, as signed. */
const bodyText = (call: WebhookCall, body: unknown): Uint8Array =>
  (call.headers["content-type"] ?? "").toLowerCase().startsWith("application/x-www-form-urlencoded") || call.rawBody.length === 0
    ? Buffer.from(JSON.stringify(body))
    : call.rawBody
