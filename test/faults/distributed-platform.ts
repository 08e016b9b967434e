/**
 * The distributed form as a test's own processes on loopback: a real nats-server, the stand-ins for EventStoreDB and MongoDB, one api and
 * some workers, each of which can be killed or frozen. The stand-ins are no evidence about the servers that they stand in for.
 */
import type { ChildProcess } from "node:child_process"
import { randomBytes } from "node:crypto"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { type StandIn, startStandIn } from "../stand-ins/mongodb/start.ts"
import { EventStoreStandIn } from "../support/event-store.ts"
import { installedVersion, type NatsServer, startNatsServer } from "../support/nats-server.ts"
import { end, launch, type PlatformProcess, startPlatform } from "./platform-process.ts"
import type { Outcome, Scenario, Trial } from "./scenario.ts"

/** Why the machine cannot run it; undefined: it can. */
export const lacking = installedVersion === undefined ? "nats-server is not on the PATH" : undefined

const main = new URL("../../infra/main.ts", import.meta.url).pathname

export interface WorkerProcess {
  readonly pid: number
  /** One figure of its `/metrics`, with its labels: `runs_total{outcome="started"}`. */
  readonly figure: (name: string) => Promise<number>
  readonly freeze: () => void
  readonly thaw: () => void
  readonly isRunning: () => boolean
  /** Everything that it printed. */
  readonly output: () => string
  /** In order, by SIGTERM. */
  readonly stop: () => Promise<void>
  /** `kill -9`. */
  readonly end: () => Promise<void>
}

export interface WorkerStart {
  /** The `main.ts` of another release. */
  readonly main?: string
  /** Where it finds NATS, when not at the server itself. */
  readonly bus?: string
}

export interface Journal {
  readonly tell: EventStoreStandIn["tell"]
  /** `kill -9`. */
  readonly kill: () => Promise<void>
  /** On the same port and log. */
  readonly start: () => Promise<void>
}
/** Views and vault. */
export interface Documents {
  /** `kill -9`. */
  readonly kill: () => Promise<void>
  /** On the same port and data. */
  readonly start: () => Promise<void>
}

export interface DistributedPlatform {
  readonly api: PlatformProcess
  /** In the order of their starts, ended ones too. */
  readonly workers: ReadonlyArray<WorkerProcess>
  readonly startWorker: (start?: WorkerStart) => Promise<WorkerProcess>
  readonly nats: NatsServer
  readonly journal: Journal
  readonly documents: Documents
  /** What the workers that run have counted since they began, all together. */
  readonly figure: (name: string) => Promise<number>
  readonly remove: () => Promise<void>
}

const escaped = (text: string): string => text.replaceAll(/[{}]/gu, "\\$&")
const workerOf = (child: ChildProcess, url: string, output: () => string): WorkerProcess => ({
  pid: child.pid!,
  figure: async (name) => {
    const text = await (await fetch(`${url}/metrics`)).text()
    const value = new RegExp(`^tributary_${escaped(name)} (\\d+)$`, "mu").exec(text)?.[1]
    if (value === undefined) throw new Error(`/metrics of a worker has no ${name}.`)
    return Number(value)
  },
  freeze: () => void child.kill("SIGSTOP"),
  thaw: () => void child.kill("SIGCONT"),
  isRunning: () => child.exitCode === null && child.signalCode === null,
  output,
  stop: () => end(child, "SIGTERM"),
  end: () => end(child)
})

/** Ends what was begun, the last first. */
class Ends {
  private readonly ends: Array<() => Promise<unknown>> = []

  add(finish: () => Promise<unknown>): void {
    this.ends.unshift(finish)
  }

  readonly run = async (): Promise<void> => {
    for (const finish of this.ends) await finish()
  }
}

/** `folder`: a scratch folder, which is removed with it. */
export const startDistributed = async (folder: string, workersCount: number): Promise<DistributedPlatform> => {
  const ends = new Ends()
  try {
    const nats = await startNatsServer()
    ends.add(nats.remove)
    let store = await EventStoreStandIn.start({ data: join(folder, "eventstoredb") })
    ends.add(() => store.stop())
    const mongoOptions = { replicaSet: "rs0", data: join(folder, "mongodb") }
    let mongo: StandIn = await startStandIn(mongoOptions)
    ends.add(() => mongo.stop())
    const { port } = mongo
    const database = (name: string) => `mongodb://127.0.0.1:${port}/${name}?replicaSet=rs0`
    const servers = {
      TRIBUTARY_JOURNAL: store.url,
      TRIBUTARY_BUS: nats.url,
      TRIBUTARY_READ_MODELS: database("tributary_views"),
      TRIBUTARY_VAULT: database("tributary_vault"),
      TRIBUTARY_MASTER_KEY: randomBytes(32).toString("hex")
    }
    const api = await startPlatform({ ...servers, TRIBUTARY_ROLE: "api" }, folder)
    ends.add(api.remove)
    const workers: Array<WorkerProcess> = []
    const startWorker = async ({ main: program = main, bus = nats.url }: WorkerStart = {}): Promise<WorkerProcess> => {
      const role = { TRIBUTARY_BUS: bus, TRIBUTARY_ROLE: "worker", TRIBUTARY_EGRESS_ALLOW: "127.0.0.1", TRIBUTARY_LOG_LEVEL: "Warn" }
      const args = ["start", "--host", "127.0.0.1", "--port", "0"]
      const { child, match, output } = await launch(program, args, /Tributary runs at (\S+).*\n/u, { ...servers, ...role })
      const worker = workerOf(child, match[1]!, output)
      ends.add(worker.end)
      workers.push(worker)
      return worker
    }
    await Promise.all(Array.from({ length: workersCount }, () => startWorker()))
    return {
      api,
      workers,
      startWorker,
      nats,
      journal: {
        tell: (what, values) => store.tell(what, values),
        kill: () => store.kill(),
        start: async () => {
          store = await store.restart()
        }
      },
      documents: {
        kill: () => mongo.kill(),
        start: async () => {
          mongo = await startStandIn({ ...mongoOptions, port })
        }
      },
      figure: async (name) => {
        const running = workers.filter((worker) => worker.isRunning())
        return (await Promise.all(running.map((worker) => worker.figure(name)))).reduce((sum, value) => sum + value, 0)
      },
      remove: ends.run
    }
  } catch (cause) {
    await ends.run()
    throw cause
  }
}

/** Plays in a folder of its own; what was put into `ends` is ended afterwards, in its order. */
export const distributedScenario = (
  id: string,
  title: string,
  play: (folder: string, ends: Array<() => Promise<void>>, trial: Trial) => Promise<Outcome>
): Scenario => ({
  id,
  title,
  run: async (trial) => {
    if (lacking !== undefined) return { skipped: lacking }
    const folder = mkdtempSync(join(tmpdir(), "tributary-distributed-"))
    const ends: Array<() => Promise<void>> = []
    try {
      return await play(folder, ends, trial)
    } finally {
      for (const finish of ends) await finish()
      rmSync(folder, { recursive: true, force: true })
    }
  }
})
