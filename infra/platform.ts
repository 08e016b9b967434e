/** The services over their stores, whichever these are: which layer stands on which. */
import { readdirSync, readFileSync } from "node:fs"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as expressions from "#adapters/jsonata/expressions.ts"
import { parseAllowList } from "#adapters/net/egress.ts"
import * as entropy from "#adapters/node/entropy.ts"
import type { MasterKeyOptions } from "#adapters/node/master-key.ts"
import * as outbound from "#adapters/undici/outbound.ts"
import { Accounts } from "#services/accounts.ts"
import { ApiKeys } from "#services/api-keys.ts"
import { Arrivals } from "#services/arrivals.ts"
import { Connections } from "#services/connections.ts"
import { Connectors } from "#services/connectors.ts"
import { Deliveries } from "#services/deliveries.ts"
import { Enablements } from "#services/enablements.ts"
import { Endpoints } from "#services/endpoints.ts"
import { Flows } from "#services/flows.ts"
import * as freshness from "#services/freshness.ts"
import { Ingest } from "#services/ingest.ts"
import { ParkedRuns } from "#services/parked-runs.ts"
import type { Bus } from "#services/ports/bus.ts"
import type { Feed } from "#services/ports/feed.ts"
import type { Journal } from "#services/ports/journal.ts"
import type { MasterKey } from "#services/ports/master-key.ts"
import type { OpenWork } from "#services/ports/open-work.ts"
import type { Ownership } from "#services/ports/ownership.ts"
import type { Payloads } from "#services/ports/payloads.ts"
import type { Vault } from "#services/ports/vault.ts"
import type { ViewServer } from "#services/ports/view-server.ts"
import { Quotas } from "#services/quotas.ts"
import { Retention } from "#services/retention.ts"
import { Router } from "#services/router.ts"
import { Runner } from "#services/runner.ts"
import { Runs } from "#services/runs.ts"
import { Settings } from "#services/settings.ts"
import { Spaces } from "#services/spaces.ts"
import { StepCalls } from "#services/step-calls.ts"
import { Suspects } from "#services/suspects.ts"
import { Tenants } from "#services/tenants.ts"
import { Transact } from "#services/transact.ts"
import { Worker } from "#services/worker.ts"
import { Process, type ProcessSettings } from "./config.ts"
import type { Installation } from "./installation.ts"

const manifests = new URL("../connectors/", import.meta.url)
const builtIn = (): ReadonlyArray<string> => readdirSync(manifests).map((file) => readFileSync(new URL(file, manifests), "utf8"))

/** The log and what belongs to it. */
export type LogPorts = Journal | Feed | OpenWork | Payloads | Vault | MasterKey | Installation
/** Views, wake-ups and who works on what. */
export type SharingPorts = ViewServer | Bus | Ownership

/** The master key as the environment gives it. */
export const masterKeyOptions = (settings: ProcessSettings): MasterKeyOptions => ({
  dataFolder: settings.dataFolder,
  ...(Option.isSome(settings.masterKey) ? { key: settings.masterKey.value } : {}),
  ...(Option.isSome(settings.masterKeyFile) ? { file: settings.masterKeyFile.value } : {})
})

/** Where other processes write to the log too, what is remembered of it has to be kept true. */
const memory = (settings: ProcessSettings) =>
  settings.servers === null ? Transact.layer : freshness.layer.pipe(Layer.provideMerge(Transact.layer))

/** What decides on the log: enough for `keys reset`. */
export const foundationOver = <Ports, E>(log: Layer.Layer<Ports | LogPorts, E>, settings: ProcessSettings) =>
  Layer.mergeAll(Spaces.layer, ApiKeys.layer).pipe(
    Layer.provideMerge(memory(settings)),
    Layer.provideMerge(Layer.mergeAll(log, entropy.layer, Layer.succeed(Process, settings)))
  )

const outside = (settings: ProcessSettings) =>
  Layer.unwrap(Effect.map(Effect.fromResult(parseAllowList(settings.egressAllow)), (allow) => outbound.layer({ allow })))

/** Everything except HTTP. */
export const servicesOver = <Ports, E>(ports: Layer.Layer<Ports | LogPorts | SharingPorts, E>, settings: ProcessSettings) => {
  const policy = Layer.mergeAll(Quotas.layer, Tenants.layer, Accounts.layer, Connectors.layerWith(builtIn())).pipe(
    Layer.provideMerge(Settings.layer),
    Layer.provideMerge(Layer.mergeAll(expressions.layer, outside(settings))),
    Layer.provideMerge(foundationOver(ports, settings))
  )
  const definitions = Enablements.layer.pipe(
    Layer.provideMerge(Layer.mergeAll(Flows.layer, Connections.layer, Endpoints.layer)),
    Layer.provideMerge(policy)
  )
  const running = Worker.layerWith(Option.isSome(settings.runsInFlight) ? { inFlight: settings.runsInFlight.value } : {}).pipe(
    Layer.provideMerge(Router.layer),
    Layer.provideMerge(Arrivals.layer),
    Layer.provideMerge(Runner.layer),
    Layer.provideMerge(Layer.mergeAll(StepCalls.layer, Suspects.layer, ParkedRuns.layer)),
    Layer.provideMerge(definitions)
  )
  return Layer.mergeAll(Deliveries.layer, Retention.layer).pipe(
    Layer.provideMerge(Layer.mergeAll(Ingest.layer, Runs.layer)),
    Layer.provideMerge(running)
  )
}
