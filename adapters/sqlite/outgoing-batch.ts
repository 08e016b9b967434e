/** Appends on their way to the journal's thread, in the form that is cheapest to hand over. */
import type { Effect } from "effect"
import type { Append, Appended, AppendRejected } from "#services/ports/journal.ts"
import type { JournalUnavailable } from "#services/ports/unavailable.ts"
import { type Cell, workKeep, workNone } from "./journal-protocol.ts"

export interface WaitingAppend {
  readonly append: Append
  readonly resume: (answer: Effect.Effect<Appended, AppendRejected | JournalUnavailable>) => void
}
/** A batch that still takes appends. */
export interface OpenBatch {
  readonly cells: Array<Cell>
  readonly waiting: Array<WaitingAppend>
  readonly contents: Array<Uint8Array | string>
  contentBytes: number
  bytes: number
}
export const openBatch = (): OpenBatch => ({ cells: [], waiting: [], contents: [], contentBytes: 0, bytes: 0 })

export const writeCells = (batch: OpenBatch, append: Append): void => {
  const { scope, stream, expected, at, origin, workDue, events, contents } = append
  const cells = batch.cells
  const work = workDue === undefined ? workKeep : (workDue ?? workNone)
  cells.push(scope.space, scope.key, stream, expected, at, originText(origin), work, events.length, contents.length)
  for (const { id, type, version, data } of events) cells.push(id, type, version, data)
  let offset = batch.contents.length === 0 ? 0 : batch.contentBytes
  for (const { slot, bytes } of contents) {
    const length = typeof bytes === "string" ? Buffer.byteLength(bytes) : bytes.length
    cells.push(slot, offset, length)
    batch.contents.push(bytes)
    offset += length
  }
}

const originText = (origin: Append["origin"]): string => JSON.stringify(origin)

/** All contents of a batch behind each other, in a buffer of its own: a view into a shared one would be cloned whole. */
export const packOf = (batch: OpenBatch): ArrayBuffer | null => {
  if (batch.contents.length === 0) return null
  const pack = Buffer.allocUnsafeSlow(batch.contentBytes)
  let offset = 0
  for (const bytes of batch.contents) {
    if (typeof bytes === "string") offset += pack.write(bytes, offset, "utf8")
    else {
      pack.set(bytes, offset)
      offset += bytes.length
    }
  }
  return pack.buffer as ArrayBuffer
}
