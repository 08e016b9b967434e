/** What relays read and where they publish: embedded stores with a tenant in them, and processes with a relay each over those. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Redacted from "effect/Redacted"
import * as References from "effect/References"
import * as EntropyLive from "#adapters/node/entropy.ts"
import * as JournalLive from "#adapters/sqlite/journal.ts"
import { contentRef } from "#domain/content.ts"
import { delivery } from "#domain/delivery.ts"
import type { ConnectorId, DeliveryId, FlowId, RunId, SpaceKey, TenantKey } from "#domain/ids.ts"
import { type Origin, systemActor } from "#domain/recorded.ts"
import { eventVersions } from "#domain/registry.ts"
import { run } from "#domain/run.ts"
import { tenantScope } from "#domain/scope.ts"
import { tenant } from "#domain/tenant.ts"
import { encodeDeliveryContent } from "#services/delivery-content.ts"
import type { Entropy } from "#services/ports/entropy.ts"
import type { Feed } from "#services/ports/feed.ts"
import type { Journal } from "#services/ports/journal.ts"
import { MasterKey } from "#services/ports/master-key.ts"
import type { Payloads } from "#services/ports/payloads.ts"
import { type Message, Publisher, type PublisherUnavailable } from "#services/ports/publisher.ts"
import { Vault } from "#services/ports/vault.ts"
import { Relay, type RelayOptions } from "#services/relay.ts"
import { Transact } from "#services/transact.ts"

const masterKey = Layer.succeed(MasterKey, MasterKey.of({ id: "test", key: Redacted.make(new Uint8Array(32).fill(7)), where: "the test" }))
const origin: Origin = { actor: systemActor("test"), correlationId: "cause-1" }
let worlds = 0
/** Of this process and world, so that tests on one server do not share subjects. */
const nextSpace = () => Array.from(`${process.pid}${String(worlds++).padStart(3, "0")}`, (digit) => "abcdefghij"[Number(digit)]).join("")

type Stores = Journal | Feed | Payloads | Vault | Entropy

export const openWorld = async () => {
  const folder = mkdtempSync(join(tmpdir(), "tributary-relay-"))
  const stores = JournalLive.layer({
    journalFile: join(folder, "journal.db"),
    vaultFile: join(folder, "vault.db"),
    eventTypes: eventVersions
  }).pipe(Layer.provide(masterKey), Layer.merge(EntropyLive.layer))
  const runtime = ManagedRuntime.make(Layer.provideMerge(Transact.layer, stores))
  const services = await runtime.context()
  const space = `s${nextSpace().padStart(19, "a")}` as SpaceKey
  const scope = tenantScope(space, `t${"b".repeat(19)}` as TenantKey)
  let count = 0

  const addTenant = Effect.gen(function* () {
    const vault = yield* Vault
    const { transact } = yield* Transact
    const externalId = yield* vault.sealField(scope, "externalId", "acme@example.com")
    const displayName = yield* vault.sealField(scope, "displayName", "Acme")
    const fields = { tenantKey: scope.key, externalId, displayName, plan: "free", region: "eu", tier: "shared" } as const
    yield* transact(tenant, scope, "self", { _tag: "CreateTenant", ...fields } as never, { origin })
  })
  await runtime.runPromise(addTenant)

  /** A delivery as ingest records it; resolves with its event's id. */
  const receive = Effect.fnUntraced(function* (body: unknown, event = "orders/create") {
    const { transact } = yield* Transact
    const deliveryId = String(count++)
      .replaceAll(/\d/gu, (digit) => "abcdefghij"[Number(digit)]!)
      .padStart(26, "a") as DeliveryId
    const content = contentRef(`delivery-${deliveryId}`, "event")
    const head = { event, deliveryId, receivedAt: "2026-11-20T00:00:00.000Z", headers: {} }
    const bytes = encodeDeliveryContent(head, Buffer.from(typeof body === "string" ? body : JSON.stringify(body)))
    const fields = { deliveryId, connectorId: "shop" as ConnectorId, event, content, bytes: bytes.length, receivedAt: 0 }
    const command = { _tag: "ReceiveDelivery", ...fields, verified: "signature", dedupe: "vendor-id", windowMillis: 1 } as const
    yield* transact(delivery, scope, deliveryId, command, { origin, contents: [{ slot: "event", bytes }] })
    return deliveryId
  })
  /** A run that fails. */
  const fail = Effect.fnUntraced(function* (deliveryId: DeliveryId) {
    const { transact } = yield* Transact
    const runId = deliveryId as string as RunId
    const start = {
      _tag: "StartRun",
      runId,
      flowId: "sync" as FlowId,
      version: 3,
      purpose: "route",
      deliveryId,
      trigger: contentRef(`delivery-${deliveryId}`, "event"),
      steps: []
    } as const
    const error = {
      kind: "permanent",
      code: "http-400",
      message: "The vendor refused it.",
      detail: contentRef(`run-${runId}`, "detail")
    } as const
    yield* transact(run, scope, runId, [start, { _tag: "FailRun", error }], { origin })
  })

  return {
    scope,
    run: <A, E>(effect: Effect.Effect<A, E, Stores | Transact>) => runtime.runPromise(effect),
    receive: (body: unknown, event?: string) => runtime.runPromise(receive(body, event)),
    receiveMany: (howMany: number) =>
      runtime.runPromise(Effect.forEach(Array.from({ length: howMany }), (_, n) => receive({ n }), { concurrency: 64 })),
    fail: (deliveryId: DeliveryId) => runtime.runPromise(fail(deliveryId)),
    /** A process with a relay: its own memory, the same stores. */
    relay: (options: RelayOptions, publisher: Layer.Layer<Publisher, unknown>) =>
      ManagedRuntime.make(
        Relay.layer(options).pipe(
          Layer.provideMerge(Layer.fresh(Transact.layer)),
          Layer.provideMerge(publisher),
          Layer.provideMerge(Layer.succeed(References.MinimumLogLevel, "None")),
          Layer.provide(Layer.succeedContext(services))
        )
      ),
    remove: async () => {
      await runtime.dispose()
      rmSync(folder, { recursive: true })
    }
  }
}
export type World = Awaited<ReturnType<typeof openWorld>>

/** A publisher that keeps what it is given, and may be wiped or unavailable. */
export const memoryPublisher = (bodyBytesMax = 1_000_000) => {
  const kept: Array<Message> = []
  const waiting = new Set<() => void>()
  let wipes = 0
  const fate = {
    target: Effect.void as Effect.Effect<void, PublisherUnavailable>,
    publish: Effect.void as Effect.Effect<void, PublisherUnavailable>
  }
  return {
    kept,
    fate,
    wipe: () => {
      wipes++
      kept.length = 0
    },
    /** Resolves once this holds. */
    until: (holds: (kept: ReadonlyArray<Message>) => boolean) =>
      new Promise<void>((resolve) => {
        const look = () => {
          if (!holds(kept)) return
          waiting.delete(look)
          resolve()
        }
        waiting.add(look)
        look()
      }),
    layer: Layer.succeed(
      Publisher,
      Publisher.of({
        bodyBytesMax,
        windowMillis: 86_400_000,
        target: Effect.andThen(
          Effect.suspend(() => fate.target),
          Effect.sync(() => `memory-${wipes}`)
        ),
        publish: (messages) =>
          Effect.andThen(
            Effect.suspend(() => fate.publish),
            Effect.sync(() => {
              kept.push(...messages)
              for (const look of waiting) look()
            })
          )
      })
    )
  }
}
