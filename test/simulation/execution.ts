/** One execution: processes that come again after they died, a shop that repeats what was not acknowledged, a tenant, and an operator. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import type { StepId } from "#domain/ids.ts"
import { run } from "#domain/run.ts"
import { kindAndIdOf, type TenantScope } from "#domain/scope.ts"
import * as Freshness from "#services/freshness.ts"
import { Ingest } from "#services/ingest.ts"
import { Bus } from "#services/ports/bus.ts"
import { Runs } from "#services/runs.ts"
import type { WorkerBounds } from "#services/worker.ts"
import { servicesOver } from "../support/engine.ts"
import { webhook } from "../support/orders.ts"
import type { BusFaults } from "./bus.ts"
import { between, type Chance, chanceFor } from "./chance.ts"
import type { DurableLog, DurableStream, LogDefects } from "./durable-log.ts"
import type { DurableVault } from "./durable-vault.ts"
import { noFaults, type Plan } from "./faults.ts"
import { connectErp, connectors, type Fixture, type Installed, install, origin } from "./fixtures.ts"
import { portsLayer } from "./ports.ts"
import type { Process } from "./process.ts"
import { World } from "./world.ts"

export type Ports = ReturnType<typeof portsLayer>
/** What a test does to the ports of a process, to see that the checker notices. */
export type Sabotage = (ports: Ports) => Ports
const honest: Sabotage = (ports) => ports

/** What holds for each process of an execution. */
interface Conditions {
  readonly sabotage?: Sabotage
  /** Of the open work in memory. */
  readonly bounds?: WorkerBounds
}

/** Where several share the journal, each follows what the others change. */
const servicesOf = (world: World, process: Process, alone: boolean, { bounds, sabotage = honest }: Conditions) => {
  const services = servicesOver(sabotage(portsLayer(world, process, alone)), connectors, bounds)
  return alone ? services : Freshness.layer.pipe(Layer.provideMerge(services))
}
export type Services = Layer.Success<ReturnType<typeof servicesOf>>

/** An hour and a bit, after which nothing may be left to do. */
const lastsMillis = 2 * 3_600_000

/** Due later than this: put off until tomorrow. */
const putOffMillis = 12 * 3_600_000

export interface ExecutionOptions extends Conditions {
  readonly seed: number
  readonly plan: Plan
  readonly defects?: LogDefects
  /** How long a process stands still, in milliseconds. */
  readonly freezes?: readonly [shortest: number, longest: number]
  readonly busFaults?: BusFaults
  readonly traced?: boolean
  /** The operator decides as soon as somebody asks, not only when everything has come to rest. */
  readonly hasty?: boolean
}
/** What a sender was told about one delivery. */
export interface Delivered {
  readonly order: number
  status: number
}
export interface Executed {
  readonly world: World
  readonly fixture: Fixture
  readonly installed: Installed
  readonly deliveries: ReadonlyArray<Delivered>
  readonly refusals: ReadonlyArray<string>
  readonly ended: "done" | "time is over" | "no end"
  /** Services of the processes that live. */
  readonly living: ReadonlyArray<{ readonly process: Process; readonly services: Context.Context<Services> }>
}

/** Where an execution begins: after a set-up without faults, made once per fixture. */
interface Beginning {
  readonly log: DurableLog
  readonly vault: DurableVault
  readonly installed: Installed
}
const beginnings = new Map<string, Beginning>()

const beginningOf = (fixture: Fixture): Beginning => {
  const key = JSON.stringify([fixture.flows, fixture.quota, fixture.connectsAt === undefined])
  const known = beginnings.get(key)
  if (known !== undefined) return known
  const world = new World({ seed: 0, plan: noFaults })
  let installed: Exit.Exit<Installed, unknown> | undefined
  const installer = world.start("installer")
  launch(
    world,
    installer,
    true,
    {},
    (services) =>
      installer.run(install(fixture), services, (exit) => {
        installed = exit
      }),
    (cause) => {
      throw new Error(`${fixture.name} could not be set up.`, { cause })
    }
  )
  world.runUntil(() => installed !== undefined && world.underWay === 0, 60_000)
  if (installed === undefined || Exit.isFailure(installed)) throw new Error(`${fixture.name} could not be set up.`, { cause: installed })
  const beginning = { log: world.log, vault: world.vault, installed: installed.value }
  beginnings.set(key, beginning)
  return beginning
}

