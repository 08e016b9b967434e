/** One collection: documents by id, equality on the first field of each index, and what open transactions hold back. */
import { type Document, EJSON, ObjectId } from "bson"
import { CommandFailed } from "./failures.ts"
import type { Transaction } from "./transactions.ts"
import { updated } from "./updates.ts"
import { bySort, matches, valueAt } from "./values.ts"

export interface IndexSpec {
  readonly name: string
  readonly key: Document
  readonly unique?: boolean
}
interface Index extends IndexSpec {
  readonly first: string
  /** Ids of documents, and of those that open transactions write, by the first field. */
  readonly byFirst: Map<unknown, Set<string>>
  readonly taken: Map<string, string>
}
interface Entry {
  /** Null: only an open transaction has it. */
  document: Document | null
  /** When it was committed; see `Transaction.startedAt`. */
  committedAt: number
  pending: { readonly by: Transaction; readonly document: Document | null } | null
}
export interface Change {
  readonly namespace: string
  readonly key: string
  /** Null: removed. */
  readonly document: Document | null
}
/** Takes what is committed, in order. */
export type Commit = (change: Change) => number

/** Somebody's open transaction has written the document: outside of one, the writer waits. */
export class Locked extends Error {
  readonly by: Transaction
  constructor(by: Transaction) {
    super("locked")
    this.by = by
  }
}

const keyOf = (id: unknown): string => (typeof id === "string" ? `s${id}` : `j${EJSON.stringify(id)}`)

export class Collection {
  readonly namespace: string
  readonly #commit: Commit
  readonly #entries = new Map<string, Entry>()
  readonly #indexes = new Map<string, Index>()

  constructor(namespace: string, commit: Commit) {
    this.namespace = namespace
    this.#commit = commit
  }

