/** The demo's processes: the platform, which is to be killed and started again, and the two vendor apps. */
import { type ChildProcess, fork, spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type CommandFailed, failed } from "../cli/failure.ts"

const startTimeout = Duration.seconds(15)
const stopTimeoutMillis = 5_000

const here = (file: string): string => fileURLToPath(new URL(file, import.meta.url))
const ended = (child: ChildProcess): boolean => child.exitCode !== null || child.signalCode !== null
const whenEnded = (child: ChildProcess) =>
  Effect.callback<void>((resume) => {
    if (ended(child)) return resume(Effect.void)
    child.once("exit", () => resume(Effect.void))
  })

/** Asks it to end; one that does not is killed. By its own id, never by name. */
export const stop = (child: ChildProcess): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (ended(child)) return Effect.void
    child.kill("SIGTERM")
    return Effect.timeoutOrElse(whenEnded(child), {
      duration: stopTimeoutMillis,
      orElse: () =>
        Effect.andThen(
          Effect.sync(() => child.kill("SIGKILL")),
          whenEnded(child)
        )
    })
  })

export interface Vendor<To, From> {
  readonly pid: number
  readonly tell: (message: To) => void
  /** The first message that `pick` recognises, from now on. */
  readonly hear: <A>(pick: (message: From) => A | undefined) => Effect.Effect<A, CommandFailed>
  readonly on: (listener: (message: From) => void) => void
}

/** A vendor app in a process of its own; it ends with the scope. */
export const vendor = <To extends object, From>(
  file: "vendor-shop.ts" | "vendor-erp.ts"
): Effect.Effect<Vendor<To, From>, CommandFailed, Scope.Scope> =>
  Effect.gen(function* () {
    const child = yield* Effect.acquireRelease(
      Effect.sync(() => fork(here(file), [], { stdio: ["ignore", "ignore", "inherit", "ipc"] })),
      stop
    )
    const hear = <A>(pick: (message: From) => A | undefined) =>
      Effect.callback<A, CommandFailed>((resume) => {
        const listener = (message: unknown) => {
          const found = pick(message as From)
          if (found !== undefined) resume(Effect.succeed(found))
        }
        const gone = () => resume(Effect.fail(failed("A vendor app has ended", `${file} ended early. See its error above.`)))
        child.on("message", listener)
        child.once("exit", gone)
        return Effect.sync(() => child.off("message", listener).off("exit", gone))
      })
    yield* hear((message) => ((message as { readonly is: string }).is === "ready" ? true : undefined))
    return {
      pid: child.pid!,
      tell: (message) => child.send(message),
      hear,
      on: (listener) => child.on("message", (message) => listener(message as From))
    }
  })

export interface Platform {
  readonly pid: number
  readonly url: string
  /** Shown at the first start alone. */
  readonly firstKey: string | undefined
  /** From spawn to the first line that it printed. */
  readonly startMillis: number
  /** `kill -9`: nothing is flushed, nothing is finished. */
  readonly kill: Effect.Effect<void>
  readonly stop: Effect.Effect<void>
}

export interface PlatformOptions {
  readonly dataFolder: string
  readonly masterKeyFile: string
  /** 0 lets the system choose. */
  readonly port: number
  /** What calls out may reach: the ERP of the demo, on this machine. */
  readonly egressAllow: string
  /** The servers and the role of a process of the distributed form. */
  readonly environment?: Readonly<Record<string, string>>
}

/** The real thing: the same process that `tributary start` runs. */
export const platform = (options: PlatformOptions): Effect.Effect<Platform, CommandFailed> =>
  Effect.gen(function* () {
    const before = performance.now()
    const environment = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("TRIBUTARY_")))
    const child = spawn(process.execPath, [here("../main.ts"), "start", "--port", String(options.port), "--data", options.dataFolder], {
      stdio: ["ignore", "pipe", "inherit"],
      env: {
        ...environment,
        TRIBUTARY_HOST: "127.0.0.1",
        TRIBUTARY_MASTER_KEY_FILE: options.masterKeyFile,
        TRIBUTARY_EGRESS_ALLOW: options.egressAllow,
        TRIBUTARY_LOG_LEVEL: "Warn",
        ...options.environment
      }
    })
    const printed = yield* bannerOf(child)
    return {
      pid: child.pid!,
      ...printed,
      startMillis: Math.round(performance.now() - before),
      kill: Effect.andThen(
        Effect.sync(() => child.kill("SIGKILL")),
        whenEnded(child)
      ),
      stop: stop(child)
    }
  })

const urlPattern = /Tributary runs at (\S+)/u
const keyPattern = /^First admin key.*: (trib_\S+)$/mu

/** What the start prints for a person. Its last line is printed together with the others. */
const bannerOf = (child: ChildProcess) =>
  Effect.callback<{ readonly url: string; readonly firstKey: string | undefined }, CommandFailed>((resume) => {
    let text = ""
    child.stdout?.setEncoding("utf8").on("data", (chunk: string) => {
      text += chunk
      const url = urlPattern.exec(text)?.[1]
      if (url !== undefined && text.endsWith("\n")) resume(Effect.succeed({ url, firstKey: keyPattern.exec(text)?.[1] }))
    })
    child.once("exit", (code) =>
      resume(Effect.fail(failed("The platform did not start", `It ended with code ${code}. See its error above.`)))
    )
  }).pipe(
    Effect.timeoutOrElse({
      duration: startTimeout,
      orElse: () =>
        Effect.andThen(
          stop(child),
          Effect.fail(failed("The platform did not start", `It said nothing for ${Duration.format(startTimeout)}.`))
        )
    })
  )
