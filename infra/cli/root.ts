/** `tributary`: the command line, one file per command beside this one. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Console from "effect/Console"
import * as CliConfig from "effect/cli/CliConfig"
import * as Command from "effect/cli/Command"
import * as GlobalFlag from "effect/cli/GlobalFlag"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Runtime from "effect/Runtime"
import { version } from "../version.ts"
import { backup } from "./backup.ts"
import { connectors } from "./connectors.ts"
import { demo } from "./demo.ts"
import { doctor } from "./doctor.ts"
import { events } from "./events.ts"
import { Told } from "./failure.ts"
import { flows } from "./flows.ts"
import { keys } from "./keys.ts"
import { move } from "./move.ts"
import { endOnClosedPipe, styled } from "./output.ts"
import { projections } from "./projections.ts"
import { restore } from "./restore.ts"
import { runs } from "./runs.ts"
import { settings } from "./settings.ts"
import { start } from "./start.ts"
import { tenants } from "./tenants.ts"
import { wipe } from "./wipe.ts"

export const root = Command.make("tributary").pipe(
  Command.withDescription("A self-hosted embedded-integration platform on a log of events per tenant."),
  Command.withSubcommands([
    start,
    demo,
    doctor,
    tenants,
    connectors,
    flows,
    events,
    runs,
    projections,
    settings,
    keys,
    backup,
    restore,
    move,
    wipe
  ])
)

/** A stop by signal is a success: supervisors expect 0 after SIGTERM. */
const teardown: Runtime.Teardown = (exit, onExit) => onExit(Exit.isSuccess(exit) || Exit.hasInterrupts(exit) ? 0 : 1)

/** `--log-level` and `--wizard` are left out: the level is TRIBUTARY_LOG_LEVEL. */
const builtIns = CliConfig.layer({ builtIns: [GlobalFlag.Help, GlobalFlag.Version, GlobalFlag.Completions] })

/** A command that could not do its work says so in a sentence, without a stack; a defect keeps its own. */
const said = (error: Error) =>
  error[Runtime.errorReported] === false
    ? Effect.fail(error)
    : Effect.andThen(Console.error(styled("red", error.message)), Effect.fail(new Told()))

export const run = (): void => {
  endOnClosedPipe()
  const main = root.pipe(Command.run({ version }), Effect.catch(said), Effect.provide([NodeServices.layer, builtIns]))
  NodeRuntime.runMain(main, { teardown })
}
