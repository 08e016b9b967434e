/** What the relay says of recorded events: CloudEvents 1.0 in JSON, of deliveries that came in and of what became of runs. */
import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import { type DeliveryEvent, delivery } from "#domain/delivery.ts"
import type { RunId, TenantKey } from "#domain/ids.ts"
import { type RunEvent, run } from "#domain/run.ts"
import { kindAndIdOf, type TenantScope } from "#domain/scope.ts"
import { tenant } from "#domain/tenant.ts"
import { BoundedCache } from "./bounded-cache.ts"
import { decodeDeliveryContent } from "./delivery-content.ts"
import { ExpiringCache, openedSecretMillis } from "./expiring-cache.ts"
import { Journal, type StoredEvent } from "./ports/journal.ts"
import { Payloads } from "./ports/payloads.ts"
import type { Message } from "./ports/publisher.ts"
import type { VaultUnavailable } from "./ports/unavailable.ts"
import { Vault } from "./ports/vault.ts"
import { Transact, type TransactError } from "./transact.ts"

/** Tenants' own ids, and what runs are of, kept in memory. */
const tenantsMax = 10_000
const runsMax = 10_000
/** Everything of a message besides the body. */
export const envelopeBytesMax = 4_096

/** What is told of a run, by the event's type. */
const runTopics: Readonly<Record<string, string>> = {
  RunStarted: "started",
  RunResumed: "resumed",
  DecisionRequested: "needs-decision",
  RunParked: "parked",
  RunReleased: "released",
  RunSucceeded: "succeeded",
  RunFailed: "failed",
  RunCancelled: "cancelled",
  RunRetried: "retried",
  RunQuarantined: "quarantined"
}
const deliveryTopic = "DeliveryReceived"

/** Whether an event is told at all. */
export const isTold = ({ type, scope }: StoredEvent): boolean =>
  scope.level === "tenant" && (type === deliveryTopic || Object.hasOwn(runTopics, type))

type Failure = TransactError | VaultUnavailable
type Attributes = Readonly<Record<string, string>>

/** `data` is JSON text; without it the message says why. */
const cloudEvent = (attributes: Attributes, data: string | undefined): string => {
  const head = JSON.stringify({ specversion: "1.0", ...attributes })
  return data === undefined ? head : `${head.slice(0, -1)},"datacontenttype":"application/json","data":${data}}`
}

/** What of a run's event is safe to tell: no content and no references to any. */
const factsOf = (event: RunEvent): Record<string, unknown> => {
  const { _tag, ...fields } = event
  if (event._tag === "RunFailed") {
    const { detail: _, ...error } = event.error
    return { ...(event.step === undefined ? {} : { step: event.step }), error }
  }
  return _tag === "RunStarted" ? {} : fields
}

