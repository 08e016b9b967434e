/** Which form the environment names: commands on stores are for one or the other. */
import * as Effect from "effect/Effect"
import { type ProcessSettings, readSettings, type Servers } from "../config.ts"
import { type CommandFailed, failed } from "./failure.ts"

/** The settings as a start on this folder would find them. */
export const settingsFor = (title: string, dataFolder: string): Effect.Effect<ProcessSettings, CommandFailed> =>
  Effect.mapError(readSettings({ dataFolder }), (cause) => failed(title, cause.message))

/** Refused where the environment names servers: what lies in a folder here is not the installation. */
export const embeddedSettings = (title: string, dataFolder: string): Effect.Effect<ProcessSettings, CommandFailed> =>
  Effect.flatMap(settingsFor(title, dataFolder), (settings) =>
    settings.servers === null
      ? Effect.succeed(settings)
      : Effect.fail(
          failed(
            title,
            "The environment names the servers of a distributed installation, whose stores have tools of their own: see docs/operations.md. Nothing was done. For an embedded one, unset TRIBUTARY_JOURNAL, TRIBUTARY_BUS, TRIBUTARY_READ_MODELS and TRIBUTARY_VAULT."
          )
        )
  )

export interface Distributed extends ProcessSettings {
  readonly servers: Servers
}
export const isDistributed = (settings: ProcessSettings): settings is Distributed => settings.servers !== null
