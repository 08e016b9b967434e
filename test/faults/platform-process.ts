/** The real platform as a process that a test starts, kills and starts again on the same folder and port. */
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdirSync, mkdtempSync, rmSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"

const main = new URL("../../infra/main.ts", import.meta.url).pathname

export const freePort = async (): Promise<number> => {
  const server = createServer().listen(0, "127.0.0.1")
  await once(server, "listening")
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, "close")
  return port
}

const ended = (child: ChildProcess) => child.exitCode !== null || child.signalCode !== null
export const end = async (child: ChildProcess, signal: "SIGTERM" | "SIGKILL" = "SIGKILL"): Promise<void> => {
  if (ended(child)) return
  child.kill(signal)
  await once(child, "exit")
}

/** Runs a script of ours with this very Node, and resolves with the first line that matches. */
export const launch = async (
  script: string,
  args: ReadonlyArray<string>,
  pattern: RegExp,
  env: Readonly<Record<string, string>> = {}
): Promise<{ readonly child: ChildProcess; readonly match: RegExpExecArray; readonly output: () => string }> => {
  const child = spawn(process.execPath, [script, ...args], { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, ...env } })
  let output = ""
  const hear = (text: string) => {
    output += text
  }
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", hear)
  for (;;) {
    const match = pattern.exec(output)
    if (match !== null) return { child, match, output: () => output }
    if (ended(child)) throw new Error(`${script} ended at its start:\n${output}`)
    await Promise.race([once(child.stdout, "data"), once(child, "exit")])
  }
}

export interface PlatformProcess {
  readonly url: string
  readonly key: string
  readonly folder: string
  /** Everything that it printed in its present life. */
  readonly output: () => string
  /** Starts it again; with another release's `main.ts` when one is given. */
  readonly start: (main?: string) => Promise<void>
  /** `kill -9`. */
  readonly kill: () => Promise<void>
  /** In order, by SIGTERM. */
  readonly stop: () => Promise<void>
  readonly isRunning: () => boolean
  readonly api: <A = unknown>(method: string, path: string, body?: unknown) => Promise<A>
  readonly remove: () => Promise<void>
}

/** Starts it on a data folder that is there already, at `<folder>/data`. `key`: of an administrator in it. */
export const startOnFolder = async (folder: string, key: string, start = main): Promise<PlatformProcess> =>
  platformIn(folder, {}, start, /Tributary runs at .*\n()/u, key)

/** Starts it for the first time, in a folder of its own unless one is given. */
export const startPlatform = async (
  env: Readonly<Record<string, string>> = {},
  folder = mkdtempSync(join(tmpdir(), "tributary-fault-")),
  firstMain = main
): Promise<PlatformProcess> => platformIn(folder, env, firstMain, /First admin key.*: (trib_\S+)\n/u)

const platformIn = async (
  folder: string,
  env: Readonly<Record<string, string>>,
  firstMain: string,
  started: RegExp,
  knownKey?: string
): Promise<PlatformProcess> => {
  mkdirSync(folder, { recursive: true })
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const args = ["start", "--host", "127.0.0.1", "--port", String(port), "--data", join(folder, "data")]
  const settings = {
    TRIBUTARY_MASTER_KEY_FILE: join(folder, "master.key"),
    TRIBUTARY_EGRESS_ALLOW: "127.0.0.1",
    TRIBUTARY_LOG_LEVEL: "Warn",
    ...env
  }
  let running = await launch(firstMain, args, started, settings)
  const key = knownKey ?? running.match[1]!
  return {
    url,
    key,
    folder,
    output: () => running.output(),
    start: async (again = main) => {
      running = await launch(again, args, /Tributary runs at .*\n/u, settings)
    },
    kill: () => end(running.child),
    stop: () => end(running.child, "SIGTERM"),
    isRunning: () => !ended(running.child),
    api: async <A>(method: string, path: string, body?: unknown): Promise<A> => {
      const response = await fetch(`${url}/api/v1${path}`, {
        method,
        headers: {
          "x-api-key": key,
          ...(body === undefined ? {} : { "content-type": typeof body === "string" ? "application/yaml" : "application/json" })
        },
        ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) })
      })
      const text = await response.text()
      if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`)
      return (text === "" ? null : JSON.parse(text)) as A
    },
    remove: async () => {
      await end(running.child)
      rmSync(folder, { recursive: true, force: true })
    }
  }
}
