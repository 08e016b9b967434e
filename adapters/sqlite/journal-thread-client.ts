/** The main thread's side of the journal's thread: collects what is asked within a turn of the event loop, and shares out the answers. */
import { Worker } from "node:worker_threads"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { bucketOf, type Scope, type StreamName } from "#domain/scope.ts"
import {
  type Append,
  type Appended,
  type AppendRejected,
  AppendTooLarge,
  RevisionConflict,
  StreamRetired
} from "#services/ports/journal.ts"
import { MasterKey } from "#services/ports/master-key.ts"
import { JournalUnavailable } from "#services/ports/unavailable.ts"
import { CommittedRing } from "./committed-ring.ts"
import { HeadWatch } from "./head-watch.ts"
import {
  type AppendBatch,
  conflict,
  type Failure,
  type FromThread,
  failed,
  type Hello,
  hashCharacters,
  type JournalThreadOptions,
  type Reply,
  type Request,
  repeated,
  retired,
  type ToThread,
  withheld
} from "./journal-protocol.ts"
import { type OpenBatch, openBatch, packOf, putAppend, type WaitingAppend, type WrittenAppend, writtenAppend } from "./outgoing-batch.ts"
import { positionText } from "./stored-event.ts"

/** Most of what the thread allocates is gone with the batch: a small young generation is enough, and gives the rest back. */
const resourceLimits = { maxYoungGenerationSizeMb: 12, maxOldGenerationSizeMb: 256 }

export interface JournalOptions {
  readonly journalFile: string
  readonly vaultFile: string
  /** The newest version of each event type that this release can read: a journal with newer ones is refused. */
  readonly eventTypes: Readonly<Record<string, number>>
  /** Largest append: its events' fields and its contents together. */
  readonly appendBytesMax?: number
}

/** The journal was not opened, for a reason that a person has to settle. Nothing was changed. */
export class JournalRefused extends Data.TaggedError("JournalRefused")<{
  readonly kind: "UnknownEventTypes" | "NewerSchema" | "WrongMasterKey" | "WrongVault" | "Unreadable"
  readonly reason: string
}> {
  override get message() {
    return this.reason
  }
}

const appendBytesMaxDefault = 8 * 1024 * 1024
/** One message to the thread carries no more. */
const batchAppendsMax = 1_024
const batchBytesMax = 8 * 1024 * 1024
/** Posted and not yet answered: one is committed while the next lies ready. What comes beyond it gathers here, for one larger commit. */
const postedBatchesMax = 2
/** Waiting here; what comes beyond it is refused (R9, R35). */
const waitingAppendsMax = 65_536
const waitingBytesMax = 256 * 1024 * 1024
/** Asked and not yet answered. */
const questionsMax = 65_536
const cacheKilobytes = 8 * 1024

export class JournalConnection {
  readonly journalId: string
  readonly appendBytesMax: number
  readonly ring: CommittedRing
  private readonly heads: HeadWatch
  private readonly worker: Worker
  private batches: Array<OpenBatch> = []
  private posted: Array<OpenBatch> = []
  private waitingAppends = 0
  private waitingBytes = 0
  private requests: Array<Request> = []
  private readonly repliesTo: Array<(reply: Reply) => void> = []
  private answered: Array<(reply: Reply) => void> = []
  private flushing = false
  private dead: string | null = null
  /** Types of events that the thread was told of, with their versions. */
  private readonly announced = new Map<string, Set<number>>()

  constructor(worker: Worker, journalId: string, head: number, appendBytesMax: number) {
    this.worker = worker
    this.journalId = journalId
    this.appendBytesMax = appendBytesMax
    this.ring = new CommittedRing(head)
    this.heads = new HeadWatch(head)
    worker.on("message", (answer: FromThread) => this.receive(answer))
  }

  append(append: Append): Effect.Effect<Appended, AppendRejected | JournalUnavailable> {
    return Effect.callback((resume) => {
      const refused = this.enqueue([append], resume)
      if (refused !== null) resume(refused)
    })
  }

  appendTogether(appends: ReadonlyArray<Append>): Effect.Effect<ReadonlyArray<Appended>, AppendRejected | JournalUnavailable> {
    return Effect.callback((resume) => {
      const written: Array<Appended> = []
      let answered = 0
      let refusal: Exit.Exit<never, AppendRejected | JournalUnavailable> | undefined
      const refused = this.enqueue(appends, (answer) => {
        if (Exit.isSuccess(answer)) written.push(answer.value)
        else if (refusal === undefined || refusal === heldBack) refusal = answer as typeof refusal
        if (++answered === appends.length) resume(refusal ?? Exit.succeed(written))
      })
      if (refused !== null) resume(refused)
      // It is a batch already: others need not be waited for.
      else if (this.posted.length === 0) this.flush()
    })
  }

