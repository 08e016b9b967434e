/** Where the server is and with which key to ask it: flags, environment, or the file that a running server keeps in its data folder. */
import { existsSync, readFileSync } from "node:fs"
import { join, resolve } from "node:path"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { type CommandFailed, failed } from "./failure.ts"

/** Flags of every command that asks a server. */
export const reach = {
  url: Flag.String("url").pipe(
    Flag.withDescription("The server (TRIBUTARY_URL, else the one that runs on the data folder)"),
    Flag.optional
  ),
  key: Flag.Redacted("key").pipe(Flag.withDescription("API key (TRIBUTARY_API_KEY)"), Flag.optional),
  data: Flag.String("data").pipe(Flag.withDescription("Data folder (TRIBUTARY_DATA, else ./tributary-data)"), Flag.optional),
  json: Flag.Boolean("json").pipe(Flag.withDescription("Print JSON"), Flag.withDefault(false))
}
export interface Reach {
  readonly url: Option.Option<string>
  readonly key: Option.Option<Redacted.Redacted<string>>
  readonly data: Option.Option<string>
  readonly json: boolean
}

export interface Server {
  /** Without a trailing slash. */
  readonly url: string
  readonly key: Redacted.Redacted<string>
}

const variable = (name: string): Option.Option<string> => Option.filter(Option.fromNullishOr(process.env[name]), (value) => value !== "")

export const dataFolderOf = ({ data }: Pick<Reach, "data">): string =>
  resolve(
    Option.getOrElse(
      Option.orElse(data, () => variable("TRIBUTARY_DATA")),
      () => "tributary-data"
    )
  )

/** Kept by a running server: where it listens. */
export const serverFile = (dataFolder: string): string => join(dataFolder, "server.json")
export interface RunningServer {
  readonly url: string
  readonly pid: number
  /** Its process exists; one that was killed leaves its file behind. */
  readonly alive: boolean
}

const processExists = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch (cause) {
    return (cause as NodeJS.ErrnoException).code === "EPERM"
  }
}

/** The server that says it runs on the folder; undefined when none does, or its file cannot be understood. */
export const runningServer = (dataFolder: string): RunningServer | undefined => {
  const file = serverFile(dataFolder)
  if (!existsSync(file)) return undefined
  const found = Option.liftThrowable(() => JSON.parse(readFileSync(file, "utf8")) as Partial<RunningServer>)()
  const { url, pid } = Option.getOrElse(found, () => ({}) as Partial<RunningServer>)
  return typeof url === "string" && typeof pid === "number" ? { url, pid, alive: processExists(pid) } : undefined
}

const checkedUrl = (url: string): Effect.Effect<string, CommandFailed> => {
  const parsed = URL.parse(url)
  return parsed !== null && (parsed.protocol === "http:" || parsed.protocol === "https:")
    ? Effect.succeed(url.replace(/\/+$/u, ""))
    : Effect.fail(failed("The URL cannot be used", `${JSON.stringify(url)} is no http or https URL. Nothing was done. Correct --url.`))
}

const noServer = (dataFolder: string): CommandFailed =>
  failed(
    "No server found",
    `No server runs on ${dataFolder}. Nothing was done. Start one with: tributary start --data ${dataFolder}, or name one with --url or TRIBUTARY_URL.`
  )

const noKey = (dataFolder: string): CommandFailed =>
  failed(
    "No API key",
    `Nothing was done. Give a key with TRIBUTARY_API_KEY or --key: the first one was shown when the server started for the first time. If it is lost, stop the server and run: tributary keys reset --data ${dataFolder}`
  )

export const givenKey = ({ key }: Pick<Reach, "key">): Option.Option<Redacted.Redacted<string>> =>
  Option.orElse(key, () => Option.map(variable("TRIBUTARY_API_KEY"), (text) => Redacted.make(text)))

/** Finds both. A server that is named wins over the one that runs on the folder; a folder that is named wins over the environment. */
export const findServer = (flags: Reach): Effect.Effect<Server, CommandFailed> =>
  Effect.gen(function* () {
    const dataFolder = dataFolderOf(flags)
    const named = Option.orElse(flags.url, () => (Option.isSome(flags.data) ? Option.none() : variable("TRIBUTARY_URL")))
    const url = Option.isSome(named) ? named.value : runningServer(dataFolder)?.url
    if (url === undefined) return yield* noServer(dataFolder)
    const key = givenKey(flags)
    if (Option.isNone(key)) return yield* noKey(dataFolder)
    return { url: yield* checkedUrl(url), key: key.value }
  })
