/** Processes of the bench: started, accounted for and stopped by their id; none outlives it. */
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { readFileSync } from "node:fs"
import type { AddressInfo } from "node:net"
import { createServer } from "node:net"

/** Linux counts process time in hundredths of a second (`getconf CLK_TCK`). */
const ticksPerSecond = 100
const readyMillis = 60_000
/** After a polite signal; then it is killed. */
const stopMillis = 30_000

const children = new Set<ChildProcess>()
process.on("exit", () => {
  for (const child of children) child.kill("SIGKILL")
})
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => process.exit(130))

interface ProcessTimes {
  /** Of the process itself, all threads. */
  readonly own: number
  /** Of its children that have ended. */
  readonly ended: number
}

/** Fields 14 to 17 of `/proc/<pid>/stat` (man proc_pid_stat), in seconds; zero when it is gone. */
const timesOf = (pid: number | "self"): ProcessTimes => {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, "latin1")
      .replace(/^.*\) /u, "")
      .split(" ")
    const seconds = (from: number) => (Number(fields[from]) + Number(fields[from + 1])) / ticksPerSecond
    return { own: seconds(11), ended: seconds(13) }
  } catch {
    return { own: 0, ended: 0 }
  }
}

/** CPU seconds used by the bench and everything that it started, ended processes included. */
export const cpuSecondsOfBench = (): number => {
  const self = timesOf("self")
  let seconds = self.own + self.ended
  for (const { pid } of children) if (pid !== undefined) seconds += timesOf(pid).own
  return seconds
}

/** CPU seconds used by the machine: user, nice, system, irq and softirq of `/proc/stat`. */
export const cpuSecondsOfMachine = (): number => {
  const fields = readFileSync("/proc/stat", "latin1").split("\n", 1)[0]!.split(/\s+/u).slice(1).map(Number)
  return [0, 1, 2, 5, 6].reduce((sum, at) => sum + fields[at]!, 0) / ticksPerSecond
}

export interface Child {
  readonly pid: number
  /** Everything that it has written so far, both streams. */
  readonly output: () => string
  /** Resolves with the first match in what it writes; rejects when it ends before or takes a minute. */
  readonly says: (pattern: RegExp) => Promise<RegExpMatchArray>
  readonly cpuSeconds: () => number
  readonly residentBytes: () => number
  /** Highest since its start. */
  readonly peakBytes: () => number
  readonly alive: () => boolean
  /** Resolves with its exit code once it has ended and all output is in. */
  readonly ended: Promise<number | null>
  /** SIGTERM, and SIGKILL when that does not help in time. */
  readonly stop: () => Promise<void>
}

/** The `Vm…` line of `/proc/<pid>/status`, in bytes. */
const statusBytes = (pid: number, key: "VmRSS" | "VmHWM"): number => {
  const found = new RegExp(`^${key}:\\s+(\\d+) kB$`, "mu").exec(readFileSync(`/proc/${pid}/status`, "latin1"))
  return Number(found?.[1] ?? 0) * 1024
}

/** Starts a Node process with this bench's own Node, or another program. Its input is open for as long as the bench lives. */
export const launch = (
  args: ReadonlyArray<string>,
  env: Readonly<Record<string, string>> = {},
  cwd?: string,
  program = process.execPath
): Child => {
  const child = spawn(program, args, {
    env: { ...process.env, ...env },
    stdio: ["pipe", "pipe", "pipe"],
    ...(cwd === undefined ? {} : { cwd })
  })
  const pid = child.pid
  if (pid === undefined) throw new Error(`Could not start ${program} ${args.join(" ")}.`)
  children.add(child)
  let output = ""
  const listeners = new Set<() => void>()
  const hear = (chunk: Buffer) => {
    output += chunk.toString()
    for (const listener of listeners) listener()
  }
  child.stdout.on("data", hear)
  child.stderr.on("data", hear)
  let isOver = false
  const ended = once(child, "close").then(([code]) => {
    isOver = true
    children.delete(child)
    for (const listener of listeners) listener()
    return code as number | null
  })
  const says = (pattern: RegExp) =>
    new Promise<RegExpMatchArray>((resolve, reject) => {
      const settle = (act: () => void) => {
        listeners.delete(look)
        clearTimeout(limit)
        act()
      }
      const look = () => {
        const found = output.match(pattern)
        if (found !== null) settle(() => resolve(found))
        else if (isOver) settle(() => reject(new Error(`${args[0]} ended without saying ${pattern}:\n${output.slice(-4000)}`)))
      }
      const limit = setTimeout(
        () => settle(() => reject(new Error(`${args[0]} did not say ${pattern} in time:\n${output.slice(-4000)}`))),
        readyMillis
      )
      listeners.add(look)
      look()
    })
  const stop = async () => {
    if (isOver) return
    child.kill("SIGTERM")
    const killing = setTimeout(() => child.kill("SIGKILL"), stopMillis)
    await ended
    clearTimeout(killing)
  }
  return {
    pid,
    output: () => output,
    says,
    cpuSeconds: () => timesOf(pid).own,
    residentBytes: () => statusBytes(pid, "VmRSS"),
    peakBytes: () => statusBytes(pid, "VmHWM"),
    alive: () => !isOver,
    ended,
    stop
  }
}

/** A port that was free a moment ago. */
export const freePort = async (): Promise<number> => {
  const server = createServer().listen(0, "127.0.0.1")
  await once(server, "listening")
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, "close")
  return port
}

export const pause = (millis: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, millis))

/** Asks every few milliseconds until the answer is neither null nor undefined; gives up loudly. */
export const until = async <A>(
  what: string,
  seconds: number,
  ask: () => Promise<A | null | undefined> | A | null | undefined,
  everyMillis = 20
): Promise<A> => {
  const end = performance.now() + seconds * 1000
  for (;;) {
    const found = await ask()
    if (found !== null && found !== undefined) return found
    if (performance.now() > end) throw new Error(`Waited ${seconds} s in vain for ${what}.`)
    await pause(everyMillis)
  }
}
