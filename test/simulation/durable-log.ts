/** The log that outlives every process of a simulation: streams with events and contents, the order of all, and the open work. */
import { hash } from "node:crypto"
import type { Position } from "#domain/ids.ts"
import type { Scope, StreamName } from "#domain/scope.ts"
import type { Append, StoredEvent, StoredSnapshot } from "#services/ports/journal.ts"
import type { WorkItem } from "#services/ports/open-work.ts"

/** An event with what only the simulation knows: which life of which process wrote it, and when in truth. */
export interface WrittenEvent extends StoredEvent {
  readonly writer: string
  readonly writtenAt: number
}
interface WrittenAppend {
  readonly revision: number
  readonly position: Position
  readonly ids: string
}
/** What a crash of a careless store takes back. */
interface Undo {
  readonly stream: DurableStream
  readonly events: number
  readonly hash: string
  readonly workDue: number | null
  readonly writtenAt: number
}
export interface DurableStream {
  readonly scope: Scope
  readonly name: StreamName
  events: Array<WrittenEvent>
  appends: Array<WrittenAppend>
  revision: number
  hash: string
  contents: Map<string, Uint8Array>
  snapshots: Map<number, StoredSnapshot>
  workDue: number | null
  retired: boolean
}
export type Written =
  | { readonly _tag: "Written"; readonly revision: number; readonly position: Position; readonly repeated: boolean }
  | { readonly _tag: "Conflict"; readonly actual: number }
  | { readonly _tag: "Retired" }

/** Rules of the log that a simulation may break on purpose, to see that the checker notices. */
export interface LogDefects {
  /** Whatever revision is expected, the append goes behind the last event. */
  readonly ignoresRevisions?: boolean
  /** A crash takes back what was written last, although it was acknowledged: milliseconds. */
  readonly flushesAfter?: number
  /** What is left to do is not indexed. */
  readonly forgetsWork?: boolean
}

export const positionOf = (number: number): Position => String(number).padStart(16, "0") as Position
export const hashBeforeFirst = (stream: string): string => hash("sha256", stream)
/** What an append adds to its stream's chain of hashes (R33); `contents` are the slots, as their bytes are sealed apart. */
export const recordOf = ({ at, origin, events, contents }: Pick<Append, "at" | "origin" | "events" | "contents">): string => {
  let record = `${at}\n${JSON.stringify(origin)}\n${contents.map(({ slot }) => slot).join(" ")}`
  for (const { id, type, version, data } of events) record += `\n${id}\n${type}@${version}\n${data}`
  return record
}
export const hashAfter = (before: string, record: string): string => hash("sha256", `${before}\n${record}`)

const idsOf = (events: Append["events"]): string => events.map(({ id }) => id).join(" ")
const byDue = (left: DurableStream, right: DurableStream): number =>
  left.workDue! - right.workDue! || (left.name < right.name ? -1 : left.name > right.name ? 1 : 0)

export class DurableLog {
  readonly journalId = "simulated"
  streams = new Map<StreamName, DurableStream>()
  /** The whole log; retired events are holes. */
  all: Array<WrittenEvent | undefined> = []
  /** Streams with work, in no order. */
  open = new Map<StreamName, DurableStream>()
  /** Records of all appends, for the chain of hashes. */
  records = new Map<StreamName, Array<string>>()
  defects: LogDefects = {}
  /** Appends to what is there already that came too late: somebody else was first. */
  fenced = 0
  readonly #waiting = new Set<() => void>()
  readonly #undos: Array<Undo> = []
  readonly #listeners: Array<(type: string) => void> = []

  /** An independent copy; what was written is shared, as nobody changes it. */
  copy(): DurableLog {
    const copy = new DurableLog()
    for (const [name, stream] of this.streams) {
      const copied: DurableStream = {
        ...stream,
        events: [...stream.events],
        appends: [...stream.appends],
        contents: new Map(stream.contents),
        snapshots: new Map(stream.snapshots)
      }
      copy.streams.set(name, copied)
      if (copied.workDue !== null) copy.open.set(name, copied)
    }
    for (const [name, records] of this.records) copy.records.set(name, [...records])
    copy.all = [...this.all]
    return copy
  }

  append(append: Append, bytes: ReadonlyArray<Uint8Array>, writer: string, now: number): Written {
    const known = this.streams.get(append.stream)
    const there = this.#thereOf(append)
    if (there !== undefined) return { _tag: "Written", revision: there.revision, position: there.position, repeated: true }
    const refusal = this.refusalOf(append)
    if (refusal?._tag === "Conflict" && append.expected >= 0) this.fenced++
    if (refusal !== undefined && (refusal._tag === "Retired" || !this.defects.ignoresRevisions)) return refusal
    return this.#write(known ?? this.#create(append), append, bytes, writer, now)
  }