const launch = (
  world: World,
  process: Process,
  alone: boolean,
  conditions: Conditions,
  ready: (services: Context.Context<Services>) => void,
  failed: (cause: unknown) => void
) => {
  process.run(Layer.buildWithScope(servicesOf(world, process, alone, conditions), Scope.makeUnsafe()), Context.empty(), (exit) =>
    Exit.isSuccess(exit) ? ready(exit.value) : failed(exit.cause)
  )
}

class Play {
  readonly world: World
  readonly deliveries: Array<Delivered> = []
  /** Answers that were not true. */
  readonly refusals: Array<string> = []
  readonly living = new Map<string, { readonly process: Process; readonly services: Context.Context<Services> }>()
  readonly #fixture: Fixture
  readonly #installed: Installed
  readonly #chance: Chance
  /** What people outside still want. */
  #wanted = 0
  #turn = 0

  /** Questions that were answered. */
  readonly #decided = new Set<string>()
  readonly #options: ExecutionOptions

  constructor(world: World, fixture: Fixture, installed: Installed, options: ExecutionOptions) {
    this.world = world
    this.#options = options
    this.#fixture = fixture
    this.#installed = installed
    this.#chance = chanceFor(world.seed, "people")
  }

  play(): Executed["ended"] {
    const { processes, deliveries, connectsAt } = this.#fixture
    for (const name of processes) this.#start(name)
    for (const { order, at } of deliveries) {
      const delivered = { order, status: 0 }
      this.deliveries.push(delivered)
      this.#wanted++
      this.world.timeline.after(at, () => this.#deliver(delivered))
    }
    if (connectsAt !== undefined) this.#want(connectsAt, connectErp(this.#installed.tenant))
    this.#announce()
    if (this.#options.hasty)
      this.world.log.onEach((type) => type === "DecisionRequested" && this.world.timeline.after(1, () => this.#decide()))
    for (;;) {
      const ended = this.world.runUntil(() => this.#atRest(), lastsMillis)
      if (ended !== "done" || !this.#decide()) return ended
    }
  }

  #start(name: string): void {
    const process = this.world.start(name)
    process.onDeath(() => {
      this.living.delete(name)
      this.world.log.loseUnflushed(this.world.timeline.now)
      this.world.timeline.after(between(this.#chance, 100, 3_000), () => this.#start(name))
    })
    launch(
      this.world,
      process,
      this.#fixture.processes.length === 1,
      this.#options,
      (services) => this.living.set(name, { process, services }),
      () => this.world.crash(process)
    )
  }

  #atRest(): boolean {
    const { world } = this
    return (
      this.#wanted === 0 &&
      this.#nothingOpen() &&
      world.underWay === 0 &&
      this.living.size === this.#fixture.processes.length &&
      world.processes.every(({ frozen, alive }) => !alive || !frozen)
    )
  }

  /** What the quota put off until another day is no work of today. */
  #nothingOpen(): boolean {
    const { log, timeline } = this.world
    if (log.open.size === 0) return true
    const putOff = (due: number) => this.#fixture.quota?.mode === "queue" && due > timeline.now + putOffMillis
    for (const { workDue } of log.open.values()) if (!putOff(workDue!)) return false
    return true
  }

  /** Asks one of the processes; `lost`: it died first, or there is none. */
  #ask<A, E>(effect: Effect.Effect<A, E, Services>, answered: (exit: Exit.Exit<A, E>) => void, lost: () => void): void {
    const living = [...this.living.values()]
    const asked = living[this.#turn++ % Math.max(1, living.length)]
    if (asked === undefined) {
      lost()
      return
    }
    let open = true
    const once = (then: () => void) => {
      if (!open) return
      open = false
      then()
    }
    asked.process.onDeath(() => once(lost))
    this.world.timeline.after(30_000, () => once(lost))
    asked.process.run(effect, asked.services, (exit) => once(() => answered(exit)))
  }

  /** As a vendor does: again and again until it is answered with a 2xx, or told not to. */
  #deliver(delivered: Delivered): void {
    const again = () => void this.world.timeline.after(between(this.#chance, 500, 5_000), () => this.#deliver(delivered))
    const call = Effect.flatMap(Ingest, (ingest) =>
      Effect.flatMap(ingest.at(this.#installed.endpointId), (reception) => reception!.receive(webhook(delivered.order)))
    )
    this.#ask(
      call,
      (exit) => {
        const status = Exit.isSuccess(exit) ? exit.value.status : 500
        this.world.note(`order ${delivered.order} is answered with ${status}`)
        if (status >= 500) return again()
        delivered.status = status
        this.#wanted--
      },
      again
    )
  }

  /** Wake-ups for no reason, from any process, as a bus gives them that repeats itself. */
  #announce(): void {
    const { announcements = 0 } = this.#fixture
    const announce = Effect.flatMap(Bus, (bus) => bus.announce(this.#installed.tenant))
    for (let count = 0; count < announcements; count++)
      this.world.timeline.after(between(this.#chance, 50, 5_000), () =>
        this.#ask(
          announce,
          () => {},
          () => {}
        )
      )
  }

  /** Something that somebody asks for until it is done. */
  #want<A, E>(
    after: number,
    effect: Effect.Effect<A, E, Services>,
    isSettledBy: (refusal: Exit.Exit<A, E>) => boolean = () => false
  ): void {
    this.#wanted++
    const again = () => void this.world.timeline.after(between(this.#chance, 500, 3_000), attempt)
    const attempt = () =>
      this.#ask(
        effect,
        (exit) => {
          if (Exit.isFailure(exit) && !isSettledBy(exit)) again()
          else this.#wanted--
        },
        again
      )
    this.world.timeline.after(after, attempt)
  }

  /** The operator asks the vendor what became of each call in doubt, and says so. False: nothing was in doubt. */
  #decide(): boolean {
    let decided = false
    for (const stream of [...this.world.log.streams.values()]) {
      const { kind, id } = kindAndIdOf(stream.name)
      if (kind !== "run") continue
      for (const [step, { status, attempt, effect }] of Object.entries(stateOf(stream).steps)) {
        const question = `${id} ${step} ${attempt}`
        if (status !== "undecided" || this.#decided.has(question)) continue
        this.#decided.add(question)
        decided = true
        const happened = this.world.vendors.ledger.some(
          // Attempts of a verifiable step are probes as well.
          (entry) => entry.applied && entry.run === id && entry.step === step && (entry.attempt === attempt || effect === "verifiable")
        )
        const decision = happened ? "succeeded" : "repeat"
        this.world.note(`${step} of ${id} is decided: ${decision}`)
        const by = { ...origin, commandId: `decide ${question}`, commandHash: decision }
        this.#want(
          0,
          Effect.flatMap(Runs, (runs) => runs.decide(stream.scope as TenantScope, id, step as StepId, decision, null, by)),
          (refusal) => {
            // An outcome came meanwhile, and it is decided already; else somebody remembers what is not so any more.
            if (!Exit.isFailure(refusal) || !refusal.cause.toString().includes("RunNotInState")) return false
            const { status, attempt: now } = stateOf(this.world.log.streams.get(stream.name)!).steps[step]!
            if (status !== "undecided" || now !== attempt) return true
            this.refusals.push(`attempt ${attempt} of ${step} of run ${id} waits for a decision, and it was refused`)
            return false
          }
        )
      }
    }
    return decided
  }
}

export const stateOf = ({ events }: DurableStream) => {
  let state = run.initialState
  for (const { type, version, data } of events) state = run.evolve(state, run.events.decode(type, version, data))
  return state
}

export const execute = (fixture: Fixture, options: ExecutionOptions): Executed => {
  const { seed, plan, defects, busFaults, traced, freezes } = options
  const { log, vault, installed } = beginningOf(fixture)
  const world = new World({
    seed,
    plan,
    log: log.copy(),
    vault: vault.copy(),
    ...(fixture.vendors === undefined ? {} : { vendors: fixture.vendors }),
    ...(busFaults === undefined ? {} : { busFaults }),
    ...(traced === undefined ? {} : { traced }),
    ...(freezes === undefined ? {} : { freezes })
  })
  world.log.defects = defects ?? {}
  const play = new Play(world, fixture, installed, options)
  const ended = play.play()
  return { world, fixture, installed, deliveries: play.deliveries, refusals: play.refusals, ended, living: [...play.living.values()] }
}
