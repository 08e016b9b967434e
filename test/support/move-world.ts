/** Both forms of one installation in this process, and the servers that it can be moved to. */
import { randomBytes } from "node:crypto"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { afterAll, afterEach, beforeAll } from "vitest"
import type { ProcessSettings, Servers } from "#infra/config.ts"
import * as distributed from "#infra/distributed.ts"
import * as embedded from "#infra/embedded.ts"
import { type MoveOptions, move } from "#infra/move/move.ts"
import { type StandIn, startStandIn } from "../stand-ins/mongodb/start.ts"
import { EventStoreStandIn } from "./event-store.ts"
import { type NatsServer, startNatsServer } from "./nats-server.ts"

/** What both forms have. */
export type Everything = Extract<Layer.Success<ReturnType<typeof embedded.layer>>, Layer.Success<ReturnType<typeof distributed.layer>>>

export interface MoveWorld {
  readonly folder: string
  readonly masterKey: string
  readonly eventStore: () => EventStoreStandIn
  readonly servers: () => Servers
  /** As the command line is told. */
  readonly environment: () => Record<string, string>
  readonly settings: (servers: Servers | null) => ProcessSettings
  readonly inFolder: <A, E>(effect: Effect.Effect<A, E, Everything>) => Promise<A>
  readonly onServers: <A, E>(effect: Effect.Effect<A, E, Everything>) => Promise<A>
  readonly move: (options?: Partial<MoveOptions>) => ReturnType<typeof move>
}

/** Servers for all tests of a file; a folder and empty stores for each test. */
export const moveWorld = (): (() => MoveWorld) => {
  let eventStore: EventStoreStandIn
  let mongodb: StandIn
  let nats: NatsServer
  const folders: Array<string> = []
  beforeAll(async () => {
    ;[eventStore, mongodb, nats] = await Promise.all([EventStoreStandIn.start(), startStandIn({ replicaSet: "rs0" }), startNatsServer()])
  })
  afterEach(async () => {
    await eventStore.tell("wipe")
    for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
  })
  afterAll(() => Promise.all([eventStore.stop(), mongodb.stop(), nats.remove()]))

  return () => {
    const folder = mkdtempSync(join(tmpdir(), "tributary-move-"))
    folders.push(folder)
    const name = randomBytes(6).toString("hex")
    const database = (what: string) => `${mongodb.url}/${what}_${name}?replicaSet=rs0`
    const address = (url: string) => ({ url: Redacted.make(url), credentialsFile: Option.none() })
    const masterKey = randomBytes(32).toString("base64")
    const servers = (): Servers => ({
      journal: address(eventStore.url),
      bus: address(nats.url),
      readModels: address(database("views")),
      vault: address(database("vault")),
      mongodbCaFile: Option.none(),
      vaultReplicaSet: "required"
    })
    const environment = () => ({
      TRIBUTARY_JOURNAL: eventStore.url,
      TRIBUTARY_BUS: nats.url,
      TRIBUTARY_READ_MODELS: database("views"),
      TRIBUTARY_VAULT: database("vault"),
      TRIBUTARY_MASTER_KEY: masterKey
    })
    const settings = (given: Servers | null): ProcessSettings => ({
      host: "127.0.0.1",
      port: 0,
      dataFolder: folder,
      masterKey: Option.some(Redacted.make(masterKey)),
      masterKeyFile: Option.none(),
      servers: given,
      role: "all",
      runsInFlight: Option.none(),
      relay: Option.none(),
      publicUrl: Option.none(),
      trustedProxies: 0,
      egressAllow: "127.0.0.1",
      logLevel: "Error",
      stopSeconds: 1
    })
    return {
      folder,
      masterKey,
      eventStore: () => eventStore,
      servers,
      environment,
      settings,
      inFolder: (effect) => Effect.runPromise(Effect.provide(effect, embedded.layer(settings(null)))),
      onServers: (effect) => Effect.runPromise(Effect.provide(effect, distributed.layer(settings(servers()), servers()))),
      move: (options = {}) =>
        move({ settings: settings(servers()), servers: servers(), verify: "all", dryRun: false, tell: () => {}, ...options })
    }
  }
}
