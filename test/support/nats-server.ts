/** A real nats-server of the test's own: on a free loopback port, with a store that goes with it. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"

const program = "nats-server"
/** Linux ends it with the test's process, however that ends. */
const endsWithUs = process.platform === "linux" ? ["setpriv", "--pdeathsig", "KILL"] : []

/** Version of the server on the path; undefined where there is none. */
export const installedVersion = ((): string | undefined => {
  try {
    return /v(\d\S*)/u.exec(execFileSync(program, ["--version"], { encoding: "utf8" }))?.[1]
  } catch {
    return undefined
  }
})()

export interface NatsServer {
  readonly url: string
  readonly port: number
  /** `kill -9`. */
  readonly kill: () => Promise<void>
  /** On the same port and store; resolves once it answers. */
  readonly start: () => Promise<void>
  /** Empties the store of a server that does not run. */
  readonly wipe: () => void
  readonly freeze: () => void
  readonly thaw: () => void
  /** Ends it and removes its store. */
  readonly remove: () => Promise<void>
}

/** Every server that still runs ends with this process. */
const running = new Set<ChildProcess>()
process.once("exit", () => {
  for (const child of running) child.kill("SIGKILL")
})

const freePort = async (): Promise<number> => {
  const server = createServer().listen(0, "127.0.0.1")
  await once(server, "listening")
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, "close")
  return port
}

const launch = async (args: ReadonlyArray<string>): Promise<ChildProcess> => {
  const [command, ...rest] = [...endsWithUs, program, ...args] as [string, ...Array<string>]
  const child = spawn(command, rest, { stdio: ["ignore", "ignore", "pipe"] })
  running.add(child)
  child.once("exit", () => running.delete(child))
  let output = ""
  await new Promise<void>((resolve, reject) => {
    child.stderr!.setEncoding("utf8").on("data", (text: string) => {
      output = (output + text).slice(-4_000)
      if (output.includes("Server is ready")) resolve()
    })
    child.once("error", reject)
    child.once("exit", () => reject(new Error(`nats-server ended at its start:\n${output}`)))
  })
  return child
}

const end = async (child: ChildProcess): Promise<void> => {
  if (child.exitCode !== null || child.signalCode !== null) return
  child.kill("SIGKILL")
  await once(child, "exit")
}

export interface NatsServerOptions {
  readonly jetStream?: boolean
  /** Lines of its configuration file, such as `authorization { token: … }`. */
  readonly config?: string
}

export const startNatsServer = async ({ jetStream = true, config = "" }: NatsServerOptions = {}): Promise<NatsServer> => {
  const folder = mkdtempSync(join(tmpdir(), "tributary-nats-"))
  const store = join(folder, "store")
  const file = join(folder, "server.conf")
  const port = await freePort()
  writeFileSync(file, `${jetStream ? `jetstream { store_dir: "${store}" }\n` : ""}${config}\n`)
  const args = ["-c", file, "-a", "127.0.0.1", "-p", String(port)]
  let child = await launch(args)
  return {
    url: `nats://127.0.0.1:${port}`,
    port,
    kill: () => end(child),
    start: async () => {
      child = await launch(args)
    },
    wipe: () => rmSync(store, { recursive: true, force: true }),
    freeze: () => void child.kill("SIGSTOP"),
    thaw: () => void child.kill("SIGCONT"),
    remove: async () => {
      child.kill("SIGCONT")
      await end(child)
      rmSync(folder, { recursive: true, force: true })
    }
  }
}