  /** A question to the thread; the answer's type is the asker's to know. */
  ask<A>(request: Request): Effect.Effect<A, JournalUnavailable> {
    return Effect.callback((resume) => {
      if (this.dead !== null) return resume(Effect.fail(this.unavailable("no")))
      if (this.repliesTo.length + this.answered.length >= questionsMax)
        return resume(Effect.fail(new JournalUnavailable({ written: "no", reason: `${questionsMax} questions wait already` })))
      this.requests.push(request)
      this.repliesTo.push((reply) => resume("is" in reply ? Effect.succeed(reply.is as A) : failureExit(reply.failure)))
      this.flushSoon()
    })
  }

  /** Calls back once, as soon as something was committed behind a position. Returns how to stop waiting. */
  whenAfter(position: number, wake: () => void): () => void {
    return this.heads.whenAfter(position, wake)
  }

  /** The thread is gone: what was posted may have been written, what comes now surely is not. */
  die(reason: string): void {
    if (this.dead !== null) return
    this.dead = reason
    for (const batch of this.posted) for (const { resume } of batch.waiting) resume(Exit.fail(this.unavailable("unknown")))
    for (const batch of this.batches) for (const { resume } of batch.waiting) resume(Exit.fail(this.unavailable("no")))
    const lost = (written: "no" | "unknown"): Reply => ({ failure: { written, reason, defect: false } })
    for (const give of this.answered) give(lost("unknown"))
    for (const give of this.repliesTo) give(lost("no"))
    this.posted = this.batches = []
    this.answered = []
    this.repliesTo.length = this.requests.length = 0
  }

  private unavailable(written: "no" | "unknown"): JournalUnavailable {
    return new JournalUnavailable({ written, reason: this.dead ?? "its thread is gone" })
  }

  /** Takes appends that go together, in one batch; `resume` is called for each of them. */
  private enqueue(
    appends: ReadonlyArray<Append>,
    resume: WaitingAppend["resume"]
  ): Effect.Effect<never, AppendRejected | JournalUnavailable> | null {
    if (this.dead !== null) return Effect.fail(this.unavailable("no"))
    let bytes = 0
    const texts: Array<WrittenAppend> = []
    for (const append of appends) {
      if (!ownsStream(append.scope, append.stream)) return Effect.die(new ForeignStream(append.scope, append.stream))
      const text = writtenAppend(append)
      if (text instanceof Error) return Effect.die(text)
      bytes += text.bytes
      texts.push(text)
    }
    if (bytes > this.appendBytesMax) return Effect.fail(new AppendTooLarge({ bytes, limitBytes: this.appendBytesMax }))
    if (this.waitingAppends >= waitingAppendsMax || this.waitingBytes + bytes > waitingBytesMax)
      return Effect.fail(new JournalUnavailable({ written: "no", reason: `${this.waitingAppends} appends wait already` }))
    let batch = this.batches.at(-1)
    if (batch === undefined || batch.waiting.length >= batchAppendsMax || batch.bytes + bytes > batchBytesMax) {
      batch = openBatch()
      this.batches.push(batch)
    }
    for (let index = 0; index < appends.length; index++) {
      this.announceTypes(batch, appends[index]!)
      putAppend(batch, { append: appends[index]!, resume }, texts[index]!, index === 0 ? appends.length : 0)
    }
    this.waitingAppends += appends.length
    this.waitingBytes += bytes
    this.flushSoon()
    return null
  }

  /** The thread stores each type once, before the first event that is of it. */
  private announceTypes(batch: OpenBatch, { events }: Append): void {
    for (const { type, version } of events) {
      let versions = this.announced.get(type)
      if (versions?.has(version) === true) continue
      if (versions === undefined) {
        versions = new Set()
        this.announced.set(type, versions)
      }
      versions.add(version)
      batch.newTypes.push(type, version)
    }
  }

  private flushSoon(): void {
    if (this.flushing) return
    this.flushing = true
    setImmediate(() => {
      this.flushing = false
      this.flush()
    })
  }

  private flush(): void {
    if (this.dead !== null) return
    const requests = this.requests.length > 0 ? this.requests : null
    if (requests !== null) {
      this.requests = []
      this.answered.push(...this.repliesTo.splice(0))
    }
    const first = this.postNext(requests)
    if (!first && requests !== null) this.post({ appends: null, requests }, [])
    while (this.postNext(null)) {}
  }

  /** Posts the oldest waiting batch if there is one and the thread has room for it. */
  private postNext(requests: ReadonlyArray<Request> | null): boolean {
    const batch = this.batches[0]
    if (batch === undefined || this.posted.length >= postedBatchesMax) return false
    this.batches.shift()
    this.posted.push(batch)
    this.waitingAppends -= batch.waiting.length
    this.waitingBytes -= batch.bytes
    const pack = packOf(batch)
    const appends: AppendBatch = { cells: batch.cells, newTypes: batch.newTypes, pack }
    this.post({ appends, requests }, pack === null ? [] : [pack])
    return true
  }

  private post(message: ToThread, transfer: ReadonlyArray<ArrayBuffer>): void {
    this.worker.postMessage(message, transfer)
  }

  private receive(answer: FromThread): void {
    if (answer.outcomes !== null) this.settle(answer.outcomes, answer)
    if (answer.replies !== null) {
      const replies = answer.replies
      const givers = this.answered.splice(0, replies.length)
      for (let index = 0; index < givers.length; index++) givers[index]!(replies[index]!)
    }
    if (this.batches.length > 0) this.flush()
  }

