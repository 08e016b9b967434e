/**
 * Collects large contents that lie beside the journal and have no event: a process ended between storing one and appending what
 * refers to it. None is removed that an append refers to, or could still refer to, however late it comes.
 */
import { randomUUID } from "node:crypto"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import type { CollectableContents, PutContent } from "#adapters/sealing/large-contents.ts"
import { Ownership } from "#services/ports/ownership.ts"
import { attempt } from "./attempt.ts"
import { type ContentMetadata, contentMetadata } from "./contents.ts"
import { jsonBytes, Store, type StoreDriver } from "./driver.ts"
import type { RawEvent } from "./read-calls.ts"
import { contentType, retiredType } from "./recorded-event.ts"

/** Appends take seconds: what is younger is not looked at, so that hardly anything is that could still be referred to. */
const ageMillisMin = 24 * 3600_000
const contentsPerStep = 100
const sweepMinutes = 60
const stepPauseMillis = 1_000
/** Events of one read of a stream. */
const pageMax = 256

/**
 * Written behind a stream's last event before a content of that stream is removed: an append that was on its way expects the
 * revision before it and is refused, and whoever tries it again stores its contents again. Of the type of contents, so that
 * every reader passes over it.
 */
interface WithdrawnMark extends ContentMetadata {
  readonly withdrawn: string
  readonly putAt: number
}

export interface Collected {
  readonly looked: number
  readonly referenced: number
  readonly removed: number
  /** Where the next step goes on; null: there are no more. */
  readonly after: PutContent | null
}

export class OrphanedContents {
  private readonly driver: StoreDriver
  private readonly contents: CollectableContents
  private readonly isOwned: (bucket: string) => boolean

  constructor(driver: StoreDriver, contents: CollectableContents, isOwned: (bucket: string) => boolean) {
    this.driver = driver
    this.contents = contents
    this.isOwned = isOwned
  }

  /** Looks at the next ones. Each can be looked at again, and by two processes at once. Rejects with `StoreFailure` or `SealingFailed`. */
  async step(now: number, after: PutContent | null, limit = contentsPerStep): Promise<Collected> {
    const found = await this.contents.putBefore(now - ageMillisMin, after, limit)
    let [referenced, removed] = [0, 0]
    for (const content of found) {
      if (!this.isOwned(content.id.slice(0, 2))) continue
      const { is, last } = await this.judge(content)
      if (is === "referenced") {
        await this.contents.markReferenced(content)
        referenced++
      } else if ((is === "out of reach" || (await this.withdraw(content, last))) && (await this.contents.removePut(content))) removed++
    }
    return { looked: found.length, referenced, removed, after: found.length < limit ? null : found.at(-1)! }
  }

  /** Reads the content's whole stream. "Out of reach": no append can refer to this put of it any more. */
  private async judge(content: PutContent): Promise<{ readonly is: "referenced" | "out of reach" | "orphaned"; readonly last: number }> {
    const stream = content.id.slice(0, content.id.indexOf("#"))
    let newest: RawEvent | undefined
    for (;;) {
      const page = await this.driver.reads.stream({ stream, from: (newest?.serverRevision ?? -1) + 1, limit: pageMax })
      for (const raw of page ?? []) {
        if (raw.type === contentType && contentMetadata(raw)?.large === content.id) return { is: "referenced", last: raw.serverRevision }
        newest = raw
      }
      if (page === null || page.length < pageMax) break
    }
    const last = newest?.serverRevision ?? -1
    if (newest?.type === retiredType) return { is: "out of reach", last }
    const mark = newest?.type === contentType ? (contentMetadata(newest) as WithdrawnMark | null) : null
    return { is: mark?.withdrawn === content.id && mark.putAt === content.putAt ? "out of reach" : "orphaned", last }
  }

  /** False: the stream went on meanwhile. */
  private async withdraw({ id, putAt }: PutContent, last: number): Promise<boolean> {
    const mark: WithdrawnMark = { slot: "", keyVersion: 0, revision: -1, withdrawn: id, putAt }
    const event = { id: randomUUID(), type: contentType, json: false, data: new Uint8Array(), metadata: jsonBytes(mark) }
    return (await this.driver.append(id.slice(0, id.indexOf("#")), last, [event])).is === "written"
  }
}

/** Sweeps now and then over the contents of the buckets that this process owns. What fails is left to the next sweep. */
export const layer = (contents: CollectableContents): Layer.Layer<never, never, Store | Ownership> =>
  Layer.effectDiscard(
    Effect.gen(function* () {
      const driver = yield* Store
      const { owned } = yield* Ownership
      const orphaned = new OrphanedContents(driver, contents, (bucket) => owned().has(bucket))
      const sweep = Effect.gen(function* () {
        let after: PutContent | null = null
        let removed = 0
        do {
          const now = yield* Clock.currentTimeMillis
          const collected: Collected = yield* attempt(() => orphaned.step(now, after))
          removed += collected.removed
          after = collected.after
          if (after !== null) yield* Effect.sleep(stepPauseMillis)
        } while (after !== null)
        if (removed > 0) yield* Effect.logInfo(`Removed ${removed} large contents whose events were never written.`)
      })
      const told = Effect.catchTag(sweep, "JournalUnavailable", ({ reason }) =>
        Effect.logWarning(`Large contents without events were not looked for: ${reason}. It is tried again in ${sweepMinutes} minutes.`)
      )
      yield* told.pipe(Effect.delay(`${sweepMinutes} minutes`), Effect.repeat(Schedule.forever), Effect.forkScoped)
    })
  )
