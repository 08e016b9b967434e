/** Reads a stream's domain events, whatever lies between them, and verifies what it reads. */
import { eventLines, hashBeforeFirst, nextHash, recordText } from "#adapters/sqlite/event-record.ts"
import type { ReadCalls } from "./read-calls.ts"
import { DomainEvent, EventDamaged, isDomainEvent, type ReadEvent, readEvent, retiredType } from "./recorded-event.ts"

/** Events of one read of the store; contents count too. */
const pageMax = 512

export interface StreamEvents {
  readonly events: ReadonlyArray<ReadEvent>
  readonly retired: boolean
}

/**
 * The events from a revision on. `hint` is a server's revision at or before the first one that is wanted: contents only ever push
 * events behind the revision that the port counts, so that this one will do.
 */
export const readStreamEvents = async (
  reads: ReadCalls,
  stream: string,
  from: number,
  limit: number,
  hint = Math.max(0, from)
): Promise<StreamEvents> => {
  const events: Array<ReadEvent> = []
  for (let next = hint; ; ) {
    const page = await reads.stream({ stream, from: next, limit: pageMax })
    if (page === null) return { events, retired: false }
    for (const raw of page) {
      if (raw.type === retiredType) return { events: [], retired: true }
      if (!isDomainEvent(raw)) continue
      const read = readEvent(raw)
      if (read.event.revision < from) continue
      if (events.length === limit) return { events, retired: false }
      events.push(read)
    }
    if (page.length < pageMax) return { events, retired: false }
    next = page.at(-1)!.serverRevision + 1
  }
}

/** Events of one append share their hash and follow each other. */
export const appendsOf = (events: ReadonlyArray<ReadEvent>): ReadonlyArray<ReadonlyArray<ReadEvent>> => {
  const appends: Array<Array<ReadEvent>> = []
  for (const read of events) {
    const last = appends.at(-1)
    if (last !== undefined && last[0]!.event.hash === read.event.hash) last.push(read)
    else appends.push([read])
  }
  return appends
}

/** Checks the chain of hashes of a stream that was read whole (R33). Throws `EventDamaged`. */
export const verifyChain = (stream: string, events: ReadonlyArray<ReadEvent>): void => {
  let hash = hashBeforeFirst(stream)
  let revision = -1
  for (const append of appendsOf(events)) {
    const [{ event, metadata }] = append as [ReadEvent]
    const lines = append.map(({ event: { id, type, version }, event }) => eventLines(id, type, version, DomainEvent.textOf(event)))
    hash = nextHash(hash, recordText(event.at, JSON.stringify(event.origin), metadata.contents ?? null, lines.join("\n")))
    const inOrder = append.every((read) => read.event.revision === ++revision)
    if (hash !== event.hash || !inOrder)
      throw new EventDamaged(
        `${stream} is damaged: at revision ${event.revision} its hash does not follow from what is stored. Restore the journal from a backup`
      )
  }
}