  get indexes(): ReadonlyArray<IndexSpec> {
    const own = [...this.#indexes.values()].map(({ name, key, unique }) => ({ name, key, ...(unique === true ? { unique } : {}) }))
    return [{ name: "_id_", key: { _id: 1 } }, ...own]
  }

  get count(): number {
    let count = 0
    for (const { document } of this.#entries.values()) if (document !== null) count++
    return count
  }

  createIndex(spec: IndexSpec): boolean {
    if (this.#indexes.has(spec.name)) return false
    const index: Index = { ...spec, first: Object.keys(spec.key)[0]!, byFirst: new Map(), taken: new Map() }
    for (const [key, entry] of this.#entries) if (entry.document !== null) this.#enter(index, key, entry.document)
    this.#indexes.set(spec.name, index)
    return true
  }

  find(filter: Document, transaction: Transaction | null, sort?: Document): Array<Document> {
    const found: Array<Document> = []
    for (const key of this.#candidates(filter)) {
      const document = this.#seen(this.#entries.get(key), transaction)
      if (document !== null && matches(filter, document)) found.push(document)
    }
    return sort === undefined || Object.keys(sort).length === 0 ? found : found.sort(bySort(sort))
  }

  insert(given: Document, transaction: Transaction | null): void {
    const document = given["_id"] === undefined ? { _id: new ObjectId(), ...given } : given
    const key = keyOf(document["_id"])
    const entry = this.#entries.get(key)
    this.#lock(entry, transaction)
    if (this.#seen(entry, transaction) !== null) throw this.#duplicate("_id_", { _id: document["_id"] })
    this.#write(key, document, transaction)
  }

  /** The document after it, and how many were matched and changed. */
  update(
    { q, u, upsert, multi }: Document,
    transaction: Transaction | null
  ): {
    readonly matched: number
    readonly modified: number
    readonly upserted?: unknown
    readonly before?: Document
    readonly after?: Document
  } {
    const found = this.find(q as Document, transaction)
    const chosen = multi === true ? found : found.slice(0, 1)
    if (chosen.length === 0 && upsert === true) {
      const made = updated(null, u, q as Document)
      const document: Document = made["_id"] === undefined ? { ...made, _id: new ObjectId() } : made
      this.insert(document, transaction)
      return { matched: 0, modified: 0, upserted: document["_id"], after: document }
    }
    let modified = 0
    let after: Document | undefined
    for (const before of chosen) {
      const key = keyOf(before["_id"])
      this.#lock(this.#entries.get(key), transaction)
      after = updated(before, u, q as Document)
      if (EJSON.stringify(after) === EJSON.stringify(before)) continue
      this.#write(key, after, transaction)
      modified++
    }
    return { matched: chosen.length, modified, ...(chosen[0] === undefined ? {} : { before: chosen[0], after: after! }) }
  }

  delete(filter: Document, limit: number, transaction: Transaction | null): number {
    const found = this.find(filter, transaction)
    const chosen = limit === 1 ? found.slice(0, 1) : found
    for (const document of chosen) {
      const key = keyOf(document["_id"])
      this.#lock(this.#entries.get(key), transaction)
      this.#write(key, null, transaction)
    }
    return chosen.length
  }

  /** Brings back what a file says. */
  restore({ key, document }: Change): void {
    this.#replace(key, document, 0)
  }

  commit(key: string, transaction: Transaction): void {
    const entry = this.#entries.get(key)!
    if (entry.pending?.by !== transaction) return
    const { document } = entry.pending
    entry.pending = null
    this.#replace(key, document, this.#commit({ namespace: this.namespace, key, document }), document)
  }

  abort(key: string, transaction: Transaction): void {
    const entry = this.#entries.get(key)!
    if (entry.pending?.by !== transaction) return
    this.#leave(key, entry.pending.document, entry.document)
    entry.pending = null
    if (entry.document === null && entry.committedAt === 0) this.#entries.delete(key)
  }

  #seen(entry: Entry | undefined, transaction: Transaction | null): Document | null {
    if (entry === undefined) return null
    return entry.pending !== null && entry.pending.by === transaction ? entry.pending.document : entry.document
  }

  #lock(entry: Entry | undefined, transaction: Transaction | null): void {
    if (entry === undefined) return
    if (entry.pending !== null && entry.pending.by !== transaction) {
      if (transaction === null) throw new Locked(entry.pending.by)
      throw conflict()
    }
    if (transaction !== null && entry.committedAt > transaction.startedAt) throw conflict()
  }

  #write(key: string, document: Document | null, transaction: Transaction | null): void {
    if (document !== null) this.#checkUnique(key, document)
    if (transaction === null) {
      this.#replace(key, document, this.#commit({ namespace: this.namespace, key, document }))
      return
    }
    const entry = this.#entries.get(key) ?? { document: null, committedAt: 0, pending: null }
    if (entry.pending !== null) this.#leave(key, entry.pending.document, entry.document)
    entry.pending = { by: transaction, document }
    this.#entries.set(key, entry)
    transaction.wrote(this, key)
    if (document !== null) for (const index of this.#indexes.values()) this.#enter(index, key, document)
  }

  #replace(key: string, document: Document | null, committedAt: number, entered: Document | null = null): void {
    const before = this.#entries.get(key)?.document ?? null
    this.#leave(key, before, entered)
    if (document === null) this.#entries.set(key, { document: null, committedAt, pending: null })
    else this.#entries.set(key, { document, committedAt, pending: null })
    if (document !== null) for (const index of this.#indexes.values()) this.#enter(index, key, document)
  }

  #checkUnique(key: string, document: Document): void {
    for (const index of this.#indexes.values()) {
      if (index.unique !== true) continue
      const by = index.taken.get(uniqueKey(index, document))
      if (by !== undefined && by !== key) throw this.#duplicate(index.name, document)
    }
  }

  #enter(index: Index, key: string, document: Document): void {
    const first = valueAt(document, index.first)
    const keys = index.byFirst.get(first)
    if (keys === undefined) index.byFirst.set(first, new Set([key]))
    else keys.add(key)
    if (index.unique === true) index.taken.set(uniqueKey(index, document), key)
  }

  /** Takes a document's entries away, except those that `stays` has too. */
  #leave(key: string, document: Document | null, stays: Document | null): void {
    if (document === null) return
    for (const index of this.#indexes.values()) {
      const first = valueAt(document, index.first)
      if (stays === null || valueAt(stays, index.first) !== first) index.byFirst.get(first)?.delete(key)
      if (index.unique === true && (stays === null || uniqueKey(index, stays) !== uniqueKey(index, document)))
        index.taken.delete(uniqueKey(index, document))
    }
  }

  #candidates(filter: Document): Iterable<string> {
    const id: unknown = filter["_id"]
    if (typeof id === "string") return [keyOf(id)]
    const list = (id as Document | undefined)?.["$in"] as ReadonlyArray<unknown> | undefined
    if (list !== undefined) return new Set(list.map(keyOf))
    for (const index of this.#indexes.values()) {
      const wanted: unknown = filter[index.first]
      if (typeof wanted === "string") return [...(index.byFirst.get(wanted) ?? [])]
    }
    return [...this.#entries.keys()]
  }

  #duplicate(index: string, value: Document): CommandFailed {
    return new CommandFailed(
      11000,
      `E11000 duplicate key error collection: ${this.namespace} index: ${index} dup key: ${EJSON.stringify(value)}`
    )
  }
}

const uniqueKey = ({ key }: IndexSpec, document: Document): string =>
  EJSON.stringify(Object.keys(key).map((path) => valueAt(document, path) ?? null))

const conflict = () => new CommandFailed(112, "WriteConflict: this operation conflicted with another one", ["TransientTransactionError"])
