/** Runs the platform: stores first, then the port, then the rest of the API behind it; and all of it backwards at the end. */
import "effect/schema/SchemaJITCompiler/enable"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Console from "effect/Console"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type * as Runtime from "effect/Runtime"
import * as Schedule from "effect/Schedule"
import { ApiKeys } from "#services/api-keys.ts"
import type { Ingest } from "#services/ingest.ts"
import { Retention } from "#services/retention.ts"
import { Spaces } from "#services/spaces.ts"
import { Worker } from "#services/worker.ts"
import { Told } from "./cli/failure.ts"
import { type ProcessSettings, PublicUrl, readSettings, type StartFlags } from "./config.ts"
import * as embedded from "./embedded.ts"
import { figures } from "./figures.ts"
import { hooksListener } from "./http/hooks.ts"
import { serve } from "./http/serve.ts"
import { Installation } from "./installation.ts"
import * as logging from "./logging.ts"
import { Metrics } from "./metrics.ts"
import { tidyWhenQuiet } from "./tidy.ts"

/** What the whole stop may take, whatever hangs (the supervisor's patience is 30 s as a rule). */
const stopSecondsMax = 25
/** Of the grace time, this much is for finishing requests; the rest for the runs in hand. */
const requestShare = 0.5
const retentionSweep = "1 hour"

/** The first key is written nowhere: these lines are the only place that ever shows it. */
const banner = (about: Installation["Service"]["about"], url: string, firstKey: Option.Option<string>) => {
  const width = Math.max(...about.map(([label]) => label.length)) + 1
  return [
    `Tributary runs at ${url} (reference: ${url}/docs)`,
    ...about.map(([label, what]) => `${`${label}:`.padEnd(width)} ${what}`),
    ...(Option.isSome(firstKey) ? [`First admin key, shown this once: ${firstKey.value}`] : [])
  ].join("\n")
}

/** A stop that hangs ends all the same: everything acknowledged is in the journal. */
const boundedStop = Effect.addFinalizer(() =>
  Effect.sync(() => {
    setTimeout(() => {
      process.stderr.write(
        `${logging.formatEntry({ level: "Warn", at: new Date(), message: `The stop took longer than ${stopSecondsMax} s and was cut short. Nothing is lost.` })}\n`
      )
      process.exit(0)
    }, stopSecondsMax * 1_000).unref()
  })
)

/** The drivers of the distributed form are loaded where it is asked for alone. */
const platform = (settings: ProcessSettings) => {
  const { servers } = settings
  return servers === null
    ? embedded.layer(settings)
    : Layer.unwrap(
        Effect.map(
          Effect.promise(() => import("./distributed.ts")),
          ({ layer }) => layer(settings, servers)
        )
      )
}

const program = Effect.fnUntraced(function* (settings: ProcessSettings) {
  const context = yield* Effect.context<Layer.Success<ReturnType<typeof embedded.layer>> | Metrics>()
  const { about, announce, lost } = Context.get(context, Installation)
  const space = yield* Context.get(context, Spaces).ensureDefault
  const issued = yield* Context.get(context, ApiKeys).ensureFirstAdmin(space)
  const worker = Context.get(context, Worker)
  const graceMillis = settings.stopSeconds * 1_000
  Context.get(context, Metrics).register(figures(context))

  // Before the port is open in time, and so after it is closed: requests may still hand over work.
  yield* Effect.addFinalizer(() =>
    Effect.andThen(worker.drain(graceMillis * (1 - requestShare)), Effect.logInfo("Work in hand is recorded or handed back."))
  )
  const publicUrlOf = (url: string) => Option.getOrElse(settings.publicUrl, () => url)
  const server = yield* serve({
    host: settings.host,
    port: settings.port,
    graceMillis: graceMillis * requestShare,
    hooks: (url) => hooksListener(context as Context.Context<Ingest>, { publicUrl: publicUrlOf(url) }),
    routes: (url) =>
      import("./http/routes.ts").then(({ layer }) =>
        layer.pipe(Layer.provide(Layer.succeed(PublicUrl, publicUrlOf(url))), Layer.provide(Layer.succeedContext(context)))
      )
  })
  yield* announce(server.url)
  const firstKey = Option.map(Option.fromNullOr(issued), ({ text }) => Redacted.value(text))
  yield* Console.log(banner(about, server.url, firstKey))
  yield* server.built
  yield* Effect.forkScoped(Effect.schedule(Effect.ignore(Context.get(context, Retention).sweep(space)), Schedule.spaced(retentionSweep)))
  yield* Effect.forkScoped(tidyWhenQuiet)
  // The youngest of the scope, so that it is the first to hear of the end.
  yield* boundedStop
  return yield* Effect.die(new Error(yield* lost))
})

/** Ends when it is interrupted, by SIGTERM or SIGINT, or when it cannot go on. */
export const runUntilStopped = (settings: ProcessSettings) =>
  Effect.scoped(program(settings)).pipe(
    Effect.provide(Layer.mergeAll(platform(settings), Metrics.layer)),
    Effect.provide(logging.layer(settings.logLevel))
  )

/** A stop by signal is a success: supervisors expect 0 after SIGTERM. */
export const teardown: Runtime.Teardown = (exit, onExit) => onExit(Exit.isSuccess(exit) || Exit.hasInterrupts(exit) ? 0 : 1)

/** A start that could not be made says why in a sentence; a defect keeps its stack. */
const said = (error: Error) => Effect.andThen(Console.error(error.message), Effect.fail(new Told()))

/** `tributary start`, as the process's main program. */
export const startProcess = (flags: StartFlags): void =>
  NodeRuntime.runMain(Effect.catch(Effect.flatMap(readSettings(flags), runUntilStopped), said), { teardown })
