/** The log on EventStoreDB as the target of a move: appends of another journal are written as they are, in that journal's order. */
import { createHash, randomUUID } from "node:crypto"
import { RecentMap } from "#adapters/memory/recent-map.ts"
import type { ScopeKey } from "#adapters/sealing/scope-keys.ts"
import { nextHash } from "#adapters/sqlite/event-record.ts"
import type { Position } from "#domain/ids.ts"
import type { StreamName } from "#domain/scope.ts"
import type { Append } from "#services/ports/journal.ts"
import type { WorkItem } from "#services/ports/open-work.ts"
import { AppendCalls, type ProposedEvent } from "./append-calls.ts"
import { proposedEvents } from "./appender.ts"
import type { AppendStream, Connection } from "./connection.ts"
import { type ContentStores, sealContents } from "./contents.ts"
import { jsonBytes, noMetadata, type StoreDriver } from "./driver.ts"
import { EventTypes } from "./event-types.ts"
import { lateFailure, StoreFailure } from "./failure.ts"
import { identityStream } from "./journal.ts"
import { allBuckets } from "./open-work.ts"
import { isDomainEvent, readEvent, retiredType } from "./recorded-event.ts"
import { StoreRefused } from "./refusal.ts"
import { absentHead, type Head, type RetiredMark, StreamHeads } from "./stream-heads.ts"
import { WorkCheckpoints } from "./work-checkpoints.ts"

/** An append of the other journal, with all that its own hash was made of. */
export interface CarriedAppend extends Append {
  /** The stream's hash after it. */
  readonly hash: string
  /** What is hashed of it. */
  readonly record: string
  /** Slots, lengths and keyed hash of the contents, as they stand in the record; null: none. */
  readonly contentsText: string | null
  /** The key that its contents were sealed with; null: there are none, or it was destroyed. */
  readonly key: ScopeKey | null
}
export interface CarriedRetired {
  readonly stream: StreamName
  readonly space: string
  readonly revision: number
  readonly hash: string
}
/** The newest entry of the log: up to there it was carried. */
export type Reached =
  | { readonly is: "retired"; readonly stream: StreamName }
  | { readonly is: "append"; readonly stream: StreamName; readonly revision: number }

/** What is there does not agree with what is carried. */
export class CarryMismatch extends Error {
  override readonly name = "CarryMismatch"
}

/** Appends on their way at once, and their bytes. */
const inFlightMax = 512
const bytesInFlightMax = 16 * 1024 * 1024
/** The server may be busy for long; it is alone with us. */
const appendMillis = 30_000
const headsMax = 65_536
/** Buckets whose open work is checkpointed at once. */
const bucketsAtOnce = 32
/** What the store counts of an event beside its data and metadata, and then some. */
const eventOverhead = 96
/** The server's own `MaxAppendSize`, unless its operator changed it; contents beyond it lie beside the journal. */
const storeBytesMax = 1024 * 1024

export class MoveTarget {
  private readonly driver: StoreDriver
  private readonly connection: Connection
  private readonly contents: ContentStores

  constructor(driver: StoreDriver, connection: Connection, contents: ContentStores) {
    this.driver = driver
    this.connection = connection
    this.contents = contents
  }

  /** Identity of the log that the store holds; null: it holds none, "other": events without an identity. */
  async identity(): Promise<{ readonly journalId: string } | "other" | null> {
    const there = (await this.driver.reads.stream({ stream: identityStream, limit: 1 }))?.[0]
    if (there !== undefined) return JSON.parse(Buffer.from(there.data).toString("utf8")) as { readonly journalId: string }
    return (await this.driver.reads.log({ after: null, backwards: true, limit: 1 })).length > 0 ? "other" : null
  }

  /** Takes the empty store, or the one that was taken before under this identity. Throws `StoreRefused` on any other. */
  async claim(journalId: string): Promise<void> {
    if ((await this.identity()) === null) {
      const data = jsonBytes({ journalId })
      await this.driver.append(identityStream, -1, [{ id: randomUUID(), type: "journal", json: true, data, metadata: noMetadata }])
    }
    const found = await this.identity()
    if (found === null || found === "other" || found.journalId !== journalId)
      throw new StoreRefused({
        kind: "NotEmpty",
        reason: `EventStoreDB at ${this.driver.endpoint} holds ${found === "other" ? "events already" : `the journal ${found?.journalId}`}. Nothing was changed. Give an empty one.`
      })
  }

  /** Before the first event that is of them. */
  async storeTypes(lines: ReadonlyArray<string>, readable: Readonly<Record<string, number>>): Promise<void> {
    const types = new EventTypes(this.driver)
    await types.open(readable)
    if (lines.length > 0) await types.store(lines)
  }