/** `bodyBytesMax` is of the whole message: a delivery's body for which there is no room is left out. */
export const makeMessages = Effect.fnUntraced(function* (bodyBytesMax: number) {
  const { read } = yield* Transact
  const journal = yield* Journal
  const payloads = yield* Payloads
  const vault = yield* Vault
  const tenantIds = new ExpiringCache<TenantKey, string>(tenantsMax, openedSecretMillis)
  const started = new BoundedCache<RunId, Record<string, unknown>>(runsMax)

  /** The space's own id of the tenant; null when it was erased. */
  const tenantId = Effect.fnUntraced(function* (scope: TenantScope) {
    const now = yield* Clock.currentTimeMillis
    const known = tenantIds.get(scope.key, now)
    if (known !== undefined) return known
    const { state } = yield* read(tenant, scope, "self")
    if (state === null || state.status === "erased") return null
    const opened = yield* vault
      .openField(scope, "externalId", state.externalId)
      .pipe(Effect.catchTag("SecretGone", () => Effect.succeed(null)))
    if (opened !== null) tenantIds.set(scope.key, opened, now)
    return opened
  })

  const attributesOf = (recorded: StoredEvent, scope: TenantScope, type: string, subject: string, tenantid: string): Attributes => ({
    id: recorded.id,
    source: `/tributary/${scope.space}/${scope.key}`,
    type,
    subject,
    time: DateTime.formatIso(DateTime.makeUnsafe(recorded.at)),
    tenantid,
    ...(recorded.origin.correlationId === undefined ? {} : { correlationid: recorded.origin.correlationId }),
    ...(recorded.origin.trace === undefined ? {} : { traceparent: recorded.origin.trace })
  })

  /** The normalised body as JSON text, or why there is none. */
  const bodyOf = Effect.fnUntraced(function* (scope: TenantScope, content: typeof DeliveryEvent.cases.DeliveryReceived.Type.content) {
    const opened = yield* payloads.open(scope, [content]).pipe(Effect.catchTag("ContentGone", ({ why }) => Effect.succeed(why)))
    if (typeof opened === "string") return { omitted: opened }
    const { body } = decodeDeliveryContent(opened[0]!)
    if (body.length > bodyBytesMax - envelopeBytesMax) return { omitted: "too-large" }
    const text = Buffer.from(body).toString()
    try {
      JSON.parse(text)
      return { text }
    } catch {
      return { omitted: "not-json" }
    }
  })

  const ofDelivery = Effect.fnUntraced(function* (recorded: StoredEvent, scope: TenantScope, tenantid: string) {
    const event = delivery.events.decode(recorded.type, recorded.version, recorded.data)
    if (event._tag !== deliveryTopic) return null
    const attributes = attributesOf(recorded, scope, `tributary.event.${event.connectorId}.${event.event}`, event.deliveryId, tenantid)
    const found = yield* bodyOf(scope, event.content)
    const body = cloudEvent(found.omitted === undefined ? attributes : { ...attributes, dataomitted: found.omitted }, found.text)
    return { topic: [event.connectorId, event.event] as const, body }
  })

  /** The flow that a run is of, and its cause: the first event of its stream says it. */
  const runFacts = Effect.fnUntraced(function* (recorded: StoredEvent, scope: TenantScope, runId: RunId) {
    const known = started.get(runId)
    if (known !== undefined) return known
    const [first] = recorded.revision === 0 ? [recorded] : yield* journal.readStream(scope, recorded.stream, { limit: 1 })
    const event = first === undefined ? undefined : run.events.decode(first.type, first.version, first.data)
    if (event?._tag !== "RunStarted") return { runId }
    const { flowId, version, purpose, deliveryId, causedBy } = event
    const facts = { runId, flowId, version, purpose, deliveryId, ...(causedBy === undefined ? {} : { causedBy }) }
    started.set(runId, facts)
    return facts
  })

  const ofRun = Effect.fnUntraced(function* (recorded: StoredEvent, scope: TenantScope, tenantid: string) {
    const event = run.events.decode(recorded.type, recorded.version, recorded.data)
    const what = runTopics[event._tag]!
    const runId = kindAndIdOf(recorded.stream).id as RunId
    const data = JSON.stringify({ ...(yield* runFacts(recorded, scope, runId)), ...factsOf(event) })
    return {
      topic: ["runs", what] as const,
      body: cloudEvent(attributesOf(recorded, scope, `tributary.run.${what}`, runId, tenantid), data)
    }
  })

  /** Null: the tenant was erased, and nothing is told of it. */
  return Effect.fnUntraced(function* (recorded: StoredEvent): Effect.fn.Return<Message | null, Failure> {
    const scope = recorded.scope as TenantScope
    const id = yield* tenantId(scope)
    if (id === null) return null
    const told = yield* recorded.type === deliveryTopic ? ofDelivery(recorded, scope, id) : ofRun(recorded, scope, id)
    return told && { id: recorded.id, space: scope.space, tenant: scope.key, ...told }
  })
})
