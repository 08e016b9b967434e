/** All collections, and the file that keeps them over a kill: appended to and flushed before a write is answered. */
import { existsSync, mkdirSync, readFileSync, truncateSync } from "node:fs"
import { type FileHandle, open } from "node:fs/promises"
import { join } from "node:path"
import { type Document, deserialize, serialize } from "bson"
import { Collection, type IndexSpec } from "./collection.ts"

type Entry =
  | { readonly put: string; readonly key: string; readonly document: Document }
  | { readonly remove: string; readonly key: string }
  | { readonly drop: string }
  | { readonly index: string; readonly spec: IndexSpec }

export class Store {
  readonly collections = new Map<string, Collection>()
  /** Counts commits. */
  commits = 0
  #file: FileHandle | null = null
  #waiting: Array<Uint8Array> = []
  #flushing: Promise<void> = Promise.resolve()

  /** `folder` null: in memory alone. */
  static async open(folder: string | null): Promise<Store> {
    const store = new Store()
    if (folder === null) return store
    mkdirSync(folder, { recursive: true })
    const path = join(folder, "log.bson")
    store.#load(path)
    store.#file = await open(path, "a")
    return store
  }

  collection(namespace: string): Collection {
    const known = this.collections.get(namespace)
    if (known !== undefined) return known
    const made = new Collection(namespace, ({ key, document }) => {
      this.#log(document === null ? { remove: namespace, key } : { put: namespace, key, document })
      return ++this.commits
    })
    this.collections.set(namespace, made)
    return made
  }

  createIndex(namespace: string, spec: IndexSpec): void {
    if (this.collection(namespace).createIndex(spec)) this.#log({ index: namespace, spec })
  }

  drop(namespace: string): boolean {
    if (!this.collections.delete(namespace)) return false
    this.#log({ drop: namespace })
    return true
  }

  /** Settles when all that was committed before is on disk; those who wait together share one flush. */
  durable(): Promise<void> {
    if (this.#file === null) return this.#flushing
    this.#flushing = this.#flushing.then(async () => {
      if (this.#waiting.length === 0) return
      const bytes = Buffer.concat(this.#waiting)
      this.#waiting = []
      await this.#file!.write(bytes)
      await this.#file!.datasync()
    })
    return this.#flushing
  }

  #log(entry: Entry): void {
    if (this.#file !== null) this.#waiting.push(serialize(entry))
  }

  /** A record that was cut short by a kill ends the file. */
  #load(path: string): void {
    if (!existsSync(path)) return
    const bytes = readFileSync(path)
    let at = 0
    while (at + 4 <= bytes.length && at + bytes.readInt32LE(at) <= bytes.length) {
      const end = at + bytes.readInt32LE(at)
      this.#apply(deserialize(bytes.subarray(at, end)) as Entry)
      at = end
    }
    if (at < bytes.length) truncateSync(path, at)
  }

  #apply(entry: Entry): void {
    if ("put" in entry) this.collection(entry.put).restore({ namespace: entry.put, key: entry.key, document: entry.document })
    else if ("remove" in entry) this.collection(entry.remove).restore({ namespace: entry.remove, key: entry.key, document: null })
    else if ("index" in entry) this.collection(entry.index).createIndex(entry.spec)
    else this.collections.delete(entry.drop)
  }
}