  /** Null: nothing was carried yet. */
  async reached(): Promise<Reached | null> {
    const newest = (await this.driver.reads.log({ after: null, backwards: true, limit: 1 }))[0]
    if (newest === undefined) return null
    const stream = newest.stream as StreamName
    return isDomainEvent(newest) ? { is: "append", stream, revision: readEvent(newest).event.revision } : { is: "retired", stream }
  }

  /** Leaves what is open as the checkpoints of its buckets, so that the first owners need not read the whole log for it. */
  async checkpointWork(items: Iterable<WorkItem>): Promise<void> {
    const position = (await this.driver.reads.log({ after: null, backwards: true, limit: 1 }))[0]?.position ?? null
    const buckets = new Map([...allBuckets].map((bucket) => [bucket, [] as Array<WorkItem>]))
    for (const item of items) buckets.get(item.stream.slice(0, 2))!.push(item)
    const checkpoints = new WorkCheckpoints(this.driver)
    const names = [...buckets.keys()]
    for (let at = 0; at < names.length; at += bucketsAtOnce)
      await Promise.all(
        names.slice(at, at + bucketsAtOnce).map(async (bucket) => {
          const { revision } = await checkpoints.claim(bucket)
          await checkpoints.write(bucket, revision, { position, items: buckets.get(bucket)! })
        })
      )
  }

  /** What is carried from now on goes over one call, in its order; after any failure another carry begins at what was reached. */
  carry(startedAt: number): Carry {
    return new Carry(this.driver, this.connection, this.contents, startedAt)
  }
}

export class Carry {
  private readonly driver: StoreDriver
  private readonly contents: ContentStores
  private readonly startedAt: number
  private readonly line: OneCall
  private readonly appends: AppendCalls
  private readonly asked: StreamHeads
  private readonly heads = new RecentMap<string, Head>(headsMax)
  private inFlight = 0
  private bytes = 0
  private isFirst = true
  private failure: unknown
  private last: Position | null = null
  private wake: (() => void) | null = null

  constructor(driver: StoreDriver, connection: Connection, contents: ContentStores, startedAt: number) {
    this.driver = driver
    this.contents = contents
    this.startedAt = startedAt
    this.line = new OneCall(connection)
    this.appends = new AppendCalls(this.line)
    this.asked = new StreamHeads(driver.reads)
  }

  /** The marker of a stream whose events are gone; it is all that its stream holds. */
  async retired({ stream, space, revision, hash }: CarriedRetired): Promise<void> {
    const mark: RetiredMark = { revision, hash, at: this.startedAt, space }
    const id = idOf(`retired\n${stream}`)
    await this.send(stream, -1, [{ id, type: retiredType, json: true, data: jsonBytes(mark), metadata: noMetadata }])
  }

  /** Resolves when there is room for the next one, not when it is durable. */
  async append(append: CarriedAppend): Promise<void> {
    const { stream, expected, events, hash, record, contentsText } = append
    const head = await this.headOf(stream, expected)
    if (nextHash(head.hash, record) !== hash)
      throw new CarryMismatch(`${stream}: the hash at revision ${expected + events.length} does not follow from the one before it.`)
    const domain = proposedEvents(append, expected, hash, contentsText ?? undefined)
    const sealed = append.key === null ? [] : await this.seal(append, append.key, domain)
    const proposed = [...sealed, ...domain]
    const serverRevision = head.serverRevision + proposed.length
    await this.send(stream, head.serverRevision, proposed)
    this.heads.set(stream, { revision: expected + events.length, serverRevision, hash, retired: false })
  }

  /** Everything that was sent is durable when it is done. */
  async flush(): Promise<void> {
    while (this.inFlight > 0 && this.failure === undefined) await this.woken()
    this.check()
  }

  /** Whatever is under way is given up: its outcome is seen by the next look at what was reached. */
  close(): void {
    this.line.close()
    this.appends.close()
  }

  private async headOf(stream: string, expected: number): Promise<Head> {
    const known = this.heads.get(stream) ?? (expected === -1 ? absentHead(stream) : await this.asked.refresh(stream))
    if (known.revision !== expected || known.retired)
      throw new CarryMismatch(`${stream} was carried up to revision ${known.revision}, and goes on behind ${expected}.`)
    return known
  }

