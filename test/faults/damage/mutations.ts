/** Ways to damage a data folder: a log that ends early, a bit that is the other way round. */
import type { Random } from "../random.ts"
import type { FileName, LeftFolder } from "./folders.ts"

export interface Mutation {
  readonly kind: "log cut" | "log bit" | "main bit" | "vault log bit" | "vault main bit"
  readonly file: FileName
  /** What was done, for the report. */
  readonly said: string
  readonly content: Uint8Array
}

const logHeaderBytes = 32
const frameHeaderBytes = 24
const framesAtEnd = 64

/** Where the frames begin that belong to the log's present life: later ones have the salt of an earlier one. */
const framesOf = (log: Uint8Array): { readonly offsets: ReadonlyArray<number>; readonly pageBytes: number } => {
  const view = Buffer.from(log.buffer, log.byteOffset, log.byteLength)
  if (view.length < logHeaderBytes) return { offsets: [], pageBytes: 0 }
  const pageBytes = view.readUInt32BE(8)
  const salt = view.subarray(16, 24)
  const offsets: Array<number> = []
  for (let at = logHeaderBytes; at + frameHeaderBytes + pageBytes <= view.length; at += frameHeaderBytes + pageBytes) {
    if (!view.subarray(at + 8, at + 16).equals(salt)) break
    offsets.push(at)
  }
  return { offsets, pageBytes }
}

const flipped = (bytes: Uint8Array, offset: number, bit: number): Uint8Array => {
  const copy = Uint8Array.from(bytes)
  copy[offset]! ^= 1 << bit
  return copy
}

/** Within a frame: its border, its header and its page, cut in sectors and in the midst of one. */
const cutsInFrame = (pageBytes: number): ReadonlyArray<number> =>
  [0, 1, 8, 23, 24, 24 + 511, 24 + 512, 24 + 4096, 24 + 5000, 24 + pageBytes - 1].filter((cut) => cut < frameHeaderBytes + pageBytes)

/** Every offset class of the last 64 frames. */
export const logCuts = (left: LeftFolder, file: FileName): ReadonlyArray<Mutation> => {
  const log = left.files[file]
  const { offsets, pageBytes } = framesOf(log)
  return offsets.slice(-framesAtEnd).flatMap((frame) =>
    cutsInFrame(pageBytes).map((cut) => ({
      kind: "log cut" as const,
      file,
      said: `${file} (${left.state}) cut at ${frame + cut}`,
      content: log.subarray(0, frame + cut)
    }))
  )
}

export const logBit = (left: LeftFolder, file: "journal.db-wal" | "vault.db-wal", random: Random): Mutation | undefined => {
  const log = left.files[file]
  const { offsets, pageBytes } = framesOf(log)
  if (offsets.length === 0) return undefined
  const frame = random.oneOf(offsets.slice(-framesAtEnd))
  const chance = random.next()
  const offset =
    chance < 0.1
      ? random.below(logHeaderBytes)
      : chance < 0.4
        ? frame + random.below(frameHeaderBytes)
        : frame + frameHeaderBytes + random.below(pageBytes)
  const bit = random.below(8)
  return {
    kind: file === "journal.db-wal" ? "log bit" : "vault log bit",
    file,
    said: `${file} (${left.state}) bit ${bit} of byte ${offset}`,
    content: flipped(log, offset, bit)
  }
}

/** Half of them in a page's first bytes, where its structure is: elsewhere is mostly content. */
const structureBytes = 160

export const mainBit = (left: LeftFolder, file: "journal.db" | "vault.db", random: Random): Mutation | undefined => {
  const main = left.files[file]
  if (main.length === 0) return undefined
  const pageBytes = Buffer.from(main.buffer, main.byteOffset, main.byteLength).readUInt16BE(16)
  const page = random.below(main.length / pageBytes)
  const offset = page * pageBytes + random.below(random.next() < 0.5 ? structureBytes : pageBytes)
  const bit = random.below(8)
  return {
    kind: file === "journal.db" ? "main bit" : "vault main bit",
    file,
    said: `${file} (${left.state}) bit ${bit} of byte ${offset} (page ${page + 1}, byte ${offset % pageBytes})`,
    content: flipped(main, offset, bit)
  }
}
