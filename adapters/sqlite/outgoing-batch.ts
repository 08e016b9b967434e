/** Appends on their way to the journal's thread, in the form that is cheapest to hand over. */
import type * as Exit from "effect/Exit"
import { slotEntry } from "#adapters/sealing/append-contents.ts"
import type { Append, Appended, AppendRejected } from "#services/ports/journal.ts"
import type { JournalUnavailable } from "#services/ports/unavailable.ts"
import { eventLines } from "./event-record.ts"
import { type Cell, workKeep, workNone } from "./journal-protocol.ts"

export interface WaitingAppend {
  readonly append: Append
  readonly resume: (answer: Exit.Exit<Appended, AppendRejected | JournalUnavailable>) => void
}
/** A batch that still takes appends. */
export interface OpenBatch {
  readonly cells: Array<Cell>
  readonly newTypes: Array<Cell>
  readonly waiting: Array<WaitingAppend>
  readonly contents: Array<Uint8Array | string>
  contentBytes: number
  bytes: number
}
export const openBatch = (): OpenBatch => ({ cells: [], newTypes: [], waiting: [], contents: [], contentBytes: 0, bytes: 0 })

/** An append as text, and how large it is. */
export interface WrittenAppend {
  readonly events: string
  /** Slots and lengths of the contents; null: none. */
  readonly slots: string | null
  readonly contentBytes: number
  /** Events and contents together. */
  readonly bytes: number
}

/** As in a `ContentRef`. */
const slotPattern = /^[A-Za-z0-9_.-]{1,120}$/u
/** Contents that one append may carry. */
const contentsPerAppendMax = 1024

/** What is wrong with it is a defect of the caller. */
export const writtenAppend = ({ stream, events, contents }: Append): WrittenAppend | Error => {
  if (events.length === 0) return new Error(`An append to ${stream} holds no event.`)
  if (contents.length > contentsPerAppendMax) return new Error(`An append to ${stream} carries ${contents.length} contents.`)
  let text = ""
  let bytes = 0
  for (const { id, type, version, data } of events) {
    if (id.includes("\n") || type.includes("\n") || data.includes("\n"))
      return new Error(`An event of ${stream} has a line break in its id, its type or its JSON text.`)
    if (!Number.isSafeInteger(version)) return new Error(`An event of ${stream} has the version "${version}".`)
    const lines = eventLines(id, type, version, data)
    text = text === "" ? lines : `${text}\n${lines}`
    bytes += Buffer.byteLength(data)
  }
  let slots: string | null = null
  let contentBytes = 0
  for (const { slot, bytes } of contents) {
    if (!slotPattern.test(slot)) return new Error(`"${slot}" cannot name a content of ${stream}.`)
    const length = typeof bytes === "string" ? Buffer.byteLength(bytes) : bytes.length
    slots = slots === null ? slotEntry(slot, length) : `${slots},${slotEntry(slot, length)}`
    contentBytes += length
  }
  return { events: text, slots, contentBytes, bytes: bytes + contentBytes }
}

/** `together`: appends from this one on that are written together or not at all. */
export const putAppend = (
  batch: OpenBatch,
  waiting: WaitingAppend,
  { events, slots, contentBytes, bytes }: WrittenAppend,
  together = 1
): void => {
  const { scope, stream, expected, at, origin, workDue, events: list, contents } = waiting.append
  const work = workDue === undefined ? workKeep : (workDue ?? workNone)
  const originText = JSON.stringify(origin)
  const start = batch.contentBytes
  batch.cells.push(scope.space, scope.key, stream, expected, at, originText, work)
  batch.cells.push(list.length, events, slots, start, contentBytes, together)
  for (const { bytes: content } of contents) batch.contents.push(content)
  batch.contentBytes += contentBytes
  batch.bytes += bytes
  batch.waiting.push(waiting)
}

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
