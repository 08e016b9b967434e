/** Work items in the order (due, stream), cut into short runs: an insertion moves one run alone. */
import type { WorkItem } from "#services/ports/open-work.ts"

const runMax = 512

/** Below zero when the first comes first. */
const compare = (one: Pick<WorkItem, "dueAt" | "stream">, two: Pick<WorkItem, "dueAt" | "stream">): number =>
  one.dueAt - two.dueAt || (one.stream < two.stream ? -1 : one.stream > two.stream ? 1 : 0)

/** Index of the first entry that comes behind an item. */
const firstBehind = <A>(entries: ReadonlyArray<A>, item: Pick<WorkItem, "dueAt" | "stream">, of: (entry: A) => WorkItem): number => {
  let low = 0
  let high = entries.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (compare(of(entries[middle]!), item) <= 0) low = middle + 1
    else high = middle
  }
  return low
}
const itself = (item: WorkItem) => item
const firstOf = (run: ReadonlyArray<WorkItem>) => run[0]!

export class WorkList {
  private readonly runs: Array<Array<WorkItem>> = []
  size = 0

  get first(): WorkItem | undefined {
    return this.runs[0]?.[0]
  }

  add(item: WorkItem): void {
    this.size++
    const index = Math.max(0, firstBehind(this.runs, item, firstOf) - 1)
    const run = this.runs[index]
    if (run === undefined) {
      this.runs.push([item])
      return
    }
    run.splice(firstBehind(run, item, itself), 0, item)
    if (run.length > runMax) this.runs.splice(index + 1, 0, run.splice(runMax >> 1))
  }

  remove(item: WorkItem): void {
    const index = firstBehind(this.runs, item, firstOf) - 1
    const run = this.runs[index]
    const at = run === undefined ? -1 : firstBehind(run, item, itself) - 1
    if (run === undefined || at < 0 || compare(run[at]!, item) !== 0) return
    this.size--
    run.splice(at, 1)
    if (run.length === 0) this.runs.splice(index, 1)
  }

  /** Items due at or before a time, behind another one, in order. */
  due(before: number, limit: number, after: WorkItem | undefined): ReadonlyArray<WorkItem> {
    const found: Array<WorkItem> = []
    let index = after === undefined ? 0 : Math.max(0, firstBehind(this.runs, after, firstOf) - 1)
    let at = after === undefined || this.runs[index] === undefined ? 0 : firstBehind(this.runs[index]!, after, itself)
    for (; index < this.runs.length; index++, at = 0)
      for (const run = this.runs[index]!; at < run.length; at++) {
        const item = run[at]!
        if (found.length >= limit || item.dueAt > before) return found
        found.push(item)
      }
    return found
  }
}
