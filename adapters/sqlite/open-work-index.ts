/**
 * Open work by scope, in memory: the truth, and its order by due time, lie in the journal's file. A second index there would cost
 * each append a page of its own, one per tenant.
 */
import type { DatabaseSync } from "node:sqlite"

/** One scope's items, sorted by due time and stream: two lists side by side, with room at their front. */
interface Items {
  readonly dueAt: Array<number>
  readonly streamIds: Array<number>
  /** Places at the front that hold nothing any more. */
  start: number
}

export class OpenWorkIndex {
  private readonly db: DatabaseSync
  private readonly byScope = new Map<number, Items>()

  constructor(db: DatabaseSync) {
    this.db = db
    this.reload()
  }

  /** Reads the file again: after a start, or when a transaction was rolled back. Costs by open items, not by history. */
  reload(): void {
    this.byScope.clear()
    const rows = this.db.prepare("SELECT scope_id, due_at, id FROM streams WHERE due_at IS NOT NULL ORDER BY scope_id, due_at, id")
    rows.setReturnArrays(true)
    for (const row of rows.iterate()) {
      const [scopeId, dueAt, streamId] = row as unknown as readonly [number, number, number]
      const items = this.itemsOf(scopeId)
      items.dueAt.push(dueAt)
      items.streamIds.push(streamId)
    }
  }

  add(scopeId: number, dueAt: number, streamId: number): void {
    const items = this.itemsOf(scopeId)
    insertAt(items, firstAfter(items, dueAt, streamId), dueAt, streamId)
  }

  /** A scope without items keeps nothing. */
  remove(scopeId: number, dueAt: number, streamId: number): void {
    const items = this.byScope.get(scopeId)
    if (items === undefined) return
    const at = firstAfter(items, dueAt, streamId) - 1
    if (at < items.start || items.streamIds[at] !== streamId || items.dueAt[at] !== dueAt) return
    removeAt(items, at)
    if (items.dueAt.length === items.start) this.byScope.delete(scopeId)
  }

  /** Visits what is due at or before a time, after an item of the order. */
  due(
    scopeId: number,
    before: number,
    afterDue: number,
    afterId: number,
    limit: number,
    visit: (streamId: number, dueAt: number) => void
  ): void {
    const items = this.byScope.get(scopeId)
    if (items === undefined) return
    const start = firstAfter(items, afterDue, afterId)
    for (let at = start; at < items.dueAt.length && at < start + limit && items.dueAt[at]! <= before; at++)
      visit(items.streamIds[at]!, items.dueAt[at]!)
  }

  private itemsOf(scopeId: number): Items {
    const found = this.byScope.get(scopeId)
    if (found !== undefined) return found
    const items: Items = { dueAt: [], streamIds: [], start: 0 }
    this.byScope.set(scopeId, items)
    return items
  }
}

/** Index of the first item behind (dueAt, streamId) in the order. */
const firstAfter = ({ dueAt, streamIds, start }: Items, due: number, streamId: number): number => {
  let low = start
  let high = dueAt.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (dueAt[middle]! < due || (dueAt[middle] === due && streamIds[middle]! <= streamId)) low = middle + 1
    else high = middle
  }
  return low
}

/** Empty places at the front beyond which they are given back, once they are more than half of all. */
const startMax = 8

const insertAt = (items: Items, at: number, due: number, streamId: number): void => {
  const { dueAt, streamIds, start } = items
  if (start === 0 || at - start > dueAt.length - at) {
    dueAt.splice(at, 0, due)
    streamIds.splice(at, 0, streamId)
    return
  }
  dueAt.copyWithin(start - 1, start, at)
  streamIds.copyWithin(start - 1, start, at)
  dueAt[at - 1] = due
  streamIds[at - 1] = streamId
  items.start--
}

/** The oldest go first, from in front of all that wait: the shorter side moves. */
const removeAt = (items: Items, at: number): void => {
  const { dueAt, streamIds, start } = items
  if (at - start > dueAt.length - at) {
    dueAt.splice(at, 1)
    streamIds.splice(at, 1)
    return
  }
  dueAt.copyWithin(start + 1, start, at)
  streamIds.copyWithin(start + 1, start, at)
  items.start++
  if (items.start <= startMax || items.start < dueAt.length >> 1) return
  dueAt.splice(0, items.start)
  streamIds.splice(0, items.start)
  items.start = 0
}
