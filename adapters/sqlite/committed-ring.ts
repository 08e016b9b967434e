/** The newest committed events in memory while somebody follows them: what is read without asking the journal's thread. */
import type { Append, StoredEvent } from "#services/ports/journal.ts"
import { hashCharacters } from "./journal-protocol.ts"
import { EventOfRow } from "./stored-event.ts"

/** Events held, and the characters of their fields: about 16 MiB at most. */
const eventsMax = 8_192
const charactersMax = 8 * 1024 * 1024

/** One committed append; its events are built when somebody asks. */
interface Committed {
  readonly firstPosition: number
  readonly lastPosition: number
  readonly characters: number
  readonly build: () => ReadonlyArray<StoredEvent>
}

/** Stands in the place of what was trimmed. */
const letGo: Committed = { firstPosition: 0, lastPosition: 0, characters: 0, build: () => [] }

export class CommittedRing {
  private appends: Array<Committed> = []
  private first = 0
  private events = 0
  private characters = 0
  private last: number
  /** Events added since somebody read last. */
  private unread = Number.POSITIVE_INFINITY

  /** Starts empty, after the position of the newest event. */
  constructor(head: number) {
    this.last = head
  }

  get head(): number {
    return this.last
  }

  /** Takes a committed append; its hash stands in `hashes` from `hashAt` on. Appends come in the order of their positions; after a gap the ring starts anew. */
  add(append: Append, lastPosition: number, lastRevision: number, hashes: string, hashAt: number): void {
    const count = append.events.length
    const firstPosition = lastPosition - count + 1
    if (firstPosition !== this.last + 1) this.clear()
    this.last = lastPosition
    // Held for nobody, all of this would only grow old in memory.
    if (this.unread > eventsMax) {
      this.clear()
      return
    }
    this.unread += count
    const characters = append.events.reduce((sum, { data }) => sum + data.length, 0)
    const { scope, stream, events, at, origin } = append
    let built: ReadonlyArray<StoredEvent> | undefined
    const build = () =>
      (built ??= events.map(({ id, type, version, data }, index) => {
        const revision = lastRevision - count + 1 + index
        const hash = hashes.slice(hashAt, hashAt + hashCharacters)
        return new EventOfRow(firstPosition + index, scope, stream, revision, id, type, version, at, origin, data, hash)
      }))
    this.appends.push({ firstPosition, lastPosition, characters, build })
    this.events += count
    this.characters += characters
    this.trim()
  }

  /** The events after a position, at most about `limit` of them (whole appends), or null when the ring no longer reaches back. */
  after(position: number, limit: number): ReadonlyArray<StoredEvent> | null {
    this.unread = 0
    if (position >= this.last) return []
    const oldest = this.appends[this.first]
    if (oldest === undefined || position < oldest.firstPosition - 1) return null
    const events: Array<StoredEvent> = []
    for (let at = this.indexAfter(position); at < this.appends.length && events.length < limit; at++) {
      const { firstPosition, build } = this.appends[at]!
      const there = build()
      const skipped = Math.max(0, position - firstPosition + 1)
      const taken = Math.min(there.length, skipped + limit - events.length)
      for (let index = skipped; index < taken; index++) events.push(there[index]!)
    }
    return events
  }

  /** Index of the append that holds the first event after a position. */
  private indexAfter(position: number): number {
    let low = this.first
    let high = this.appends.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.appends[middle]!.lastPosition <= position) low = middle + 1
      else high = middle
    }
    return low
  }

  private trim(): void {
    while (this.events > eventsMax || this.characters > charactersMax) {
      const oldest = this.appends[this.first]!
      this.events -= oldest.lastPosition - oldest.firstPosition + 1
      this.characters -= oldest.characters
      this.appends[this.first++] = letGo
    }
    if (this.first < 4_096 || this.first < this.appends.length >> 1) return
    this.appends = this.appends.slice(this.first)
    this.first = 0
  }

  private clear(): void {
    if (this.appends.length > 0) this.appends = []
    this.first = this.events = this.characters = 0
  }
}
