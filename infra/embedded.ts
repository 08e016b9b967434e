/** The embedded form: one process, one data folder, no other server. Which layer stands on which. */
import { readdirSync, readFileSync } from "node:fs"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as expressions from "#adapters/jsonata/expressions.ts"
import * as bus from "#adapters/memory/bus.ts"
import { parseAllowList } from "#adapters/net/egress.ts"
import * as entropy from "#adapters/node/entropy.ts"
import * as masterKey from "#adapters/node/master-key.ts"
import { DataFolder } from "#adapters/sqlite/data-folder.ts"
import * as journal from "#adapters/sqlite/journal.ts"
import * as views from "#adapters/sqlite/views-client.ts"
import * as outbound from "#adapters/undici/outbound.ts"
import { eventVersions } from "#domain/registry.ts"
import { Accounts } from "#services/accounts.ts"
import { ApiKeys } from "#services/api-keys.ts"
import { Connections } from "#services/connections.ts"
import { Connectors } from "#services/connectors.ts"
import { Deliveries } from "#services/deliveries.ts"
import { Enablements } from "#services/enablements.ts"
import { Endpoints } from "#services/endpoints.ts"
import { Flows } from "#services/flows.ts"
import { Ingest } from "#services/ingest.ts"
import { ParkedRuns } from "#services/parked-runs.ts"
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

const manifests = new URL("../connectors/", import.meta.url)
const builtIn = (): ReadonlyArray<string> => readdirSync(manifests).map((file) => readFileSync(new URL(file, manifests), "utf8"))

/** Journal, vault and master key over the data folder, and what decides on them: enough for `keys reset`. */
export const foundation = (settings: ProcessSettings) => {
  const key = masterKey.layer({
    dataFolder: settings.dataFolder,
    ...(Option.isSome(settings.masterKey) ? { key: settings.masterKey.value } : {}),
    ...(Option.isSome(settings.masterKeyFile) ? { file: settings.masterKeyFile.value } : {})
  })
  const stores = Layer.unwrap(
    Effect.map(DataFolder, ({ journalFile, vaultFile }) => journal.layer({ journalFile, vaultFile, eventTypes: eventVersions }))
  )
  return Layer.mergeAll(Spaces.layer, ApiKeys.layer).pipe(
    Layer.provideMerge(Transact.layer),
    Layer.provideMerge(Layer.mergeAll(stores, entropy.layer)),
    Layer.provideMerge(key),
    Layer.provideMerge(Layer.mergeAll(Layer.succeed(Process, settings), DataFolder.layer(settings.dataFolder)))
  )
}

const outside = (settings: ProcessSettings) =>
  Layer.unwrap(Effect.map(Effect.fromResult(parseAllowList(settings.egressAllow)), (allow) => outbound.layer({ allow })))

/** Everything except HTTP. */
export const layer = (settings: ProcessSettings) => {
  const watched = Layer.unwrap(
    Effect.map(DataFolder, ({ journalFile, viewsFile }) =>
      views.layer({ journalFile, viewsFile, entry: new URL("./views-thread.mjs", import.meta.url) })
    )
  )
  const policy = Layer.mergeAll(Quotas.layer, Tenants.layer, Accounts.layer, Connectors.layerWith(builtIn())).pipe(
    Layer.provideMerge(Settings.layer),
    Layer.provideMerge(Layer.mergeAll(watched, expressions.layer, bus.layer, outside(settings))),
    Layer.provideMerge(foundation(settings))
  )
  const definitions = Enablements.layer.pipe(
    Layer.provideMerge(Layer.mergeAll(Flows.layer, Connections.layer, Endpoints.layer)),
    Layer.provideMerge(policy)
  )
  const running = Worker.layer.pipe(
    Layer.provideMerge(Router.layer),
    Layer.provideMerge(Runner.layer),
    Layer.provideMerge(Layer.mergeAll(StepCalls.layer, Suspects.layer, ParkedRuns.layer)),
    Layer.provideMerge(definitions)
  )
  return Layer.mergeAll(Deliveries.layer, Retention.layer).pipe(
    Layer.provideMerge(Layer.mergeAll(Ingest.layer, Runs.layer)),
    Layer.provideMerge(running)
  )
}
