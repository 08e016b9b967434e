/** Appends to the store: one after the other within a stream, many streams at once, conflicts told from repeats. */
import { nextHash, recordText } from "#adapters/sqlite/event-record.ts"
import { type WrittenAppend, writtenAppend } from "#adapters/sqlite/outgoing-batch.ts"
import type { Position } from "#domain/ids.ts"
import {
  type Append,
  type Appended,
  type AppendRejected,
  AppendTooLarge,
  RevisionConflict,
  StreamRetired
} from "#services/ports/journal.ts"
import type { ProposedEvent } from "./append-calls.ts"
import { ContentPlaces, type ContentStores, type SealedContents, sealContents } from "./contents.ts"
import { jsonBytes, type StoreDriver } from "./driver.ts"
import type { EventTypes } from "./event-types.ts"
import { StoreFailure } from "./failure.ts"
import { checksumOf, type EventMetadata } from "./recorded-event.ts"
import { absentHead, type Head, type StreamHeads } from "./stream-heads.ts"
import { appendsOf, readStreamEvents } from "./stream-reader.ts"

/** Appends on their way, and what is more waits; beyond that they are refused (R9, R35). */
const inFlightMax = 512
const waitingMax = 65_536
/** What the store counts of an event beside its data and metadata, and then some. */
const eventOverhead = 64
/** Heads that were behind and had to be asked for again within one append. */
const staleMax = 4
const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/u

export type AppendAnswer = Appended | AppendRejected

export class Appender {
  readonly heads: StreamHeads
  readonly places = new ContentPlaces()
  private readonly driver: StoreDriver
  private readonly types: EventTypes
  private readonly contents: ContentStores
  private readonly appendBytesMax: number
  /** The store's own limit of an append. */
  private readonly storeBytesMax: number
  /** The last append of each stream that has one under way. */
  private readonly tails = new Map<string, Promise<unknown>>()
  private waiting = 0
  private inFlight = 0
  private readonly starts: Array<() => void> = []
  private last: Position | null = null

  constructor(
    driver: StoreDriver,
    heads: StreamHeads,
    types: EventTypes,
    contents: ContentStores,
    limits: { readonly appendBytesMax: number; readonly storeBytesMax: number }
  ) {
    this.driver = driver
    this.heads = heads
    this.types = types
    this.contents = contents
    this.appendBytesMax = limits.appendBytesMax
    this.storeBytesMax = limits.storeBytesMax
  }

  get bytesMax(): number {
    return this.appendBytesMax
  }

  /** Position of the newest event that was written from here. */
  get newestOwn(): Position | null {
    return this.last
  }

  /** Rejects with `StoreFailure`, or with what is a defect of the caller. */
  append(append: Append): Promise<AppendAnswer> {
    const text = checkedAppend(append)
    if (text instanceof Error) return Promise.reject(text)
    if (text.bytes > this.appendBytesMax) return Promise.resolve(new AppendTooLarge({ bytes: text.bytes, limitBytes: this.appendBytesMax }))
    if (this.waiting >= waitingMax)
      return Promise.reject(new StoreFailure({ kind: "other", written: "no", reason: `${this.waiting} appends wait already` }))
    // The caller may go on using its buffers.
    const contents = append.contents.map(({ slot, bytes }) => ({ slot, bytes: typeof bytes === "string" ? bytes : Uint8Array.from(bytes) }))
    return this.inOrder(append.stream, () => this.write({ ...append, contents }, text))
  }

  /** One thing after the other for each stream. */
  async inOrder<A>(stream: string, work: () => Promise<A>): Promise<A> {
    this.waiting++
    const before = this.tails.get(stream)
    const turn = (before ?? Promise.resolve()).then(() => this.admitted(work))
    const tail = turn.catch(() => undefined)
    this.tails.set(stream, tail)
    try {
      return await turn
    } finally {
      this.waiting--
      if (this.tails.get(stream) === tail) this.tails.delete(stream)
    }
  }

  private async admitted<A>(work: () => Promise<A>): Promise<A> {
    if (this.inFlight >= inFlightMax) await new Promise<void>((resolve) => this.starts.push(resolve))
    this.inFlight++
    try {
      return await work()
    } finally {
      this.inFlight--
      this.starts.shift()?.()
    }
  }

  private async write(append: Append, text: WrittenAppend): Promise<AppendAnswer> {
    const { stream, expected } = append
    const missing = this.types.missing(append.events)
    if (missing !== null) await this.types.store(missing)
    // What is expected to be absent mostly is: it is written without looking first.
    let head = this.heads.known(stream) ?? (expected === -1 ? absentHead(stream) : undefined)
    for (let tries = 0; tries < staleMax; tries++) {
      if (head?.revision !== expected) head = await this.heads.refresh(stream)
      if (head.retired) return new StreamRetired({ stream })
      if (head.revision !== expected) return this.elsewhere(append, head)
      const answer = await this.writeAt(append, text, head)
      if (answer !== null) return answer
      head = undefined
    }
    throw new StoreFailure({ kind: "other", written: "no", reason: `${stream} changes all the time` })
  }