  /** Why an append would not be written; undefined: it would, or it has been. */
  refusalOf(append: Append): Exclude<Written, { readonly _tag: "Written" }> | undefined {
    const known = this.streams.get(append.stream)
    if (known?.retired) return { _tag: "Retired" }
    const actual = known?.revision ?? -1
    return actual === append.expected || this.#thereOf(append) !== undefined ? undefined : { _tag: "Conflict", actual }
  }

  #thereOf({ events, expected, stream }: Append): WrittenAppend | undefined {
    const known = this.streams.get(stream)
    if (known === undefined || known.retired || known.revision === expected) return undefined
    const revision = expected + events.length
    const ids = idsOf(events)
    return known.appends.find((each) => each.revision === revision && each.ids === ids)
  }

  #create({ scope, stream: name }: Append): DurableStream {
    const stream: DurableStream = {
      scope,
      name,
      events: [],
      appends: [],
      revision: -1,
      hash: hashBeforeFirst(name),
      contents: new Map(),
      snapshots: new Map(),
      workDue: null,
      retired: false
    }
    this.streams.set(name, stream)
    return stream
  }

  #write(stream: DurableStream, append: Append, bytes: ReadonlyArray<Uint8Array>, writer: string, now: number): Written {
    if (this.defects.flushesAfter !== undefined)
      this.#undos.push({ stream, events: append.events.length, hash: stream.hash, workDue: stream.workDue, writtenAt: now })
    const record = recordOf(append)
    stream.hash = hashAfter(stream.hash, record)
    const records = this.records.get(stream.name)
    if (records === undefined) this.records.set(stream.name, [record])
    else records.push(record)
    for (const { id, type, version, data } of append.events) {
      const event: WrittenEvent = {
        id,
        type,
        version,
        scope: stream.scope,
        stream: stream.name,
        revision: ++stream.revision,
        position: positionOf(this.all.length + 1),
        at: append.at,
        origin: append.origin,
        hash: stream.hash,
        data: JSON.parse(data) as Record<string, unknown>,
        writer,
        writtenAt: now
      }
      stream.events.push(event)
      this.all.push(event)
      for (const listener of this.#listeners) listener(type)
    }
    append.contents.forEach(({ slot }, index) => stream.contents.set(slot, bytes[index]!))
    if (append.workDue !== undefined && !this.defects.forgetsWork) this.#setWork(stream, append.workDue)
    const position = positionOf(this.all.length)
    stream.appends.push({ revision: stream.revision, position, ids: idsOf(append.events) })
    this.#wake()
    return { _tag: "Written", revision: stream.revision, position, repeated: false }
  }

  #setWork(stream: DurableStream, workDue: number | null): void {
    stream.workDue = workDue
    if (workDue === null) this.open.delete(stream.name)
    else this.open.set(stream.name, stream)
  }

  retire(name: StreamName, revision: number): boolean {
    const stream = this.streams.get(name)
    if (stream === undefined || stream.revision !== revision) return false
    for (const { position } of stream.events) this.all[Number(position) - 1] = undefined
    stream.retired = true
    stream.events = []
    stream.snapshots.clear()
    stream.contents.clear()
    this.#setWork(stream, null)
    return true
  }

  due(before: number, limit: number, wanted: (scope: Scope) => boolean, after: WorkItem | undefined): ReadonlyArray<WorkItem> {
    const found: Array<DurableStream> = []
    for (const stream of this.open.values()) {
      if (stream.workDue! > before || !wanted(stream.scope)) continue
      if (after !== undefined && byDue(stream, { workDue: after.dueAt, name: after.stream } as DurableStream) <= 0) continue
      found.push(stream)
    }
    return found
      .sort(byDue)
      .slice(0, limit)
      .map(({ scope, name, workDue }) => ({ scope, stream: name, dueAt: workDue! }))
  }

  /** Position of the newest event: its number, also when it was retired. */
  get head(): Position | null {
    return this.all.length === 0 ? null : positionOf(this.all.length)
  }

  /** Calls back once, at the next append. */
  onAppend(wake: () => void): () => void {
    this.#waiting.add(wake)
    return () => void this.#waiting.delete(wake)
  }

  /** Takes back what is not flushed yet, if this log is one that acknowledges too early. */
  loseUnflushed(now: number): void {
    const { flushesAfter } = this.defects
    if (flushesAfter === undefined) return
    for (let last = this.#undos.at(-1); last !== undefined && last.writtenAt > now - flushesAfter; last = this.#undos.at(-1)) {
      const { stream, events, hash, workDue } = last
      this.#undos.pop()
      this.all.length -= events
      stream.events.length -= events
      stream.revision -= events
      stream.hash = hash
      stream.appends.pop()
      this.records.get(stream.name)!.pop()
      this.#setWork(stream, workDue)
      if (stream.revision < 0) this.streams.delete(stream.name)
    }
  }

  /** Called with the type of each event from now on. */
  onEach(listener: (type: string) => void): void {
    this.#listeners.push(listener)
  }

  #wake(): void {
    if (this.#waiting.size === 0) return
    const woken = [...this.#waiting]
    this.#waiting.clear()
    for (const wake of woken) wake()
  }
}
