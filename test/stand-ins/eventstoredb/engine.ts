/** The stand-in's engine: one log in memory, its streams, and EventStoreDB's rules of expected revisions and repeated ids. */
import type { Disk } from "./disk.ts"

export interface LoggedEvent {
  /** Place in the log; grows by the size of what is written, as on the real server. */
  readonly position: number
  readonly stream: string
  readonly revision: number
  readonly id: string
  readonly type: string
  readonly contentType: string
  readonly data: Uint8Array
  readonly metadata: Uint8Array
  readonly createdMillis: number
}
export type Proposed = Pick<LoggedEvent, "id" | "type" | "contentType" | "data" | "metadata">
export type Expected = "any" | "no_stream" | "stream_exists" | number
export type AppendOutcome =
  | { readonly is: "written" | "repeated"; readonly revision: number; readonly position: number }
  | { readonly is: "conflict"; readonly actual: number }
  | { readonly is: "too-large"; readonly limit: number }
  | { readonly is: "tombstoned" }

interface Stream {
  readonly events: Array<LoggedEvent>
  maxCount: number
  truncateBefore: number
  softDeleted: boolean
  tombstoned: boolean
}

export interface EngineOptions {
  readonly appendBytesMax: number
  /** The real server forgets ids of "any" appends when its cache is cold: then a repeat is written again. */
  readonly coldIds: boolean
}

/** As the server counts an event against its limit. */
export const sizeOf = ({ type, data, metadata }: Proposed): number => data.length + metadata.length + 2 * type.length

export class Engine {
  readonly options: EngineOptions
  log: Array<LoggedEvent> = []
  private readonly streams = new Map<string, Stream>()
  private readonly listeners = new Set<() => void>()
  private readonly disk: Disk | null
  private nextPosition = 1_000
  /** Ids of recent events, for "any" appends on a warm server. */
  private readonly recentIds = new Map<string, LoggedEvent>()

  constructor(options: EngineOptions, disk: Disk | null) {
    this.options = options
    this.disk = disk
    for (const event of disk?.load() ?? []) this.keep(event)
  }

  append(name: string, expected: Expected, proposed: ReadonlyArray<Proposed>): AppendOutcome {
    const bytes = proposed.reduce((sum, event) => sum + sizeOf(event), 0)
    if (bytes > this.options.appendBytesMax) return { is: "too-large", limit: this.options.appendBytesMax }
    const stream = this.streams.get(name)
    if (stream?.tombstoned === true) return { is: "tombstoned" }
    const current = stream === undefined ? -1 : stream.events.length - 1
    const checked = this.check(name, stream, current, expected, proposed)
    if (checked !== null) return checked
    if (proposed.length === 0) return { is: "written", revision: Math.max(0, current), position: this.headPosition }
    const events = proposed.map((event, index): LoggedEvent => {
      const position = this.nextPosition
      this.nextPosition += 120 + sizeOf(event)
      return { ...event, position, stream: name, revision: current + 1 + index, createdMillis: Date.now() }
    })
    this.disk?.save(events)
    for (const event of events) this.keep(event)
    for (const wake of this.listeners) wake()
    const last = events.at(-1)!
    return { is: "written", revision: last.revision, position: last.position }
  }

  /** Null: to be written. */
  private check(
    name: string,
    stream: Stream | undefined,
    current: number,
    expected: Expected,
    proposed: ReadonlyArray<Proposed>
  ): AppendOutcome | null {
    const conflict = { is: "conflict", actual: stream?.softDeleted === true ? -1 : current } as const
    if (expected === "any" || expected === "stream_exists") {
      if (expected === "stream_exists" && conflict.actual < 0) return conflict
      const there = this.options.coldIds || proposed.length === 0 ? undefined : this.recentIds.get(`${name} ${proposed[0]!.id}`)
      if (there === undefined) return null
      return this.sameFrom(stream!, there.revision, proposed) ?? conflict
    }
    const wanted = expected === "no_stream" ? -1 : expected
    if (wanted === current || (wanted === -1 && stream?.softDeleted === true)) return null
    if (wanted > current || stream === undefined) return conflict
    return this.sameFrom(stream, wanted + 1, proposed) ?? conflict
  }

  /** What is truncated is compared all the same, until it is scavenged. */
  private sameFrom(stream: Stream, revision: number, proposed: ReadonlyArray<Proposed>): AppendOutcome | null {
    if (proposed.length === 0) return null
    for (const [index, { id }] of proposed.entries()) if (stream.events[revision + index]?.id !== id) return null
    const last = stream.events[revision + proposed.length - 1]!
    return { is: "repeated", revision: last.revision, position: last.position }
  }