  /** Null: the head was behind, or the append had been written before: ask for the head again. */
  private async writeAt(append: Append, { events: lines, bytes }: WrittenAppend, head: Head): Promise<AppendAnswer | null> {
    const { stream, events, contents } = append
    const revision = head.revision + events.length
    const domainBytes = events.reduce((sum, { data, type }) => sum + Buffer.byteLength(data) + 2 * type.length, 0)
    const overhead = events.length * (eventOverhead + metadataBytes(append))
    const sealed =
      contents.length === 0 ? null : await sealContents(this.contents, append, revision, this.storeBytesMax - domainBytes - overhead)
    const hash = nextHash(head.hash, recordText(append.at, JSON.stringify(append.origin), sealed?.text ?? null, lines))
    const proposed = [...(sealed?.events ?? []), ...proposedEvents(append, head.revision, hash, sealed?.text)]
    const outcome = await this.driver.append(stream, head.serverRevision, proposed)
    if (outcome.is === "written" && outcome.fresh) {
      const position = outcome.position!
      this.heads.keep(stream, { revision, serverRevision: outcome.revision, hash, retired: false })
      // Contents come first, in their order.
      for (const [index, { slot }] of contents.entries()) this.places.set(stream, slot, head.serverRevision + 1 + index)
      if (this.last === null || position > this.last) this.last = position
      return { revision, position, repeated: false }
    }
    if (outcome.is === "written") return this.elsewhere(append, await this.heads.refresh(stream))
    await this.dropLarge(sealed)
    if (outcome.is === "closed") return new StreamRetired({ stream })
    if (outcome.is === "too-large") return new AppendTooLarge({ bytes, limitBytes: outcome.limit })
    this.heads.forget(stream)
    return null
  }

  /** The stream is not where it was expected to be: this very append was written before, or another one. */
  private async elsewhere({ stream, expected, events }: Append, head: Head): Promise<AppendAnswer> {
    if (head.retired) return new StreamRetired({ stream })
    const conflict = new RevisionConflict({ stream: stream, expected, actual: head.revision })
    if (head.revision < expected + events.length) return conflict
    const { events: there } = await readStreamEvents(
      this.driver.reads,
      stream,
      Math.max(0, expected),
      events.length + 2,
      Math.max(0, expected)
    )
    const last = expected + events.length
    const own = appendsOf(there).find((append) => append.at(-1)!.event.revision === last)
    const next = there.find(({ event }) => event.revision === last + 1)
    if (own === undefined || own.length !== events.length || next?.event.hash === own[0]!.event.hash) return conflict
    if (own.some(({ event }, index) => event.id !== events[index]!.id)) return conflict
    return { revision: last, position: own.at(-1)!.event.position, repeated: true }
  }

  /** Contents of an append that was not written; their ids are of this append alone. */
  private async dropLarge(sealed: SealedContents | null): Promise<void> {
    if (sealed !== null && sealed.largeIds.length > 0) await this.contents.large.remove(sealed.largeIds).catch(() => undefined)
  }
}

const checkedAppend = (append: Append): WrittenAppend | Error => {
  for (const { id, data, type } of append.events) {
    if (!uuid.test(id)) return new Error(`"${id}" of ${append.stream} is no UUID: EventStoreDB takes no other id.`)
    if (!/^[A-Z]/u.test(type)) return new Error(`"${type}" of ${append.stream} does not begin with a capital, as types of the domain do.`)
    try {
      JSON.parse(data)
    } catch {
      return new Error(`An event of ${append.stream} holds no JSON. Nothing was written.`)
    }
  }
  return writtenAppend(append)
}

/** More than the metadata of one event needs. */
const metadataBytes = ({ origin, contents }: Append): number =>
  512 + Buffer.byteLength(JSON.stringify(origin)) + contents.reduce((sum, { slot }) => sum + slot.length + 10, 0)

export const proposedEvents = (
  append: Append,
  before: number,
  hash: string,
  contents: string | undefined
): ReadonlyArray<ProposedEvent> => {
  const { scope, stream, at, origin, events, workDue } = append
  return events.map(({ id, type, version, data }, index) => {
    const facts: Omit<EventMetadata, "checksum"> = {
      version,
      revision: before + 1 + index,
      at,
      space: scope.space,
      origin,
      hash,
      ...(index === 0 && contents !== undefined ? { contents } : {}),
      ...(index === events.length - 1 && workDue !== undefined ? { workDue } : {})
    }
    const metadata: EventMetadata = { ...facts, checksum: checksumOf(stream, id, type, data, facts) }
    return { id, type, json: true, data: new Uint8Array(Buffer.from(data, "utf8")), metadata: jsonBytes(metadata) }
  })
}
