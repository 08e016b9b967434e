/** The stand-in for EventStoreDB as a process of its own, and how it is made to fail. */
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"

const main = fileURLToPath(new URL("../stand-ins/eventstoredb/main.ts", import.meta.url))

export interface StandInOptions {
  /** Folder that keeps the log over a restart. */
  readonly data?: string
  /** More of its flags: see `main.ts`. */
  readonly flags?: ReadonlyArray<string>
  readonly port?: number
}

export class EventStoreStandIn {
  readonly port: number
  private readonly controlPort: number
  private readonly child: ChildProcess
  private readonly options: StandInOptions

  private constructor(child: ChildProcess, port: number, controlPort: number, options: StandInOptions) {
    this.child = child
    this.port = port
    this.controlPort = controlPort
    this.options = options
  }

  static async start(options: StandInOptions = {}): Promise<EventStoreStandIn> {
    const args = [main, "--port", String(options.port ?? 0), ...(options.data === undefined ? [] : ["--data", options.data])]
    const child = spawn(process.execPath, [...args, ...(options.flags ?? [])], { stdio: ["pipe", "pipe", "inherit"] })
    const ports = { control: 0 }
    for await (const line of createInterface({ input: child.stdout! })) {
      const [, what, port] = /^(control|listening) on (\d+)$/u.exec(line) ?? []
      if (what === "control") ports.control = Number(port)
      if (what === "listening") return new EventStoreStandIn(child, Number(port), ports.control, options)
    }
    throw new Error("The stand-in for EventStoreDB ended before it listened.")
  }

  get url(): string {
    return `esdb://127.0.0.1:${this.port}?tls=false`
  }

  /** Tells it to do something wrong: `tell("drop-answers", { count: 3 })`. */
  async tell(what: string, values: Readonly<Record<string, number>> = {}): Promise<Record<string, number>> {
    const query = new URLSearchParams(Object.entries(values).map(([name, value]): [string, string] => [name, String(value)]))
    const answer = await fetch(`http://127.0.0.1:${this.controlPort}/${what}?${query}`, { method: "POST" })
    return (await answer.json()) as Record<string, number>
  }

  signal(signal: NodeJS.Signals): void {
    this.child.kill(signal)
  }

  /** As the operating system would. */
  async kill(): Promise<void> {
    const exited = once(this.child, "exit")
    this.child.kill("SIGKILL")
    await exited
  }

  /** Comes back at the same port, over the same data. */
  restart(): Promise<EventStoreStandIn> {
    return EventStoreStandIn.start({ ...this.options, port: this.port })
  }

  async stop(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return
    const exited = once(this.child, "exit")
    this.child.kill("SIGTERM")
    this.child.kill("SIGCONT")
    await exited
  }
}