  /** Under the key of before, so that the keyed hash stays, which is a part of the stream's hash. */
  private async seal(append: CarriedAppend, key: ScopeKey, domain: ReadonlyArray<ProposedEvent>): Promise<ReadonlyArray<ProposedEvent>> {
    const room = storeBytesMax - bytesOf(domain)
    const keys = { toSeal: async () => key, toOpen: async () => key }
    const stores = { keys, large: this.contents.large }
    const { events, text } = await sealContents(stores, append, append.expected + append.events.length, room)
    if (text !== append.contentsText)
      throw new CarryMismatch(
        `${append.stream}: the contents at revision ${append.expected + append.events.length} are not those that were hashed.`
      )
    return events
  }

  private async send(stream: string, expected: number, events: ReadonlyArray<ProposedEvent>): Promise<void> {
    const bytes = bytesOf(events)
    while (this.inFlight >= inFlightMax || (this.inFlight > 0 && this.bytes + bytes > bytesInFlightMax)) {
      this.check()
      await this.woken()
    }
    this.check()
    this.inFlight++
    this.bytes += bytes
    const done = this.answered(stream, expected, events).then(
      () => this.settle(bytes),
      (cause) => {
        this.failure ??= cause
        this.settle(bytes)
      }
    )
    if (!this.isFirst) return
    // The call is opened by the first: nothing may overtake it meanwhile.
    this.isFirst = false
    await done
    this.check()
  }

  private async answered(stream: string, expected: number, events: ReadonlyArray<ProposedEvent>): Promise<void> {
    const answer = await this.appends.append(stream, expected, events, appendMillis)
    switch (answer.is) {
      case "written":
        return this.inOrder(stream, answer.position)
      case "conflict":
        return this.inOrder(stream, await this.placeOf(stream, expected, events))
      case "too-large":
        throw new CarryMismatch(
          `An append to ${stream} has more than the ${answer.limit} bytes that EventStoreDB takes: raise its MaxAppendSize, and go on.`
        )
      case "closed":
        throw new CarryMismatch(`${stream} was deleted from EventStoreDB.`)
    }
  }

  private inOrder(stream: string, position: Position | null): void {
    if (position === null) return // Compared at the end.
    if (this.last !== null && position <= this.last)
      throw new CarryMismatch(
        `EventStoreDB wrote ${stream} before what was sent ahead of it: the order of the log is lost. Empty it, and move again.`
      )
    this.last = position
  }

  /** These very events were there before, or others are. */
  private async placeOf(stream: string, expected: number, events: ReadonlyArray<ProposedEvent>): Promise<Position | null> {
    const there = (await this.driver.reads.stream({ stream, from: expected + 1, limit: events.length })) ?? []
    if (there.length !== events.length || there.some(({ id }, index) => id !== events[index]!.id))
      throw new CarryMismatch(`${stream} holds other events than those that are carried.`)
    return null
  }

  private settle(bytes: number): void {
    this.inFlight--
    this.bytes -= bytes
    this.wake?.()
  }

  private woken(): Promise<void> {
    return new Promise((resolve) => {
      this.wake = () => {
        this.wake = null
        resolve()
      }
    })
  }

  private check(): void {
    if (this.failure !== undefined) throw this.failure
  }
}

/** One call for all appends: the server takes them in the order of the call, and what it lost it lost from some place on. */
class OneCall implements Pick<Connection, "endpoint" | "appendStream"> {
  readonly endpoint: string
  private readonly connection: Connection
  private opened: Promise<AppendStream> | null = null
  private stream: AppendStream | null = null
  private over = false

  constructor(connection: Connection) {
    this.connection = connection
    this.endpoint = connection.endpoint
  }

  async appendStream(begin: (stream: AppendStream) => void): Promise<AppendStream> {
    this.opened ??= this.connection.appendStream((stream) => {
      this.stream = stream
      const end = () => {
        this.over = true
      }
      stream.on("error", end)
      stream.on("end", end)
      begin(stream)
    }, new WeakMap())
    const stream = await this.opened
    if (this.over)
      throw new StoreFailure({
        ...lateFailure(this.endpoint, appendMillis),
        kind: "lost",
        reason: `the connection to EventStoreDB at ${this.endpoint} broke`,
        written: "no"
      })
    return stream
  }

  close(): void {
    this.over = true
    this.stream?.cancel()
  }
}

const bytesOf = (events: ReadonlyArray<ProposedEvent>): number =>
  events.reduce((sum, { data, metadata, type }) => sum + data.length + metadata.length + 2 * type.length + eventOverhead, 0)

/** The same for each try: the store recognises a repeat by ids. */
const idOf = (text: string): string => {
  const digest = createHash("sha256").update(text).digest("hex")
  return `${digest.slice(0, 8)}-${digest.slice(8, 12)}-8${digest.slice(13, 16)}-a${digest.slice(17, 20)}-${digest.slice(20, 32)}`
}
