/** What an operator can set from outside: `TRIBUTARY_*` variables, overridden by the flags of `start`. */
import { resolve } from "node:path"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"

/** `api` answers and takes in, `worker` routes and runs, `all` does both. */
export type Role = "all" | "api" | "worker"

/** A server by its URL, and the file with its credentials where the URL holds none. */
export interface ServerAddress {
  readonly url: Redacted.Redacted<string>
  readonly credentialsFile: Option.Option<string>
}

/** The servers of the distributed form. */
export interface Servers {
  /** EventStoreDB or KurrentDB. */
  readonly journal: ServerAddress
  /** NATS with JetStream. */
  readonly bus: ServerAddress
  /** MongoDB: views, which can be deleted. */
  readonly readModels: ServerAddress
  /** MongoDB: secrets, keys and large contents. */
  readonly vault: ServerAddress
  /** PEM file of the authorities that signed MongoDB's certificates. */
  readonly mongodbCaFile: Option.Option<string>
  /** Whether the vault may live on a single server: then its disk is the only copy. */
  readonly vaultReplicaSet: "required" | "optional"
}

export interface ProcessSettings {
  /** Address to listen on. Loopback unless somebody says otherwise. */
  readonly host: string
  /** 0 lets the system choose; the chosen one is printed. */
  readonly port: number
  /** Folder of the journal, the vault and the views; absolute. */
  readonly dataFolder: string
  /** The master key itself, 32 bytes in base64 or hex, when it is given by the environment. */
  readonly masterKey: Option.Option<Redacted.Redacted<string>>
  /** The file that holds the master key, made at first start when no key is given; a file of its own per data folder unless set. */
  readonly masterKeyFile: Option.Option<string>
  /** Null: the embedded form, in the data folder. */
  readonly servers: Servers | null
  readonly role: Role
  /** Runs and routings in hand at the same time in this process; the worker's own bound when it is not set. */
  readonly runsInFlight: Option.Option<number>
  /** Where integration and run events are published, when they are. */
  readonly relay: Option.Option<ServerAddress>
  /** How the outside reaches us, without a trailing slash; the listening address when it is not set. */
  readonly publicUrl: Option.Option<string>
  /** Number of reverse proxies in front whose `x-forwarded-for` entries are believed; 0 believes none. */
  readonly trustedProxies: number
  /** What calls out may reach beyond the public Internet: a comma list of host, host:port and CIDR range. */
  readonly egressAllow: string
  readonly logLevel: "Trace" | "Debug" | "Info" | "Warn" | "Error" | "Fatal"
  /** Seconds that a stop may take before what is left is handed back. */
  readonly stopSeconds: number
}

/** The settings of this process, as the rest of `infra` sees them. */
export class Process extends Context.Service<Process, ProcessSettings>()("tributary/infra/Process") {}

/** How vendors and browsers reach us, without a trailing slash. */
export class PublicUrl extends Context.Service<PublicUrl, string>()("tributary/infra/PublicUrl") {}

/** Settings that do not belong together. Nothing was started. */
export class SettingsRefused extends Schema.TaggedError<SettingsRefused>()("SettingsRefused", { reason: Schema.String }) {
  override get message() {
    return `${this.reason} Nothing was started.`
  }
}

const address = (name: string) =>
  Config.all({ url: Config.Redacted(name), credentialsFile: Config.String(`${name}_CREDENTIALS_FILE`).pipe(Config.option) }).pipe(
    Config.option,
    Config.map(Option.filter(({ url }) => Redacted.value(url) !== ""))
  )

const serverNames = { journal: "TRIBUTARY_JOURNAL", bus: "TRIBUTARY_BUS", readModels: "TRIBUTARY_READ_MODELS", vault: "TRIBUTARY_VAULT" }

