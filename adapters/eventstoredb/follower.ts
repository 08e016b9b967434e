/** A subscription to the log that does not end: after a failure it goes on where it was, with growing pauses. */
import * as Effect from "effect/Effect"
import type { Position } from "#domain/ids.ts"
import type { AnswerStream } from "./connection.ts"
import { laterOf } from "./position.ts"
import type { Mark, RawEvent, ReadCalls } from "./read-calls.ts"

export interface RawPage {
  readonly events: ReadonlyArray<RawEvent>
  readonly position: Position | null
  readonly atHead: boolean
}

/** Events held for a slower listener; then the server has to wait. */
const heldMax = 4_096
/** Pauses between the tries to subscribe again: doubled from the first to the last. */
const pauseMillis = { first: 50, last: 5_000 }

export class Follower {
  private readonly reads: ReadCalls
  private readonly limit: number
  private readonly names: string | null
  /** Of the newest event or mark that came. */
  private came: Position | null
  /** Of what was given in pages. */
  private given: Position | null
  private held: Array<RawEvent> = []
  private live = false
  /** There is something to say although no event is held: a mark, or the head. */
  private news = false
  private call: AnswerStream<unknown> | null = null
  private paused = false
  private closed = false
  private pause = pauseMillis.first
  private timer: NodeJS.Timeout | undefined
  private wake: (() => void) | null = null

  /** `names`: a regular expression for the streams' names; null: all of the log. */
  constructor(reads: ReadCalls, after: Position | null, limit: number, names: string | null = null) {
    this.reads = reads
    this.names = names
    this.limit = limit
    this.came = this.given = after
    this.subscribe()
  }

  /** Gives the next page, as soon as there is one, to one listener at a time. Returns how to stop waiting. */
  next(give: (page: RawPage) => void): () => void {
    let stopped = false
    this.wake = () => {
      if (!stopped) give(this.take())
    }
    if (this.held.length > 0 || this.news) this.rouse()
    return () => {
      stopped = true
    }
  }

  readonly page: Effect.Effect<RawPage> = Effect.callback((resume) => {
    const stop = this.next((page) => resume(Effect.succeed(page)))
    return Effect.sync(stop)
  })

  close(): void {
    this.closed = true
    clearTimeout(this.timer)
    this.call?.cancel()
  }

  private subscribe(): void {
    let over = false
    const again = () => {
      if (over || this.closed) return
      over = true
      this.call = null
      this.live = false
      this.timer = setTimeout(() => this.subscribe(), this.pause * (0.5 + Math.random()))
      this.pause = Math.min(this.pause * 2, pauseMillis.last)
    }
    this.paused = false
    this.reads
      .follow(this.came, this.names, {
        begin: (call) => {
          this.call = call
          if (this.closed) call.cancel()
        },
        tell: (mark) => {
          if (!over) this.hear(mark)
        },
        end: again
      })
      .catch(again)
  }

  private hear(mark: Mark): void {
    this.pause = pauseMillis.first
    if (mark.is === "live") {
      this.live = true
      this.news = true
    } else if (mark.is === "passed") {
      this.came = laterOf(this.came, mark.position)
      this.news ||= this.came !== this.given
    } else {
      this.came = mark.event.position
      this.held.push(mark.event)
      if (this.held.length >= heldMax && !this.paused) {
        this.paused = true
        this.call?.pause()
      }
    }
    if (this.wake !== null && (this.held.length > 0 || this.news)) this.rouse()
  }

  /** What comes in the same turn goes into the same page. */
  private rouse(): void {
    const wake = this.wake
    this.wake = null
    if (wake !== null) setImmediate(wake)
  }

  private take(): RawPage {
    const events = this.held.length <= this.limit ? this.held : this.held.slice(0, this.limit)
    this.held = events.length === this.held.length ? [] : this.held.slice(events.length)
    const all = this.held.length === 0
    this.given = all ? this.came : events.at(-1)!.position
    if (all) {
      this.news = false
      if (this.paused) {
        this.paused = false
        this.call?.resume()
      }
    }
    return { events, position: this.given, atHead: all && this.live }
  }
}
