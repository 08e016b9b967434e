/** A process of a simulation: one life of the product, which can die at any moment, or stand still and go on later. */
import type * as Clock from "effect/Clock"
import * as ClockModule from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as References from "effect/References"
import * as Scheduler from "effect/Scheduler"
import type { Timeline } from "./timeline.ts"

type Task = () => void

/** Operations of a fiber before the others of its process have their turn. */
const operationsPerTurn = 2_048

export class Process implements Scheduler.Scheduler {
  readonly executionMode = "async"
  readonly name: string
  /** Counts the lives of this name, from 1. */
  readonly life: number
  alive = true
  frozen = false
  /** What its wall clock is off by. */
  wallOffset = 0
  /** What it sent before it died still arrives until then. */
  sentUntil = Number.POSITIVE_INFINITY
  readonly context: Context.Context<never>
  readonly #timeline: Timeline
  readonly #onDeath: Array<() => void> = []
  #tasks: Array<Task> = []
  #next = 0
  #held: Array<Task> = []
  #arrives = 0

  constructor(name: string, life: number, timeline: Timeline) {
    this.name = name
    this.life = life
    this.#timeline = timeline
    this.context = Context.make(Scheduler.Scheduler, this as Scheduler.Scheduler).pipe(
      Context.add(ClockModule.Clock, this.#clock()),
      Context.add(References.MinimumLogLevel, "None")
    ) as Context.Context<never>
  }

  get writer(): string {
    return `${this.name}.${this.life}`
  }

  shouldYield(fiber: Fiber.Fiber<unknown, unknown>): boolean {
    return fiber.currentOpCount >= operationsPerTurn
  }

  makeDispatcher(): Scheduler.SchedulerDispatcher {
    return this.#dispatcher
  }

  readonly #dispatcher: Scheduler.SchedulerDispatcher = {
    scheduleTask: (task) => {
      if (this.alive) this.#tasks.push(task)
    },
    flush: () => {}
  }

  /** Does what is ready to be done; false when it was nothing. */
  runTasks(): boolean {
    if (this.#next === this.#tasks.length || this.frozen || !this.alive) return false
    while (this.#next < this.#tasks.length && this.alive && !this.frozen) this.#tasks[this.#next++]!()
    if (this.#next === this.#tasks.length) {
      this.#tasks.length = 0
      this.#next = 0
    }
    return true
  }

  /** Something comes in from outside: at once, after the thaw, or never. */
  deliver(task: Task): void {
    if (!this.alive) return
    if (this.frozen) this.#held.push(task)
    else task()
  }

  /** Runs an effect in this process; `done` is not called when the process dies first. */
  run<A, E, R>(effect: Effect.Effect<A, E, R>, services: Context.Context<R>, done: (exit: Exit.Exit<A, E>) => void): void {
    const fiber = Effect.runForkWith(Context.merge(services, this.context) as Context.Context<R>)(effect)
    fiber.addObserver((exit) => this.deliver(() => done(exit)))
  }

  /** What is sent to the journal arrives in the order in which it was sent. */
  inOrder(at: number): number {
    this.#arrives = Math.max(this.#arrives, at)
    return this.#arrives
  }

  onDeath(then: () => void): void {
    this.#onDeath.push(then)
  }

  /** Ends here and now: no finalizer runs, and nothing that it waits for comes back. */
  die(sentUntil: number): void {
    if (!this.alive) return
    this.alive = false
    this.sentUntil = sentUntil
    this.#tasks = []
    this.#next = 0
    this.#held = []
    for (const then of this.#onDeath) then()
  }

  freeze(): void {
    this.frozen = true
  }

  thaw(): void {
    if (!this.alive || !this.frozen) return
    this.frozen = false
    const held = this.#held
    this.#held = []
    for (const task of held) this.deliver(task)
  }

  #clock(): Clock.Clock {
    const wall = () => Math.floor(this.#timeline.now + this.wallOffset)
    const nanos = (millis: number) => BigInt(Math.floor(millis * 1_000)) * 1_000n
    return {
      currentTimeMillisUnsafe: wall,
      currentTimeMillis: Effect.sync(wall),
      currentTimeNanosUnsafe: () => nanos(this.#timeline.now + this.wallOffset),
      currentTimeNanos: Effect.sync(() => nanos(this.#timeline.now + this.wallOffset)),
      monotonicTimeNanosUnsafe: () => nanos(this.#timeline.now),
      monotonicTimeNanos: Effect.sync(() => nanos(this.#timeline.now)),
      sleep: (duration) =>
        Effect.callback<void>((resume) => {
          if (!this.alive) return
          const cancel = this.#timeline.after(Duration.toMillis(duration), () => this.deliver(() => resume(Effect.void)))
          return Effect.sync(cancel)
        })
    }
  }
}
