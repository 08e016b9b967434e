/**
 * Checkpoints of open work, one stream per bucket. Each is written at the exact revision of the one before: who took the bucket over
 * has written since, and a stale owner's next checkpoint is refused.
 */
import { randomUUID } from "node:crypto"
import type { Position } from "#domain/ids.ts"
import { type StreamName, scopeOf } from "#domain/scope.ts"
import type { WorkItem } from "#services/ports/open-work.ts"
import type { ProposedEvent } from "./append-calls.ts"
import { jsonBytes, type StoreDriver } from "./driver.ts"
import { StoreFailure } from "./failure.ts"
import type { RawEvent } from "./read-calls.ts"
import type { BucketWork } from "./work-fold.ts"

interface PartMetadata {
  readonly position: Position | null
  /** From 1; the last one completes the checkpoint. */
  readonly part: number
  readonly parts: number
  /** Who wrote it: an owner recognises its own, when the answer was lost. */
  readonly owner: string
}
/** Space, stream, due. */
type ItemCells = readonly [string, string, number]

export interface Checkpoint extends BucketWork {
  /** Revision of the checkpoints' stream; -1: there is none. */
  readonly revision: number
}

/** Items of one part: about 110 bytes each, within the smallest append that a server takes by default. */
const itemsPerPart = 6_000
/** A bucket with more open work is not checkpointed any more: its log is read from the last one. */
const partsMax = 64
/** Two checkpoints of the largest size: the complete one outlives one that was begun. */
const keptMax = 2 * partsMax
const claimTries = 8

const streamOf = (bucket: string): string => `open-work-${bucket}`

export class WorkCheckpoints {
  private readonly driver: StoreDriver
  private readonly owner = randomUUID()

  constructor(driver: StoreDriver) {
    this.driver = driver
  }

  /** Takes a bucket over: reads its newest checkpoint, and writes it again so that nobody else goes on from it. */
  async claim(bucket: string): Promise<Checkpoint> {
    for (let tries = 0; tries < claimTries; tries++) {
      const found = await this.read(bucket)
      if (found.revision < 0) await this.driver.keepNewest(streamOf(bucket), keptMax)
      const revision = await this.write(bucket, found.revision, found)
      if (revision !== null) return { ...found, revision }
    }
    throw new StoreFailure({ kind: "other", written: "no", reason: `the bucket ${bucket} is claimed by others all the time` })
  }

  /** The stream's new revision, or null: somebody else owns the bucket by now. */
  async write(bucket: string, expected: number, { position, items }: BucketWork): Promise<number | null> {
    const parts = Math.max(1, Math.ceil(items.length / itemsPerPart))
    if (parts > partsMax) return expected
    let revision = expected
    for (let part = 1; part <= parts; part++) {
      const event = this.partEvent(position, items, part, parts)
      let answer = await this.driver.append(streamOf(bucket), revision, [event])
      // An earlier write of its own may have been there without an answer.
      const own = answer.is === "conflict" ? await this.ownRevision(bucket) : null
      if (own !== null) answer = await this.driver.append(streamOf(bucket), own, [event])
      if (answer.is !== "written") return null
      revision = answer.revision
    }
    return revision
  }

  private async read(bucket: string): Promise<Checkpoint> {
    const stream = streamOf(bucket)
    const newest = (await this.driver.reads.stream({ stream, backwards: true, limit: 1 }))?.[0]
    if (newest === undefined) return { position: null, items: [], revision: -1 }
    const revision = newest.serverRevision
    let last: RawEvent | undefined = newest
    // What was begun and not completed does not count: the one before it does.
    while (last !== undefined && metadataOf(last).part !== metadataOf(last).parts) {
      const before: number = last.serverRevision - metadataOf(last).part
      const found: RawEvent | undefined = before < 0 ? undefined : (await this.driver.reads.stream({ stream, from: before, limit: 1 }))?.[0]
      last = found?.serverRevision === before ? found : undefined
    }
    if (last === undefined) return { position: null, items: [], revision }
    const { parts, position } = metadataOf(last)
    const from = last.serverRevision - parts + 1
    const events = parts === 1 ? [last] : ((await this.driver.reads.stream({ stream, from, limit: parts })) ?? [])
    return { position, items: events.flatMap(itemsOf), revision }
  }

  private async ownRevision(bucket: string): Promise<number | null> {
    const newest = (await this.driver.reads.stream({ stream: streamOf(bucket), backwards: true, limit: 1 }))?.[0]
    return newest !== undefined && metadataOf(newest).owner === this.owner ? newest.serverRevision : null
  }

  private partEvent(position: Position | null, items: ReadonlyArray<WorkItem>, part: number, parts: number): ProposedEvent {
    const cells = items
      .slice((part - 1) * itemsPerPart, part * itemsPerPart)
      .map(({ scope, stream, dueAt }): ItemCells => [scope.space, stream, dueAt])
    const metadata: PartMetadata = { position, part, parts, owner: this.owner }
    return { id: randomUUID(), type: "open-work", json: true, data: jsonBytes(cells), metadata: jsonBytes(metadata) }
  }
}

const metadataOf = ({ metadata }: RawEvent): PartMetadata => JSON.parse(Buffer.from(metadata).toString("utf8")) as PartMetadata

const itemsOf = ({ data }: RawEvent): ReadonlyArray<WorkItem> =>
  (JSON.parse(Buffer.from(data).toString("utf8")) as ReadonlyArray<ItemCells>).map(([space, stream, dueAt]) => ({
    scope: scopeOf(space, stream.slice(3, stream.indexOf("/", 3))),
    stream: stream as StreamName,
    dueAt
  }))
