/** Starts the stand-in as a process of its own. */
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"

const main = fileURLToPath(new URL("./main.ts", import.meta.url))

export interface StandInOptions {
  /** Left out: a free one. */
  readonly port?: number
  /** Left out: a single server, without transactions. */
  readonly replicaSet?: string
  /** Left out: everything is gone with the process. */
  readonly data?: string
  readonly user?: string
  readonly password?: string
  readonly version?: string
}
export interface StandIn {
  readonly process: ChildProcess
  readonly port: number
  /** `mongodb://127.0.0.1:…`, without a database. */
  readonly url: string
  /** Ends it at once, as `kill -9` does. */
  readonly kill: () => Promise<void>
  readonly stop: () => Promise<void>
}

export const startStandIn = async (options: StandInOptions = {}): Promise<StandIn> => {
  const { replicaSet, ...others } = options
  const given = { port: 0, ...others, ...(replicaSet === undefined ? {} : { "replica-set": replicaSet }) }
  const args = Object.entries(given).flatMap(([name, value]) => [`--${name}`, String(value)])
  const child = spawn(process.execPath, [main, ...args], { stdio: ["pipe", "pipe", "inherit"] })
  const exit = once(child, "exit")
  const end = (signal: NodeJS.Signals) => async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill(signal)
    await exit
  }
  const said = Promise.race([
    once(createInterface(child.stdout), "line"),
    exit.then(([code]) => Promise.reject(new Error(`It ended: ${code}`)))
  ])
  const port = Number(
    String((await said)[0])
      .split(" ")
      .at(-1)
  )
  return { process: child, port, url: `mongodb://127.0.0.1:${port}`, kill: end("SIGKILL"), stop: end("SIGTERM") }
}
