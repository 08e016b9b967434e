/**
 * Finds streams by their names. Names come in no order, so that each new one would dirty a page of an index somewhere: they gather
 * in memory, and the index in the file takes them a slice of its range at a time, many to a page. A crash loses none: those that
 * may be missing from the index are the newest streams.
 */
import { hashBeforeFirst } from "./event-record.ts"
import type { Statements } from "./journal-statements.ts"

/** The index's range is swept in so many slices, one whenever so many streams have come. */
const slices = 64
const streamsPerSlice = 128
/** Found at a start, more than this were left by processes that ended before their sweep did: this one hurries through its first. */
const leftOverMax = 2 * slices * streamsPerSlice
/** A name's number: the first 52 bits of its hash. Two names may share it. */
const numberDigits = 13
const numbersPerSlice = 16 ** numberDigits / slices

export const nameNumber = (hashOfName: string): number => Number.parseInt(hashOfName.slice(0, numberDigits), 16)

/** `run-abc` of `3f/<scope>/run-abc`. */
export const localOf = (scope: string, stream: string): string => stream.slice(scope.length + 4)

interface Recent {
  readonly stream: string
  readonly number: number
  readonly id: number
}

export class StreamNames {
  private readonly sql: Statements
  /** Those that the index in the file may not have. */
  private readonly recent = new Map<string, number>()
  private readonly gathered: ReadonlyArray<Array<Recent>> = Array.from({ length: slices }, () => [])
  private sinceSlice = 0
  private nextSlice = 0
  private newestId = 0
  /** All streams up to here are in the index once this sweep is over. */
  private sweptTo = 0
  private isBehind = false

  constructor(sql: Statements) {
    this.sql = sql
    this.reload()
  }

  /** Reads the newest streams again: after a start, or when a transaction was rolled back. */
  reload(): void {
    this.recent.clear()
    for (const slice of this.gathered) slice.length = 0
    this.sinceSlice = this.nextSlice = 0
    const rows = this.sql.unindexedStreams.iterate() as unknown as Iterable<{ id: number; number: number; stream: string }>
    for (const { id, number, stream } of rows) this.gather({ stream, number, id })
    this.isBehind = this.recent.size > leftOverMax
    this.newestId = this.sweptTo = (this.sql.newestStream.get() as { id: number }).id
  }

  /** The stream's number, or undefined when there is no stream of this name. `hashOfName` is its `hashBeforeFirst`. */
  find(scope: string, stream: string, hashOfName = hashBeforeFirst(stream)): number | undefined {
    return (
      this.recent.get(stream) ??
      (this.sql.findStream.get(nameNumber(hashOfName), localOf(scope, stream), scope) as { id: number } | undefined)?.id
    )
  }

  /** Stores a stream of a new name; returns its number. */
  add(scopeId: number, scope: string, stream: string, hashOfName: string, workDue: number | null): number {
    const id = ++this.newestId
    const number = nameNumber(hashOfName)
    this.sql.insertStream.run(id, scopeId, localOf(scope, stream), number, workDue)
    this.gather({ stream, number, id })
    if (++this.sinceSlice === streamsPerSlice || this.isBehind) this.indexSlice()
    return id
  }

  private gather(recent: Recent): void {
    this.recent.set(recent.stream, recent.id)
    this.gathered[Math.floor(recent.number / numbersPerSlice)]!.push(recent)
  }

  private indexSlice(): void {
    const slice = this.gathered[this.nextSlice]!
    slice.sort((left, right) => left.number - right.number)
    for (const { number, id, stream } of slice) {
      this.sql.insertName.run(number, id)
      this.recent.delete(stream)
    }
    slice.length = 0
    this.sinceSlice = 0
    this.nextSlice = (this.nextSlice + 1) % slices
    if (this.nextSlice > 0) return
    this.sql.indexedUpTo.run(this.sweptTo)
    this.sweptTo = this.newestId
    this.isBehind = false
  }
}
