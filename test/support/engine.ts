/** The whole engine in this process, on real stores in a temporary folder: everything except HTTP and views. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Expressions from "#adapters/jsonata/expressions.ts"
import * as Bus from "#adapters/memory/bus.ts"
import * as OwnershipLive from "#adapters/memory/ownership.ts"
import { parseAllowList } from "#adapters/net/egress.ts"
import * as EntropyLive from "#adapters/node/entropy.ts"
import * as JournalLive from "#adapters/sqlite/journal.ts"
import * as OutboundLive from "#adapters/undici/outbound.ts"
import { allEvents } from "#domain/registry.ts"
import { Accounts } from "#services/accounts.ts"
import { Arrivals } from "#services/arrivals.ts"
import { Connections } from "#services/connections.ts"
import { Connectors } from "#services/connectors.ts"
import { Deliveries } from "#services/deliveries.ts"
import { Enablements } from "#services/enablements.ts"
import { Endpoints } from "#services/endpoints.ts"
import { Flows } from "#services/flows.ts"
import { Ingest } from "#services/ingest.ts"
import { ParkedRuns } from "#services/parked-runs.ts"
import type { Bus as WakeUps } from "#services/ports/bus.ts"
import type { Entropy } from "#services/ports/entropy.ts"
import type { Expressions as ExpressionsPort } from "#services/ports/expressions.ts"
import { Journal } from "#services/ports/journal.ts"
import { MasterKey } from "#services/ports/master-key.ts"
import type { OpenWork } from "#services/ports/open-work.ts"
import { Outbound } from "#services/ports/outbound.ts"
import type { Ownership } from "#services/ports/ownership.ts"
import type { Payloads } from "#services/ports/payloads.ts"
import type { Vault } from "#services/ports/vault.ts"
import { Quotas } from "#services/quotas.ts"
import { Router } from "#services/router.ts"
import { Runner } from "#services/runner.ts"
import { Runs } from "#services/runs.ts"
import { Settings } from "#services/settings.ts"
import { Spaces } from "#services/spaces.ts"
import { StepCalls } from "#services/step-calls.ts"
import { Suspects } from "#services/suspects.ts"
import { Tenants } from "#services/tenants.ts"
import { Transact } from "#services/transact.ts"
import { Worker, type WorkerBounds } from "#services/worker.ts"

const manifests = new URL("../../connectors/", import.meta.url)
const builtIn = readdirSync(manifests).map((file) => readFileSync(new URL(file, manifests), "utf8"))
const eventTypes = Object.fromEntries([...allEvents].map(([type, family]) => [type, family.versionOf(type)]))
const masterKey = Layer.succeed(MasterKey, MasterKey.of({ id: "test", key: Redacted.make(new Uint8Array(32).fill(7)), where: "the test" }))

/** Where a test makes the engine die: called before and after each append and each call out; what it holds back never comes back. */
export type Fate = <A, E>(what: "append" | "call", effect: Effect.Effect<A, E>) => Effect.Effect<A, E>
const lives: Fate = (_what, effect) => effect

/** What the engine needs of the world. */
export type EnginePorts = Journal | OpenWork | Payloads | Vault | WakeUps | Outbound | Entropy | ExpressionsPort | Ownership

const fatedJournal = (fate: Fate) =>
  Layer.effect(
    Journal,
    Effect.map(Journal, (journal) =>
      Journal.of({
        ...journal,
        append: (append) => fate("append", journal.append(append)),
        appendTogether: (appends) => fate("append", journal.appendTogether!(appends))
      })
    )
  )
const fatedOutbound = (fate: Fate) =>
  Layer.effect(
    Outbound,
    Effect.map(Outbound, (outbound) => Outbound.of({ ...outbound, call: (request) => fate("call", outbound.call(request)) }))
  )

/** The services of the engine, over whatever keeps the ports. */
export const servicesOver = <Ports, E>(
  ports: Layer.Layer<Ports | EnginePorts, E>,
  connectors: ReadonlyArray<string> = builtIn,
  bounds: WorkerBounds = {}
) => {
  const foundation = Transact.layer.pipe(Layer.provideMerge(ports))
  const policy = Layer.mergeAll(Quotas.layer, Tenants.layer, Spaces.layer, Accounts.layer, Connectors.layerWith(connectors)).pipe(
    Layer.provideMerge(Settings.layer),
    Layer.provideMerge(foundation)
  )
  const definitions = Enablements.layer.pipe(
    Layer.provideMerge(Layer.mergeAll(Flows.layer, Connections.layer, Endpoints.layer)),
    Layer.provideMerge(policy)
  )
  const running = Worker.layerWith(bounds).pipe(
    Layer.provideMerge(Router.layer),
    Layer.provideMerge(Arrivals.layer),
    Layer.provideMerge(Runner.layer),
    Layer.provideMerge(Layer.mergeAll(StepCalls.layer, Suspects.layer, ParkedRuns.layer)),
    Layer.provideMerge(definitions)
  )
  return Deliveries.layer.pipe(Layer.provideMerge(Layer.mergeAll(Ingest.layer, Runs.layer)), Layer.provideMerge(running))
}

/** The engine's layers over a data folder. */
export const engineLayer = (folder: string, fate: Fate = lives, bounds: WorkerBounds = {}) => {
  const stores = JournalLive.layer({ journalFile: join(folder, "journal.db"), vaultFile: join(folder, "vault.db"), eventTypes }).pipe(
    Layer.provide(masterKey)
  )
  const outside = Layer.mergeAll(
    EntropyLive.layer,
    Expressions.layer,
    Bus.layer,
    OwnershipLive.layer,
    OutboundLive.layer({ allow: Result.getOrThrow(parseAllowList("127.0.0.1")) })
  )
  const ports = Layer.mergeAll(fatedJournal(fate), fatedOutbound(fate)).pipe(Layer.provideMerge(Layer.mergeAll(stores, outside)))
  return servicesOver(ports, builtIn, bounds)
}

export type Engine = Layer.Success<ReturnType<typeof engineLayer>>

/** A data folder that goes with the test, and engines started on it one after the other. */
export const withFolder = async (
  body: (
    start: (fate?: Fate, time?: Layer.Layer<never>, bounds?: WorkerBounds) => ManagedRuntime.ManagedRuntime<Engine, unknown>
  ) => Promise<void>
) => {
  const folder = mkdtempSync(join(tmpdir(), "tributary-test-"))
  const started: Array<ManagedRuntime.ManagedRuntime<Engine, unknown>> = []
  try {
    await body((fate, time = Layer.empty, bounds) => {
      const runtime = ManagedRuntime.make(Layer.provideMerge(engineLayer(folder, fate, bounds), time))
      started.push(runtime)
      return runtime
    })
  } finally {
    for (const runtime of started) await runtime.dispose()
    rmSync(folder, { recursive: true })
  }
}

/** Waits until nothing is ready or in hand. */
export const quiet = Effect.flatMap(Worker, ({ idle }) => idle)
