/** The world of one execution: what outlives the processes, the processes themselves, and every I/O between them, under a plan of faults. */
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import { type BusFaults, faithful, SharedBus } from "./bus.ts"
import { between, type Chance, chanceFor, fingerprint, oneOf } from "./chance.ts"
import { DurableLog } from "./durable-log.ts"
import { DurableVault } from "./durable-vault.ts"
import type { Fault, Plan } from "./faults.ts"
import type { Call, Gate } from "./gate.ts"
import { SharedMembers } from "./ownership.ts"
import { Process } from "./process.ts"
import { Timeline } from "./timeline.ts"
import { type VendorScript, Vendors } from "./vendors.ts"

/** Half a minute before midnight UTC: windows of a day end during most executions. */
export const startOfTime = Date.UTC(2026, 10, 20, 23, 59, 30)
/** More of these in one execution, and it goes round in circles. */
const turnsMax = 400_000

/** Milliseconds by which a wall clock jumps. */
const jumps: ReadonlyArray<number> = [-1_000, 60_000, -60_000, 3_600_000, -3_600_000]

export interface WorldOptions {
  readonly seed: number
  readonly plan: Plan
  readonly log?: DurableLog
  readonly vault?: DurableVault
  readonly vendors?: VendorScript
  readonly busFaults?: BusFaults
  /** Keeps the trace's text, for people. */
  readonly traced?: boolean
  readonly startsAt?: number
  /** How long a process stands still, in milliseconds. */
  readonly freezes?: readonly [shortest: number, longest: number]
}

export class World {
  readonly seed: number
  readonly timeline: Timeline
  readonly log: DurableLog
  readonly vault: DurableVault
  readonly bus: SharedBus
  readonly members: SharedMembers
  readonly vendors: Vendors
  readonly processes: Array<Process> = []
  /** How often each fault happened. */
  readonly injected = new Map<Fault, number>()
  /** I/Os so far. */
  ios = 0
  /** Calls that did not leave, because their time was over. */
  withheld = 0
  /** Sent and not answered or lost yet. */
  underWay = 0
  readonly trace: Array<string> = []
  readonly #startsAt: number
  readonly #plan: Plan
  readonly #latency: Chance
  readonly #accidents: Chance
  readonly #traced: boolean
  #fingerprint = fingerprint("")
  #turns = 0
  readonly #freezes: readonly [number, number] | undefined

  constructor({ seed, plan, log, vault, vendors, busFaults, traced, startsAt = startOfTime, freezes }: WorldOptions) {
    this.seed = seed
    this.#plan = plan
    this.timeline = new Timeline(startsAt)
    this.#startsAt = startsAt
    this.log = log ?? new DurableLog()
    this.vault = vault ?? new DurableVault()
    this.bus = new SharedBus(busFaults ?? faithful, chanceFor(seed, "bus"))
    this.members = new SharedMembers(this.timeline, chanceFor(seed, "members"), () => this.bus.wake())
    this.vendors = new Vendors(this.log, () => this.timeline.now, vendors)
    this.#latency = chanceFor(seed, "latency")
    this.#accidents = chanceFor(seed, "accidents")
    this.#traced = traced === true
    this.#freezes = freezes
  }

  /** Of everything that happened, in order: two executions with the same one went alike. */
  get traceHash(): string {
    return this.#fingerprint.toString(16).padStart(8, "0")
  }

