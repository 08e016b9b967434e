/** Where each stream stands: its revision as the port counts and as the server does, and its hash. */
import { RecentMap } from "#adapters/memory/recent-map.ts"
import { hashBeforeFirst } from "#adapters/sqlite/event-record.ts"
import type { RawEvent, ReadCalls } from "./read-calls.ts"
import { contentType, isDomainEvent, readEvent, retiredType } from "./recorded-event.ts"

export interface Head {
  /** -1: absent. */
  readonly revision: number
  readonly serverRevision: number
  readonly hash: string
  readonly retired: boolean
}
/** What is left of a retired stream. */
export interface RetiredMark {
  readonly revision: number
  readonly hash: string
  readonly at: number
  readonly space: string
}

/** Held in memory; about 300 bytes each. */
const headsMax = 16_384
const marksPerRead = 32

export class StreamHeads {
  private readonly reads: ReadCalls
  private readonly heads = new RecentMap<string, Head>(headsMax)

  constructor(reads: ReadCalls) {
    this.reads = reads
  }

  /** As it was when this process last saw it: perhaps behind, never ahead. */
  known(stream: string): Head | undefined {
    return this.heads.get(stream)
  }

  keep(stream: string, head: Head): void {
    this.heads.set(stream, head)
  }

  forget(stream: string): void {
    this.heads.delete(stream)
  }

  /** Asks the store. An absent stream is not kept: somebody else may be making it. */
  async refresh(stream: string): Promise<Head> {
    const newest = (await this.reads.stream({ stream, backwards: true, limit: 1 }))?.[0]
    if (newest === undefined) {
      this.heads.delete(stream)
      return absentHead(stream)
    }
    const { serverRevision } = newest
    if (newest.type === retiredType) {
      const { revision, hash } = JSON.parse(Buffer.from(newest.data).toString("utf8")) as RetiredMark
      const head = { revision, serverRevision, hash, retired: true }
      this.heads.set(stream, head)
      return head
    }
    const last = newest.type === contentType ? await this.lastEvent(stream, serverRevision) : newest
    if (last === undefined) return { ...absentHead(stream), serverRevision }
    if (!isDomainEvent(last)) throw new Error(`${stream} ends with an event of the type "${last.type}", which is not ours.`)
    const { event } = readEvent(last)
    const head = { revision: event.revision, serverRevision, hash: event.hash, retired: false }
    this.heads.set(stream, head)
    return head
  }

  /** Of a stream that ends with marks of contents that were withdrawn. */
  private async lastEvent(stream: string, from: number): Promise<RawEvent | undefined> {
    for (let next = from; next >= 0; ) {
      const page = (await this.reads.stream({ stream, backwards: true, from: next, limit: marksPerRead })) ?? []
      const last = page.find(({ type }) => type !== contentType)
      if (last !== undefined || page.length === 0) return last
      next = page.at(-1)!.serverRevision - 1
    }
    return undefined
  }
}

export const absentHead = (stream: string): Head => ({ revision: -1, serverRevision: -1, hash: hashBeforeFirst(stream), retired: false })
