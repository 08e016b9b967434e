/**
 * A disk that loses power: it is fed a recording, knows what was flushed, and gives the files as they could be found afterwards.
 * Only what a flush has covered is sure: of a file by the flush of the file, of a name by the flush of its folder.
 */
import { mkdirSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import type { Random } from "../random.ts"
import type { Entry } from "./recording.ts"

/** What becomes of the writes that no flush covered: none is there, all are, or any of their sectors. */
export type Loss = "dropped" | "kept" | { readonly tornSectorBytes: number }

type Change =
  | { readonly entry: number; readonly offset: number; readonly bytes: Uint8Array }
  | { readonly entry: number; readonly size: number }

/** Bytes that grow. */
class Bytes {
  private held: Buffer
  length: number

  constructor(from?: Bytes) {
    this.held = from === undefined ? Buffer.alloc(0) : Buffer.from(from.view())
    this.length = from?.length ?? 0
  }
  view(): Buffer {
    return this.held.subarray(0, this.length)
  }
  resize(size: number): void {
    if (size > this.held.length) {
      const larger = Buffer.alloc(Math.max(size, this.held.length * 2))
      this.held.copy(larger, 0, 0, this.length)
      this.held = larger
    }
    if (size > this.length) this.held.fill(0, this.length, size)
    this.length = size
  }
  write(offset: number, bytes: Uint8Array): void {
    if (offset + bytes.length > this.length) this.resize(offset + bytes.length)
    this.held.set(bytes, offset)
  }
  apply(change: Change): void {
    if ("size" in change) this.resize(change.size)
    else this.write(change.offset, change.bytes)
  }
}

interface File {
  readonly flushed: Bytes
  pending: Array<Change>
}
/** A name given or taken; `file` undefined: taken, null: a folder. */
interface NameChange {
  readonly entry: number
  readonly path: string
  readonly file: File | null | undefined
}

export class Disk {
  private readonly root: string
  private readonly files = new Map<string, File>()
  private readonly folders = new Map<string, string>()
  /** As the process sees it. */
  private readonly names = new Map<string, File | null>()
  private readonly flushedNames = new Map<string, File | null>()
  private pendingNames: Array<NameChange> = []
  private from: string | undefined
  private entry = 0
  /** Writes not covered by a flush now. */
  unflushed = 0

  /** `folders`: those that were there before the recording. */
  constructor(root: string, folders: ReadonlyArray<string> = []) {
    this.root = root
    for (const folder of folders) for (const names of [this.names, this.flushedNames]) names.set(folder, null)
  }

  /** Counts an entry that is none of the disk's. */
  pass(): void {
    this.entry++
  }

  feed(entry: Entry): void {
    const at = this.entry++
    if (entry.op === "write") this.change(entry.inode, { entry: at, offset: entry.offset, bytes: entry.bytes })
    else if (entry.op === "truncate") this.change(entry.inode, { entry: at, size: entry.size })
    else if (entry.op === "sync") this.flush(entry.inode, entry.before)
    else if (entry.op === "syncfolder") this.flushNames(this.folders.get(entry.inode), entry.before)
    else if (entry.op === "folder") this.folders.set(entry.inode, entry.path)
    else if (entry.op === "mkdir") this.name(at, entry.path, null)
    else if (entry.op === "unlink") this.name(at, entry.path, undefined)
    else if (entry.op === "rename") this.from = entry.path
    else if (entry.op === "to") {
      // The new name comes first: after a loss of power it stands for the old file or for the new one.
      const from = this.from!
      this.name(at, entry.path, this.names.get(from))
      this.name(at, from, undefined)
    } else if (entry.op === "create") {
      const file: File = { flushed: new Bytes(), pending: [] }
      this.files.set(entry.inode, file)
      this.name(at, entry.path, file)
    }
  }

  /** The files that are found when the power goes now; paths are relative to the root. */
  lose(loss: Loss, random: Random): ReadonlyMap<string, Uint8Array> {
    const names = new Map(this.flushedNames)
    const kept = loss === "kept" ? this.pendingNames.length : loss === "dropped" ? 0 : random.below(this.pendingNames.length + 1)
    for (const change of this.pendingNames.slice(0, kept)) setName(names, change)
    const found = new Map<string, Uint8Array>()
    for (const [path, file] of names) {
      if (file === null || !this.reachable(names, path)) continue
      found.set(path.slice(this.root.length + 1), loss === "dropped" ? file.flushed.view() : contentAfter(file, loss, random))
    }
    return found
  }

  private reachable(names: ReadonlyMap<string, File | null>, path: string): boolean {
    const folder = dirname(path)
    return folder === this.root || (names.has(folder) && this.reachable(names, folder))
  }
  private flush(inode: string, before: number): void {
    const file = this.files.get(inode)
    if (file === undefined) return
    const covered = file.pending.filter(({ entry }) => entry < before)
    for (const change of covered) file.flushed.apply(change)
    file.pending = file.pending.filter(({ entry }) => entry >= before)
    this.unflushed -= covered.length
  }
  private flushNames(folder: string | undefined, before: number): void {
    const covers = ({ entry, path }: NameChange) => entry < before && dirname(path) === folder
    for (const change of this.pendingNames.filter(covers)) setName(this.flushedNames, change)
    this.pendingNames = this.pendingNames.filter((change) => !covers(change))
  }
  private name(entry: number, path: string, file: File | null | undefined): void {
    setName(this.names, { entry, path, file })
    this.pendingNames.push({ entry, path, file })
  }
  private change(inode: string, change: Change): void {
    const file = this.files.get(inode)
    if (file === undefined) return
    file.pending.push(change)
    this.unflushed++
  }
}

const setName = (names: Map<string, File | null>, { path, file }: NameChange): void => {
  if (file === undefined) names.delete(path)
  else names.set(path, file)
}

const contentAfter = (file: File, loss: "kept" | { readonly tornSectorBytes: number }, random: Random): Uint8Array => {
  const content = new Bytes(file.flushed)
  for (const change of file.pending)
    if (loss === "kept") content.apply(change)
    else if ("size" in change) {
      if (random.next() < 0.5) content.apply(change)
    } else
      for (let start = change.offset; start < change.offset + change.bytes.length; ) {
        const end = Math.min(change.offset + change.bytes.length, (Math.floor(start / loss.tornSectorBytes) + 1) * loss.tornSectorBytes)
        if (random.next() < 0.5) content.write(start, change.bytes.subarray(start - change.offset, end - change.offset))
        start = end
      }
  return content.view()
}

/** Puts files into a folder. */
export const store = (folder: string, files: ReadonlyMap<string, Uint8Array>): void => {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  for (const [path, content] of files) {
    mkdirSync(dirname(join(folder, path)), { recursive: true, mode: 0o700 })
    writeFileSync(join(folder, path), content, { mode: 0o600 })
  }
}