  note(line: string): void {
    const text = `${(this.timeline.now - this.#startsAt).toFixed(3)} ${line}`
    this.#fingerprint = fingerprint(text, this.#fingerprint)
    if (this.#traced) this.trace.push(text)
  }

  start(name: string): Process {
    const life = 1 + this.processes.filter((each) => each.name === name).length
    const process = new Process(name, life, this.timeline)
    this.processes.push(process)
    this.note(`${process.writer} starts`)
    return process
  }

  crash(process: Process): void {
    if (!process.alive) return
    this.note(`${process.writer} dies`)
    // What it sent a moment ago arrives, or all of it, or nothing.
    const chance = this.#accidents()
    process.die(chance < 0.4 ? this.timeline.now : chance < 0.7 ? Number.POSITIVE_INFINITY : this.timeline.now + chance * 2)
  }

  freeze(process: Process): void {
    if (!process.alive || process.frozen) return
    const [shortest, longest] = this.#freezes ?? (this.#accidents() < 0.5 ? [200, 9_000] : [9_000, 90_000])
    const millis = between(this.#accidents, shortest, longest)
    this.note(`${process.writer} stands still for ${millis.toFixed(0)}`)
    process.freeze()
    this.timeline.after(millis, () => this.thaw(process))
  }

  /** For a while; then somebody sets it right. */
  jump(process: Process): void {
    process.wallOffset = oneOf(this.#accidents, jumps)
    this.note(`the clock of ${process.writer} jumps by ${process.wallOffset}`)
    this.timeline.after(between(this.#accidents, 1_000, 60_000), () => {
      process.wallOffset = 0
    })
  }

  thaw(process: Process): void {
    if (!process.alive || !process.frozen) return
    this.note(`${process.writer} goes on`)
    process.thaw()
  }

  /** Lets everything happen until `done`, or until `until` (virtual milliseconds since the start); says which. */
  runUntil(done: () => boolean, until: number): "done" | "time is over" | "no end" {
    const end = this.#startsAt + until
    for (;;) {
      if (++this.#turns > turnsMax) return "no end"
      let worked = false
      for (const process of this.processes) if (process.runTasks()) worked = true
      if (worked) continue
      if (done()) return "done"
      if (this.timeline.now > end || !this.timeline.step()) return "time is over"
    }
  }

  get elapsed(): number {
    return this.timeline.now - this.#startsAt
  }

  gate(process: Process): Gate {
    return {
      writer: process.writer,
      io: (call) => Effect.callback((resume) => this.#leave(process, call, resume, true)),
      changed: (listen) =>
        Effect.callback<void>((resume) => {
          const stop = listen(() => process.deliver(() => resume(Effect.void)))
          return Effect.sync(stop)
        })
    }
  }

  #leave<A, E>(process: Process, call: Call<A, E>, resume: (exit: Exit.Exit<A, E>) => void, mayFail: boolean): void {
    if (!process.alive) return
    const withheld = call.withheld?.()
    if (withheld !== undefined) {
      this.withheld++
      this.note(`${process.writer} ${call.port} ${call.what}: withheld`)
      resume(withheld)
      return
    }
    const fault = mayFail ? this.#faultOf(process, call) : undefined
    switch (fault) {
      case "crash before":
        this.crash(process)
        break
      case "freeze before":
        this.freeze(process)
        process.deliver(() => this.#leave(process, call, resume, false))
        break
      case "error":
        this.#answer(process, this.#nearby(), call.refused, resume)
        break
      default:
        if (fault === "clock jump") this.jump(process)
        call.sent?.()
        this.#send(process, call, fault, resume)
    }
  }

  #faultOf<A, E>(process: Process, { port, what, unknown }: Call<A, E>): Fault | undefined {
    const number = ++this.ios
    const changes = unknown !== undefined
    const fault = this.#plan({ number, process: process.name, port, what, changes, at: this.elapsed })
    this.note(`${process.writer} ${port} ${what}${fault === undefined ? "" : `: ${fault}`}`)
    if (fault !== undefined) this.injected.set(fault, (this.injected.get(fault) ?? 0) + 1)
    return fault
  }

  /** It is on its way: from here on the process has no say in it. */
  #send<A, E>(process: Process, call: Call<A, E>, fault: Fault | undefined, resume: (exit: Exit.Exit<A, E>) => void): void {
    const there = call.port === "vendor" ? this.#far() : this.#nearby()
    const back = call.port === "vendor" ? this.#far() : this.#latency() < 0.3 ? this.#nearby() : 0
    const unknown = (why: "timeout" | "reset") => call.unknown?.(why) ?? call.refused()
    const inTime = there + back <= call.timeoutMillis
    if (fault === "timeout") {
      this.#answer(process, call.timeoutMillis, () => unknown("timeout"), resume)
      return
    }
    this.underWay++
    if (fault === "late") {
      this.#answer(process, call.timeoutMillis, () => unknown("timeout"), resume)
      this.timeline.after(call.timeoutMillis + between(this.#latency, 1, 20_000), () => {
        this.underWay--
        call.perform()
      })
      return
    }
    if (!inTime) this.#answer(process, call.timeoutMillis, () => unknown("timeout"), resume)
    this.#arriveAt(process, call.port === "journal" ? process.inOrder(this.timeline.now + there) : this.timeline.now + there, () => {
      const exit = call.perform()
      if (fault === "crash after") this.crash(process)
      if (fault === "freeze after") this.freeze(process)
      if (inTime && process.alive) this.#answer(process, back, fault === "unanswered" ? () => unknown("reset") : () => exit, resume)
    })
  }

  #arriveAt(process: Process, at: number, arrive: () => void): void {
    this.timeline.at(at, () => {
      this.underWay--
      if (this.timeline.now <= process.sentUntil) arrive()
    })
  }

  #answer<A, E>(process: Process, millis: number, answer: () => Exit.Exit<A, E>, resume: (exit: Exit.Exit<A, E>) => void): void {
    const give = () => process.deliver(() => resume(answer()))
    if (millis === 0) {
      give()
      return
    }
    this.underWay++
    this.timeline.after(millis, () => {
      this.underWay--
      give()
    })
  }

  /** Milliseconds to a store. */
  #nearby(): number {
    return between(this.#latency, 0.05, 2)
  }

  /** Milliseconds to a vendor: rarely very long. */
  #far(): number {
    return this.#latency() < 0.97 ? between(this.#latency, 1, 40) : between(this.#latency, 40, 3_000)
  }
}