  /** Undefined: there is no such stream, or it was deleted. */
  visible(
    name: string
  ): { readonly first: number; readonly last: number; readonly at: (revision: number) => LoggedEvent | undefined } | undefined {
    const stream = this.streams.get(name)
    if (stream === undefined || stream.softDeleted || stream.events.length === 0) return undefined
    const last = stream.events.length - 1
    const first = Math.max(stream.truncateBefore, last + 1 - stream.maxCount, 0)
    return { first, last, at: (revision) => stream.events[revision] }
  }

  isTombstoned(name: string): boolean {
    return this.streams.get(name)?.tombstoned === true
  }

  /** Deletes so that the name can be used again, or for ever. */
  remove(name: string, expected: Expected, forEver: boolean): AppendOutcome {
    const stream = this.streams.get(name)
    if (stream?.tombstoned === true) return { is: "tombstoned" }
    const current = stream === undefined || stream.softDeleted ? -1 : stream.events.length - 1
    const wanted = expected === "no_stream" ? -1 : expected
    if (current === -1 || (typeof wanted === "number" && wanted !== current)) return { is: "conflict", actual: current }
    if (forEver) {
      const tombstone = { id: crypto.randomUUID(), type: "$streamDeleted", contentType: "application/octet-stream" }
      return this.append(name, current, [{ ...tombstone, data: new Uint8Array(), metadata: new Uint8Array() }])
    }
    const data = Buffer.from(JSON.stringify({ $tb: Number.MAX_SAFE_INTEGER }))
    const deleted = { id: crypto.randomUUID(), type: "$metadata", contentType: "application/json", data, metadata: new Uint8Array() }
    return this.append(`$$${name}`, "any", [deleted])
  }

  /** Index of the first event at or behind a position. */
  indexAt(position: number): number {
    let low = 0
    let high = this.log.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.log[middle]!.position < position) low = middle + 1
      else high = middle
    }
    return low
  }

  get headPosition(): number {
    return this.log.at(-1)?.position ?? 0
  }

  onCommit(wake: () => void): () => void {
    this.listeners.add(wake)
    return () => void this.listeners.delete(wake)
  }

  /** Drops what streams have truncated from the log too. */
  scavenge(): number {
    const before = this.log.length
    this.log = this.log.filter(({ stream, revision }) => {
      const visible = this.visible(stream)
      return visible === undefined ? stream.startsWith("$") : revision >= visible.first
    })
    for (const [name, stream] of this.streams) {
      const first = this.visible(name)?.first ?? 0
      for (let revision = 0; revision < first; revision++) delete stream.events[revision]
    }
    return before - this.log.length
  }

  /** Empties everything, positions go on. */
  wipe(): void {
    this.log = []
    this.streams.clear()
    this.recentIds.clear()
    this.disk?.wipe()
  }

  private keep(event: LoggedEvent): void {
    this.nextPosition = Math.max(this.nextPosition, event.position + 120 + sizeOf(event))
    this.log.push(event)
    let stream = this.streams.get(event.stream)
    if (stream === undefined) {
      stream = { events: [], maxCount: Number.POSITIVE_INFINITY, truncateBefore: 0, softDeleted: false, tombstoned: false }
      this.streams.set(event.stream, stream)
      this.applyMetadata(event.stream, this.streams.get(`$$${event.stream}`)?.events.at(-1))
    }
    if (stream.softDeleted) {
      stream.softDeleted = false
      stream.truncateBefore = event.revision
    }
    stream.events[event.revision] = event
    if (event.type === "$streamDeleted") stream.tombstoned = true
    if (event.stream.startsWith("$$")) this.applyMetadata(event.stream.slice(2), event)
    if (!this.options.coldIds) this.recentIds.set(`${event.stream} ${event.id}`, event)
  }

  private applyMetadata(name: string, event: LoggedEvent | undefined): void {
    const stream = this.streams.get(name)
    if (stream === undefined || event === undefined) return
    const { $maxCount, $tb } = JSON.parse(Buffer.from(event.data).toString()) as { readonly $maxCount?: number; readonly $tb?: number }
    stream.maxCount = $maxCount ?? Number.POSITIVE_INFINITY
    stream.truncateBefore = $tb ?? 0
    stream.softDeleted = $tb === Number.MAX_SAFE_INTEGER
  }
}
