/** The main thread's side of the views' thread: passes questions on, and tells it when there are new events. */
import { Worker } from "node:worker_threads"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { ReadModelsUnavailable } from "#services/ports/unavailable.ts"
import { type ViewFailure, ViewServer } from "#services/ports/view-server.ts"
import { type JournalConnection, JournalThread } from "./journal-thread-client.ts"
import { type FromViews, type Question, receiveFailure, type ToViews, type ViewsThreadOptions } from "./views-protocol.ts"

export interface ViewsOptions {
  readonly journalFile: string
  readonly viewsFile: string
  /** The module that composes the thread. */
  readonly entry: URL
}

/** News is passed on at most so often: the thread reads what has come together. */
const newsMillis = 25
/** A thread that ended is started again after this time, doubled each time up to the last. */
const restartMillis = { first: 250, last: 10_000 }
/** Its heap is small: the caches of the projections are bounded. */
const resourceLimits = { maxYoungGenerationSizeMb: 12, maxOldGenerationSizeMb: 256 }
/** Questions under way; what comes beyond is refused (R35). */
const askedMax = 4096

interface Asked {
  readonly resume: (answer: Effect.Effect<unknown, ViewFailure>) => void
}

const gone = new ReadModelsUnavailable({ reason: "their thread has ended and is being started again" })
const full = new ReadModelsUnavailable({ reason: `${askedMax} queries are under way already` })

class ViewsConnection {
  readonly #options: ViewsThreadOptions
  readonly #entry: URL
  readonly #journal: JournalConnection
  readonly #asked = new Map<number, Asked>()
  #worker: Worker | null = null
  #nextId = 0
  #restarts = 0
  #timer: NodeJS.Timeout | null = null
  #stopWaiting = () => {}
  #closed = false

  constructor(options: ViewsOptions, journal: JournalConnection) {
    this.#options = { journalFile: options.journalFile, viewsFile: options.viewsFile, journalId: journal.journalId }
    this.#entry = options.entry
    this.#journal = journal
  }

  start(): void {
    const worker = new Worker(this.#entry, { workerData: this.#options, name: "views", resourceLimits })
    this.#worker = worker
    worker.on("message", (message: FromViews) => this.#receive(message))
    // The thread has logged what it was; its end is dealt with below.
    worker.on("error", () => {})
    worker.on("exit", () => this.#ended())
    this.#follow(this.#journal.ring.head)
  }

  /** Questions asked before the thread is ready are answered once it is. */
  ask<A>(question: Question, args: ReadonlyArray<unknown>): Effect.Effect<A, ViewFailure> {
    return Effect.callback((resume) => {
      if (this.#worker === null) return resume(Effect.fail(gone))
      if (this.#asked.size >= askedMax) return resume(Effect.fail(full))
      const id = this.#nextId++
      this.#asked.set(id, { resume: resume as Asked["resume"] })
      this.#post({ is: "ask", id, question, args })
      return Effect.sync(() => this.#asked.delete(id))
    })
  }

  close(): Promise<void> {
    this.#closed = true
    this.#stopWaiting()
    if (this.#timer !== null) clearTimeout(this.#timer)
    const worker = this.#worker
    if (worker === null) return Promise.resolve()
    return new Promise((resolve) => {
      worker.once("exit", () => resolve())
      this.#post({ is: "close" })
    })
  }

  #post(message: ToViews): void {
    this.#worker?.postMessage(message)
  }

  #receive(message: FromViews): void {
    if (message.is === "ready") {
      this.#restarts = 0
      return
    }
    const asked = this.#asked.get(message.id)
    this.#asked.delete(message.id)
    asked?.resume(message.is === "answer" ? Effect.succeed(message.value) : Effect.fail(receiveFailure(message.failure)))
  }

  /** At once when the journal was idle; under load every few milliseconds, for all that has come together. */
  #follow(told: number): void {
    this.#stopWaiting = this.#journal.whenAfter(told, () => {
      const head = this.#journal.ring.head
      this.#post({ is: "news" })
      this.#timer = setTimeout(() => this.#follow(head), newsMillis)
    })
  }

  #ended(): void {
    this.#worker = null
    this.#stopWaiting()
    if (this.#timer !== null) clearTimeout(this.#timer)
    for (const { resume } of this.#asked.values()) resume(Effect.fail(gone))
    this.#asked.clear()
    if (this.#closed) return
    this.#timer = setTimeout(() => this.start(), Math.min(restartMillis.last, restartMillis.first * 2 ** this.#restarts++))
  }
}

export const layer = (options: ViewsOptions) =>
  Layer.effect(
    ViewServer,
    Effect.gen(function* () {
      const { connection: journal } = yield* JournalThread
      const connection = yield* Effect.acquireRelease(
        Effect.sync(() => {
          const connection = new ViewsConnection(options, journal)
          connection.start()
          return connection
        }),
        (connection) => Effect.promise(() => connection.close())
      )
      return ViewServer.of({
        get: (...args) => connection.ask("get", args),
        find: (...args) => connection.ask("find", args),
        projections: connection.ask<never>("projections", []) as ViewServer["Service"]["projections"],
        rebuild: (...args) => connection.ask<never>("rebuild", args) as ReturnType<ViewServer["Service"]["rebuild"]>
      })
    })
  )
