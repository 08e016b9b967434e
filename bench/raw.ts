/** The references and their surroundings: the raw server, the load generator and the sink, each in its own process. */
import { join } from "node:path"
import { type Child, freePort, launch } from "./child.ts"

const reference = (file: string) => join(import.meta.dirname, "reference", file)

export interface RawServer {
  readonly url: string
  readonly child: Child
}

const startReference = async (mode: string, environment: Readonly<Record<string, string>>): Promise<RawServer> => {
  const port = await freePort()
  const child = launch([reference("raw-server.mjs")], { MODE: mode, PORT: String(port), ...environment })
  await child.says(new RegExp(`raw ${mode} on`, "u"))
  return { url: `http://127.0.0.1:${port}/`, child }
}

/** `node:http` that answers 202, and no more. */
export const startRawServer = () => startReference("http", {})

/** The bare prototype of the main job: verify, one durable insert, map, call, a second insert that nobody waits for. */
export const startPrototype = (dataFolder: string, sinkUrl: string) =>
  startReference("flow-durable", { DATA_DIR: dataFolder, SINK_URL: `${sinkUrl}/` })

export interface Latency {
  readonly n: number
  readonly p50: number
  readonly p95: number
  readonly p99: number
  readonly max: number
}
export interface LoadResult {
  readonly sent: number
  readonly ok: number
  readonly non2xx: number
  readonly errors: number
  readonly lastStatus: string
  /** 2xx answers a second, within the window. */
  readonly perSecond: number
  /** Milliseconds; `n` counts the answers. */
  readonly latency: Latency
  /** Cores that the generator itself used. */
  readonly loadCpu: number
  readonly seconds: number
}
export interface LoadOptions {
  readonly seconds: number
  readonly conns?: number
  /** A second, open loop; closed loop when left out. */
  readonly rate?: number
}

/** Runs a generator to its end. Calls that failed are an error of the bench: a figure over them would be wrong. */
const generate = async (args: ReadonlyArray<string>): Promise<LoadResult> => {
  const child = launch(args)
  const code = await child.ended
  if (code !== 0) throw new Error(`The load generator ended with ${code}:\n${child.output().slice(-2000)}`)
  const result = JSON.parse(child.output().trim().split("\n").at(-1)!) as LoadResult
  if (result.ok === 0 || result.non2xx + result.errors > result.sent / 1000) {
    throw new Error(
      `Of ${result.sent} calls ${result.non2xx} were refused (last status ${result.lastStatus || "none"}) and ${result.errors} broke off.`
    )
  }
  return result
}

const loadArguments = ({ seconds, conns = 64, rate = 0 }: LoadOptions) => [
  ...["--conns", String(conns), "--seconds", String(seconds), "--rate", String(rate)]
]

export const load = (url: string, options: LoadOptions): Promise<LoadResult> =>
  generate([reference("load.mjs"), "--url", url, ...loadArguments(options)])

/** Closed loop over every URL of a file, one per line, at random. */
export const loadMany = (urlsFile: string, options: LoadOptions): Promise<LoadResult> =>
  generate([join(import.meta.dirname, "load-many.ts"), "--urls", urlsFile, ...loadArguments(options)])

export interface SinkFigures {
  /** Calls, and distinct deliveries among them. */
  readonly count: number
  readonly distinct: number
  readonly bad: number
  /** Milliseconds from the generator's send to the arrival here. */
  readonly e2e: Latency
  /** Monotonic milliseconds of the first and the last arrival. */
  readonly first: number
  readonly last: number
}
/** What the slow sink tells besides. */
export interface SlowSinkFigures extends Omit<SinkFigures, "e2e" | "first" | "last"> {
  /** Calls that it has not answered, now and at most. */
  readonly waiting: number
  readonly waitingMax: number
}
export interface Sink<Figures> {
  readonly url: string
  readonly child: Child
  /** `path`: `/` for the figures alone, or a request that changes something. */
  readonly ask: (path: "/" | "/reset" | "/hold" | "/release") => Promise<Figures>
}

const sinkAt = async <Figures>(port: number, child: Child): Promise<Sink<Figures>> => {
  await child.says(/sink on/u)
  const url = `http://127.0.0.1:${port}`
  return { url, child, ask: async (path) => (await (await fetch(url + path)).json()) as Figures }
}

/** The app that runs call: it answers at once. */
export const startSink = async (): Promise<Sink<SinkFigures>> => {
  const port = await freePort()
  return sinkAt(port, launch([reference("sink.mjs")], { SINK_PORT: String(port) }))
}

/** The app that answers each call so many milliseconds later. */
export const startSlowSink = async (millis: number): Promise<Sink<SlowSinkFigures>> => {
  const port = await freePort()
  return sinkAt(port, launch([join(import.meta.dirname, "slow-sink.ts"), String(port), String(millis)]))
}
