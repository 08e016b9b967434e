/** What an operator can set from outside: `TRIBUTARY_*` variables, overridden by the flags of `start`. */
import { resolve } from "node:path"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"

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

/** An engine of the distributed form was named, but this release runs the embedded form alone. */
export class EngineNotSupported extends Schema.TaggedError<EngineNotSupported>()("EngineNotSupported", {
  variable: Schema.String
}) {
  override get message() {
    return `${this.variable} names an engine that this release cannot use. Nothing was started. Unset it to run embedded.`
  }
}

const distributed = ["TRIBUTARY_JOURNAL", "TRIBUTARY_BUS", "TRIBUTARY_READ_MODELS", "TRIBUTARY_VAULT"]

const environment = Config.all({
  host: Config.String("HOST").pipe(Config.withDefault("127.0.0.1")),
  port: Config.Int("PORT").pipe(Config.withDefault(8080)),
  dataFolder: Config.String("DATA").pipe(Config.withDefault("tributary-data")),
  masterKey: Config.Redacted("MASTER_KEY").pipe(Config.option),
  masterKeyFile: Config.String("MASTER_KEY_FILE").pipe(Config.option),
  publicUrl: Config.String("PUBLIC_URL").pipe(Config.option),
  trustedProxies: Config.Int("TRUSTED_PROXIES").pipe(Config.withDefault(0)),
  egressAllow: Config.String("EGRESS_ALLOW").pipe(Config.withDefault("")),
  logLevel: Config.Literals(["Trace", "Debug", "Info", "Warn", "Error", "Fatal"], "LOG_LEVEL").pipe(Config.withDefault("Info")),
  stopSeconds: Config.Int("STOP_SECONDS").pipe(Config.withDefault(20))
}).pipe(Config.nested("TRIBUTARY"))

/** What can be said on the command line. */
export type StartFlags = Partial<Pick<ProcessSettings, "host" | "port" | "dataFolder">>

/** Reads the environment; `flags` that were given win. Fails on values that cannot be meant. */
export const readSettings = (flags: StartFlags = {}) =>
  Effect.gen(function* () {
    const variable = distributed.find((name) => (process.env[name] ?? "") !== "")
    if (variable !== undefined) return yield* new EngineNotSupported({ variable })
    const found = yield* environment.parse(ConfigProvider.fromEnv())
    const settings: ProcessSettings = { ...found, ...flags }
    return {
      ...settings,
      dataFolder: resolve(settings.dataFolder),
      publicUrl: Option.map(settings.publicUrl, (url) => url.replace(/\/+$/u, ""))
    }
  })

export const layer = (settings: ProcessSettings) => Layer.succeed(Process, settings)