const environment = Config.all({
  host: Config.String("HOST").pipe(Config.withDefault("127.0.0.1")),
  port: Config.Int("PORT").pipe(Config.withDefault(8080)),
  dataFolder: Config.String("DATA").pipe(Config.withDefault("tributary-data")),
  masterKey: Config.Redacted("MASTER_KEY").pipe(Config.option),
  masterKeyFile: Config.String("MASTER_KEY_FILE").pipe(Config.option),
  journal: address("JOURNAL"),
  bus: address("BUS"),
  readModels: address("READ_MODELS"),
  vault: address("VAULT"),
  relay: address("NATS"),
  mongodbCaFile: Config.String("MONGODB_CA_FILE").pipe(Config.option),
  vaultReplicaSet: Config.Literals(["required", "optional"], "VAULT_REPLICA_SET").pipe(Config.withDefault("required" as const)),
  role: Config.Literals(["all", "api", "worker"], "ROLE").pipe(Config.withDefault("all" as const)),
  runsInFlight: Config.schema(
    Schema.NumberFromString.check(Schema.isInt(), Schema.isBetween({ minimum: 1, maximum: 65_536 })),
    "RUNS_IN_FLIGHT"
  ).pipe(Config.option),
  publicUrl: Config.String("PUBLIC_URL").pipe(Config.option),
  trustedProxies: Config.Int("TRUSTED_PROXIES").pipe(Config.withDefault(0)),
  egressAllow: Config.String("EGRESS_ALLOW").pipe(Config.withDefault("")),
  logLevel: Config.Literals(["Trace", "Debug", "Info", "Warn", "Error", "Fatal"], "LOG_LEVEL").pipe(Config.withDefault("Info")),
  stopSeconds: Config.Int("STOP_SECONDS").pipe(Config.withDefault(20))
}).pipe(Config.nested("TRIBUTARY"))

/** What can be said on the command line. */
export type StartFlags = Partial<Pick<ProcessSettings, "host" | "port" | "dataFolder">>

type Environment = Config.Success<typeof environment>

/** All four servers, or none: any other mixture would keep a part of the truth on one machine. */
const serversOf = (found: Environment): Servers | null | SettingsRefused => {
  const { journal, bus, readModels, vault, mongodbCaFile, vaultReplicaSet } = found
  const names = Object.keys(serverNames) as ReadonlyArray<keyof typeof serverNames>
  const missing = names.filter((name) => Option.isNone(found[name])).map((name) => serverNames[name])
  if (missing.length === names.length) return null
  if (Option.isNone(journal) || Option.isNone(bus) || Option.isNone(readModels) || Option.isNone(vault)) {
    const set = names.filter((name) => Option.isSome(found[name])).map((name) => serverNames[name])
    return new SettingsRefused({
      reason: `${set.join(", ")} ${set.length === 1 ? "is" : "are"} set, and ${missing.join(", ")} ${missing.length === 1 ? "is" : "are"} not. Set all four to run distributed, or none to run embedded; TRIBUTARY_NATS may be set with either.`
    })
  }
  return { journal: journal.value, bus: bus.value, readModels: readModels.value, vault: vault.value, mongodbCaFile, vaultReplicaSet }
}

const togetherWith = (servers: Servers | null, found: Environment): SettingsRefused | null => {
  if (servers === null && found.role !== "all")
    return new SettingsRefused({
      reason: `TRIBUTARY_ROLE=${found.role} needs the distributed form, which shares its stores: set ${Object.values(serverNames).join(", ")}, or unset the role.`
    })
  if (servers !== null && Option.isNone(found.masterKey) && Option.isNone(found.masterKeyFile))
    return new SettingsRefused({
      reason:
        "The distributed form makes no master key of its own, since all processes must have the same: give it with TRIBUTARY_MASTER_KEY (32 bytes in base64 or hex) or TRIBUTARY_MASTER_KEY_FILE."
    })
  return null
}

/** Reads the environment; `flags` that were given win. Fails on values that cannot be meant. */
export const readSettings = (flags: StartFlags = {}) =>
  Effect.gen(function* () {
    const found = yield* environment.parse(ConfigProvider.fromEnv())
    const servers = serversOf(found)
    if (servers instanceof SettingsRefused) return yield* servers
    const refused = togetherWith(servers, found)
    if (refused !== null) return yield* refused
    const {
      host,
      port,
      dataFolder,
      masterKey,
      masterKeyFile,
      publicUrl,
      trustedProxies,
      egressAllow,
      logLevel,
      stopSeconds,
      role,
      runsInFlight,
      relay
    } = {
      ...found,
      ...flags
    }
    return {
      host,
      port,
      dataFolder: resolve(dataFolder),
      masterKey,
      masterKeyFile,
      servers,
      role,
      runsInFlight,
      relay,
      publicUrl: Option.map(publicUrl, (url) => url.replace(/\/+$/u, "")),
      trustedProxies,
      egressAllow,
      logLevel,
      stopSeconds
    } satisfies ProcessSettings
  })

export const layer = (settings: ProcessSettings) => Layer.succeed(Process, settings)
