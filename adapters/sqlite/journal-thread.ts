/**
 * The journal's thread: owns journal.db and vault.db, commits in groups, seals content and answers reads in between. It loads
 * nothing of Effect, so that it starts in milliseconds.
 */
import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from "node:worker_threads"
import { dropMillis } from "#adapters/sealing/unwrapped-keys.ts"
import { EventDamaged } from "./event-rows.ts"
import {
  type AppendBatch,
  appendCells,
  type Failure,
  type FromThread,
  type Hello,
  type JournalThreadOptions,
  type Reply,
  type Request,
  type ToThread
} from "./journal-protocol.ts"
import { JournalQueries } from "./journal-queries.ts"
import { openJournal, StartRefused } from "./journal-schema.ts"
import { type Change, JournalWriter } from "./journal-writer.ts"
import { refuseMoved } from "./move-mark.ts"
import { VaultStore } from "./vault-store.ts"
import { failureOf, messageOf } from "./write-failure.ts"

/** A transaction takes no more than this: a bound on the time that a reader waits. */
const appendsPerCommitMax = 2_048
const bytesPerCommitMax = 16 * 1024 * 1024

const options = workerData as JournalThreadOptions
const port: MessagePort = parentPort!

const start = () => {
  const { db, journalId } = openJournal(options.journalFile, options.cacheKilobytes, options.eventTypes)
  refuseMoved(db)
  const vault = new VaultStore(options.vaultFile, journalId, options.masterKey, options.masterKeyId)
  options.masterKey.fill(0)
  const writer = new JournalWriter(db, vault.keys)
  const queries = new JournalQueries(db, vault.keys, writer.names, writer.openWork)

  const answer = (request: Request): unknown => {
    switch (request.op) {
      case "load":
        return queries.load(request.scope, request.stream, request.snapshotVersion)
      case "readStream":
        return queries.readStream(request.scope, request.stream, request.from, request.limit)
      case "readFeed":
        return queries.readFeed(request.after, request.limit, request.prefixes)
      case "openContents":
        return queries.openContents(request.scope, request.owners, request.slots)
      case "workDue":
        return queries.workDue(request.before, request.limit, request.scope, request.after)
      case "workSummary":
        return queries.workSummary()
      case "putSecret":
        return vault.put(request.scope, request.owner, request.field, request.secret)
      case "getSecret":
        return vault.get(request.scope, request.owner, request.field, request.atLeastVersion)
      case "removeSecret":
        return vault.remove(request.scope, request.owner, request.field)
      case "nameDigest":
        return vault.nameDigest(request.scope, request.kind, request.text)
      case "sealField":
        return vault.sealField(request.scope, request.field, request.text, writer.head)
      case "openField":
        return vault.openField(request.scope, request.field, request.sealed)
      case "limitPages":
        db.exec(`PRAGMA max_page_count=${Math.trunc(request.pagesMax)}`)
        return null
      case "saveSnapshot":
      case "retire":
        throw new Error(`${request.op} is a change.`)
    }
  }

  const changeOf = (request: Request): (() => unknown) | null => {
    if (request.op === "retire") return () => writer.retire(request.scope, request.stream, request.revision)
    if (request.op === "saveSnapshot")
      return () => writer.saveSnapshot(request.scope, request.stream, request.version, request.revision, request.state)
    return null
  }

  const reply = (request: Request): Reply => {
    try {
      return { is: answer(request) }
    } catch (cause) {
      return { failure: readFailure(cause) }
    }
  }

  const handle = (batches: ReadonlyArray<AppendBatch>, requests: ReadonlyArray<Request>): void => {
    const replies: Array<Reply | null> = requests.map(() => null)
    const changes: Array<Change> = []
    requests.forEach((request, index) => {
      const change = changeOf(request)
      if (change === null) return
      let done: unknown
      const run = () => {
        done = change()
      }
      const settle = (failure: Failure | null) => {
        replies[index] = failure === null ? { is: done ?? null } : { failure }
      }
      changes.push({ run, settle })
    })
    if (batches.length > 0 || changes.length > 0) {
      const { outcomes, hashes, failures } = writer.write(batches, changes)
      if (outcomes.length > 0) send({ outcomes, hashes, failures, replies: null })
      // Freed at once: a collector that has to look for them comes far too often.
      for (const { pack } of batches) pack?.transfer(0)
    }
    if (requests.length === 0) return
    send({ outcomes: null, hashes: "", failures: [], replies: replies.map((done, index) => done ?? reply(requests[index]!)) })
  }

  port.on("message", (first: ToThread | "close") => {
    const batches: Array<AppendBatch> = []
    const requests: Array<Request> = []
    let message: ToThread | "close" | undefined = first
    let appends = 0
    let bytes = 0
    while (message !== undefined && message !== "close") {
      if (message.appends !== null) {
        batches.push(message.appends)
        appends += message.appends.cells.length / appendCells
        bytes += message.appends.pack?.byteLength ?? 0
      }
      if (message.requests !== null) requests.push(...message.requests)
      message = appends < appendsPerCommitMax && bytes < bytesPerCommitMax ? receiveMessageOnPort(port)?.message : undefined
    }
    handle(batches, requests)
    if (message !== "close") return
    db.close()
    vault.close()
    port.close()
  })

  setInterval(() => vault.keys.dropUnused(), dropMillis).unref()
  const hello: Hello = { journalId, head: writer.head }
  port.postMessage(hello)
}

const send = (answer: FromThread): void => port.postMessage(answer)

const readFailure = (cause: unknown): Failure => {
  const failure = failureOf(cause, false)
  return cause instanceof EventDamaged ? { ...failure, defect: false } : failure
}

try {
  start()
} catch (cause) {
  const unreadable = `The journal or the vault (${options.journalFile}, ${options.vaultFile}) cannot be opened: ${messageOf(cause)}. Nothing was changed. Run tributary doctor, and restore both from one backup.`
  const refused = cause instanceof StartRefused ? { kind: cause.kind, message: cause.message } : { kind: "Unreadable", message: unreadable }
  const hello: Hello = { refused }
  port.postMessage(hello)
}
