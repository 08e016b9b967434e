/** Open work of the buckets that this process owns, folded from the log and held in memory. */
import type { Position } from "#domain/ids.ts"
import type { ScopeKey, StreamName } from "#domain/scope.ts"
import type { WorkItem } from "#services/ports/open-work.ts"
import { laterOf } from "./position.ts"
import type { RawEvent } from "./read-calls.ts"
import { isDomainEvent, readEvent } from "./recorded-event.ts"
import { WorkList } from "./work-list.ts"

/** What a checkpoint of a bucket holds. */
export interface BucketWork {
  /** Everything up to here is folded in. */
  readonly position: Position | null
  readonly items: ReadonlyArray<WorkItem>
}

interface Bucket {
  /** Takes part in the present reading of the log; not yet when it was just taken over. */
  reading: boolean
  /** Events up to here were folded before the present reading of the log began. */
  from: Position | null
  readonly items: Map<string, WorkItem>
  /** Changes since the last checkpoint. */
  changes: number
  /** How many events were folded in all when it was last checkpointed. */
  foldedAt: number
}

export class WorkFold {
  private readonly buckets = new Map<string, Bucket>()
  private readonly all = new WorkList()
  private readonly byKey = new Map<string, WorkList>()
  private applied: Position | null = null
  private folded = 0

  /** Up to where the present reading of the log has come. */
  get position(): Position | null {
    return this.applied
  }

  get owned(): ReadonlySet<string> {
    return new Set(this.buckets.keys())
  }

  add(bucket: string, { position, items }: BucketWork): void {
    const held: Bucket = { reading: false, from: position, items: new Map(), changes: 0, foldedAt: this.folded }
    this.buckets.set(bucket, held)
    for (const item of items) this.put(held, item)
  }

  drop(bucket: string): void {
    const held = this.buckets.get(bucket)
    if (held === undefined) return
    for (const item of [...held.items.values()]) this.take(held, item.stream)
    this.buckets.delete(bucket)
  }

  /** The log is read anew: gives the place behind which some bucket lacks events. */
  restart(): Position | null {
    let first: Position | null | undefined
    for (const bucket of this.buckets.values()) {
      bucket.from = this.reached(bucket)
      bucket.reading = true
      if (first === undefined || bucket.from === null || (first !== null && bucket.from < first)) first = bucket.from
    }
    this.applied = first ?? null
    return this.applied
  }

  /** Events come in the order of the log; throws `EventDamaged`. */
  apply(events: ReadonlyArray<RawEvent>, position: Position | null): void {
    for (const raw of events) {
      this.folded++
      const bucket = this.buckets.get(raw.stream.slice(0, 2))
      if (bucket?.reading !== true || (bucket.from !== null && raw.position <= bucket.from)) continue
      if (!isDomainEvent(raw)) this.change(bucket, raw.stream, null)
      else {
        const { event, metadata } = readEvent(raw)
        if (metadata.workDue === undefined) continue
        const item = metadata.workDue === null ? null : { scope: event.scope, stream: event.stream, dueAt: metadata.workDue }
        this.change(bucket, raw.stream, item)
      }
    }
    this.applied = laterOf(this.applied, position)
  }

  due(before: number, limit: number, key: ScopeKey | undefined, after: WorkItem | undefined): ReadonlyArray<WorkItem> {
    const list = key === undefined ? this.all : this.byKey.get(key)
    return list?.due(before, limit, after) ?? []
  }

  get summary(): { readonly open: number; readonly earliestDueAt: number | null } {
    return { open: this.all.size, earliestDueAt: this.all.first?.dueAt ?? null }
  }

  /** Buckets that a checkpoint is worth: so many changes, or so many events that a start would read again. */
  worthCheckpoint(changesMin: number, eventsMin: number): ReadonlyArray<string> {
    const found: Array<string> = []
    for (const [name, { changes, foldedAt }] of this.buckets)
      if (changes >= changesMin || this.folded - foldedAt >= eventsMin) found.push(name)
    return found
  }

  /** What a checkpoint of the bucket is to hold now. Undefined: it is not owned. */
  workOf(bucket: string): BucketWork | undefined {
    const held = this.buckets.get(bucket)
    return held === undefined ? undefined : { position: this.reached(held), items: [...held.items.values()] }
  }

  /** Called in the same turn as `workOf`. */
  checkpointed(bucket: string): void {
    const held = this.buckets.get(bucket)
    if (held === undefined) return
    held.changes = 0
    held.foldedAt = this.folded
  }

  private reached({ reading, from }: Bucket): Position | null {
    return reading ? laterOf(from, this.applied) : from
  }

  private change(bucket: Bucket, stream: string, item: WorkItem | null): void {
    const before = bucket.items.get(stream)
    if (before?.dueAt === item?.dueAt) return
    bucket.changes++
    if (before !== undefined) this.take(bucket, stream as StreamName)
    if (item !== null) this.put(bucket, item)
  }

  private put(bucket: Bucket, item: WorkItem): void {
    bucket.items.set(item.stream, item)
    this.all.add(item)
    let list = this.byKey.get(item.scope.key)
    if (list === undefined) {
      list = new WorkList()
      this.byKey.set(item.scope.key, list)
    }
    list.add(item)
  }

  private take(bucket: Bucket, stream: StreamName): void {
    const item = bucket.items.get(stream)
    if (item === undefined) return
    bucket.items.delete(stream)
    this.all.remove(item)
    const list = this.byKey.get(item.scope.key)!
    list.remove(item)
    if (list.size === 0) this.byKey.delete(item.scope.key)
  }
}