  private settle(outcomes: ReadonlyArray<number>, answer: FromThread): void {
    const before = this.ring.head
    let hash = 0
    for (let at = 0; at < outcomes.length; ) {
      const batch = this.posted.shift()!
      for (const { append, resume } of batch.waiting) {
        const outcome = outcomes[at]!
        const revision = outcomes[at + 1]!
        const position = outcomes[at + 2]!
        at += 3
        if (outcome > repeated) {
          resume(rejectionOf(append, outcome, revision, answer.failures))
          continue
        }
        if (outcome !== repeated) {
          this.ring.add(append, position, revision, answer.hashes, hash)
          hash += hashCharacters
        }
        resume(Exit.succeed({ revision, position: positionText(position), repeated: outcome === repeated }))
      }
    }
    if (this.ring.head > before) this.heads.advance(this.ring.head)
  }
}

/** A caller asked for a stream that is not its scope's: a defect, never an answer. */
export class ForeignStream extends Error {
  override readonly name = "ForeignStream"
  constructor(scope: Scope, stream: StreamName) {
    super(`${stream} does not belong to ${scope.key}. Nothing was read or written.`)
  }
}

export const ownsStream = (scope: Scope, stream: StreamName): boolean =>
  stream.startsWith(scope.key, 3) && stream[scope.key.length + 3] === "/" && stream[2] === "/" && stream.startsWith(bucketOf(scope.key))

/** Of an append that another one kept from being written: the other one's answer is what counts. */
const heldBack = Exit.die(new Error("An append was held back with others."))

const rejectionOf = (
  append: Append,
  outcome: number,
  revision: number,
  failures: ReadonlyArray<Failure>
): Exit.Exit<never, AppendRejected | JournalUnavailable> => {
  if (outcome === withheld) return heldBack
  if (outcome === conflict) return Exit.fail(new RevisionConflict({ stream: append.stream, expected: append.expected, actual: revision }))
  if (outcome === retired) return Exit.fail(new StreamRetired({ stream: append.stream }))
  return failureExit(failures[outcome === failed ? revision : 0]!)
}

export const failureExit = (failure: Failure): Exit.Exit<never, JournalUnavailable> =>
  failure.defect
    ? Exit.die(new Error(`The journal refused it: ${failure.reason}. Nothing was written.`))
    : Exit.fail(new JournalUnavailable({ written: failure.written, reason: failure.reason }))

export interface JournalThreadShape {
  readonly connection: JournalConnection
  /** Ends when the thread has died; the journal answers nothing any more. */
  readonly died: Effect.Effect<string>
  /** Kills the thread at once, as a crash would. */
  readonly kill: Effect.Effect<void>
}

/** The journal's thread, running as long as its scope. */
export class JournalThread extends Context.Service<JournalThread, JournalThreadShape>()("tributary/adapters/sqlite/JournalThread") {
  static readonly layer = (options: JournalOptions) => Layer.effect(JournalThread, open(options))
}

const open = Effect.fnUntraced(function* (options: JournalOptions) {
  const master = yield* MasterKey
  const died = Deferred.makeUnsafe<string>()
  const workerData: JournalThreadOptions = {
    journalFile: options.journalFile,
    vaultFile: options.vaultFile,
    masterKey: Redacted.value(master.key),
    masterKeyId: master.id,
    eventTypes: options.eventTypes,
    cacheKilobytes
  }
  const worker = yield* Effect.acquireRelease(
    Effect.sync(() => new Worker(new URL("./journal-thread.ts", import.meta.url), { workerData, name: "journal", resourceLimits })),
    close
  )
  const hello = yield* Effect.callback<Hello, JournalRefused>((resume) => {
    worker.once("message", (message: Hello) => resume(Effect.succeed(message)))
    worker.once("error", (cause: Error) => resume(Effect.fail(new JournalRefused({ kind: "Unreadable", reason: cause.message }))))
  })
  if ("refused" in hello) {
    const { kind, message } = hello.refused
    return yield* new JournalRefused({ kind: kind as JournalRefused["kind"], reason: message })
  }
  const connection = new JournalConnection(worker, hello.journalId, hello.head, options.appendBytesMax ?? appendBytesMaxDefault)
  const onEnd = (reason: string) => {
    connection.die(reason)
    Deferred.doneUnsafe(died, Effect.succeed(reason))
  }
  worker.on("error", (cause: Error) => onEnd(`its thread failed (${cause.message})`))
  worker.on("exit", () => onEnd("its thread has ended"))
  return JournalThread.of({
    connection,
    died: Deferred.await(died),
    kill: Effect.promise(() => worker.terminate()).pipe(Effect.asVoid)
  })
})

/** Lets the thread finish what was posted and close its files. */
const close = (worker: Worker): Effect.Effect<void> =>
  Effect.callback((resume) => {
    if (worker.threadId === -1) return resume(Effect.void)
    worker.once("exit", () => resume(Effect.void))
    worker.postMessage("close")
  })
