/** The commands that are known here, over a store. */
import { type Document, Long, serialize } from "bson"
import { type Collection, type IndexSpec, Locked } from "./collection.ts"
import { FailPoints } from "./fail-points.ts"
import { CommandFailed } from "./failures.ts"
import type { Conversation } from "./scram.ts"
import type { Store } from "./store.ts"
import { Sessions, type Transaction } from "./transactions.ts"
import { matches, project } from "./values.ts"

export interface ServerOptions {
  readonly address: string
  readonly version: string
  /** Null: a single server, without transactions. */
  readonly replicaSet: string | null
}
/** A connection's state. */
export interface Caller {
  readonly id: number
  /** Null: nobody has to sign in. */
  readonly conversation: Conversation | null
}

const wireVersions: Record<number, number> = { 4: 9, 5: 13, 6: 17, 7: 21, 8: 25 }
const batchDefault = 101
const batchBytesMax = 16 * 1024 * 1024
const untilSignedIn = new Set(["hello", "ismaster", "isMaster", "saslStart", "saslContinue", "ping", "buildInfo", "endSessions"])
const inTransactions = new Set([
  "find",
  "getMore",
  "insert",
  "update",
  "delete",
  "findAndModify",
  "commitTransaction",
  "abortTransaction",
  "count"
])

export class Commands {
  readonly #store: Store
  readonly #options: ServerOptions
  readonly #sessions = new Sessions()
  readonly #cursors = new Map<number, { readonly namespace: string; rest: ReadonlyArray<Document> }>()
  readonly #failPoints = new FailPoints()
  #nextCursor = 1

  constructor(store: Store, options: ServerOptions) {
    this.#store = store
    this.#options = options
  }

  /** Never throws `CommandFailed`: that is an answer. */
  async run(command: Document, caller: Caller): Promise<Document> {
    const name = Object.keys(command)[0]!
    try {
      if (caller.conversation?.isSignedIn === false && !untilSignedIn.has(name))
        throw new CommandFailed(13, `Command ${name} requires authentication`)
      this.#failPoints.strike(name, false)
      const answer = await this.#sessions.retryable(command, () => this.#dispatch(name, command, caller))
      await this.#store.durable()
      this.#failPoints.strike(name, true)
      return answer
    } catch (cause) {
      if (!(cause instanceof CommandFailed)) throw cause
      if (cause.code !== 251 && command["autocommit"] === false) this.#sessions.of(command).transaction?.abort()
      return cause.answer
    }
  }

  async #dispatch(name: string, command: Document, caller: Caller): Promise<Document> {
    if (command["autocommit"] === false) {
      if (this.#options.replicaSet === null)
        throw new CommandFailed(20, "Transaction numbers are only allowed on a replica set member or mongos")
      if (!inTransactions.has(name)) throw new CommandFailed(263, `${name} is not known here in a transaction`)
    }
    switch (name) {
      case "hello":
      case "ismaster":
      case "isMaster":
        return this.#hello(caller)
      case "saslStart":
        return caller.conversation?.start(command) ?? { ok: 1, done: true }
      case "saslContinue":
        return caller.conversation!.continue(command)
      case "ping":
      case "endSessions":
        return { ok: 1 }
      case "buildInfo":
        return { version: this.#options.version, versionArray: this.#options.version.split(".").map(Number), standIn: true, ok: 1 }
      case "configureFailPoint":
        return this.#failPoints.configure(command)
      case "commitTransaction":
        return this.#sessions.commit(command)
      case "abortTransaction":
        return this.#sessions.abort(command)
      case "killSessions":
        for (const { id } of command["killSessions"]) this.#sessions.of({ lsid: { id } }).transaction?.abort()
        return { ok: 1 }
      case "getMore":
        return this.#getMore(command)
      case "killCursors":
        for (const id of command["cursors"]) this.#cursors.delete(Number(id))
        return { ok: 1, cursorsKilled: command["cursors"] }
      case "listCollections":
        return this.#listCollections(command)
      case "dropDatabase":
        for (const namespace of [...this.#store.collections.keys()])
          if (namespace.startsWith(`${command["$db"]}.`)) this.#store.drop(namespace)
        return { ok: 1 }
      default:
        return this.#onCollection(name, command, `${command["$db"]}.${command[name]}`)
    }
  }

  async #onCollection(name: string, command: Document, namespace: string): Promise<Document> {
    const transaction = this.#sessions.transactionOf(command, this.#store.commits)
    switch (name) {
      case "find":
        return this.#find(command, namespace, transaction)
      case "count":
        return { n: this.#count(command, namespace, transaction), ok: 1 }
      case "insert":
        return this.#writes(namespace, command["documents"], command, transaction, (collection, document) => {
          collection.insert(document, transaction)
          return { n: 1 }
        })
      case "update":
        return this.#writes(namespace, command["updates"], command, transaction, (collection, update) => {
          const { matched, modified, upserted } = collection.update(update, transaction)
          return { n: upserted === undefined ? matched : 1, nModified: modified, ...(upserted === undefined ? {} : { upserted }) }
        })
      case "delete":
        return this.#writes(namespace, command["deletes"], command, transaction, (collection, { q, limit }) => ({
          n: collection.delete(q, Number(limit), transaction)
        }))
      case "findAndModify":
        return this.#findAndModify(command, namespace, transaction)
      case "create":
        this.#store.collection(namespace)
        return { ok: 1 }
      case "createIndexes":
        for (const spec of command["indexes"] as ReadonlyArray<IndexSpec>) this.#store.createIndex(namespace, spec)
        return { ok: 1 }
      case "listIndexes":
        return this.#cursor(namespace, [...(this.#store.collections.get(namespace)?.indexes ?? [])], {})
      case "drop":
        if (!this.#store.drop(namespace)) throw new CommandFailed(26, "ns not found")
        return { ok: 1 }
      default:
        throw new CommandFailed(59, `no such command here: '${name}'`)
    }
  }

  #hello({ id }: Caller): Document {
    const { address, replicaSet, version } = this.#options
    const member = { setName: replicaSet, setVersion: 1, hosts: [address], me: address, primary: address, secondary: false }
    return {
      helloOk: true,
      ismaster: true,
      isWritablePrimary: true,
      maxBsonObjectSize: 16 * 1024 * 1024,
      maxMessageSizeBytes: 48_000_000,
      maxWriteBatchSize: 100_000,
      minWireVersion: 0,
      maxWireVersion: wireVersions[Number(version.split(".")[0])] ?? 6,
      logicalSessionTimeoutMinutes: 30,
      connectionId: id,
      readOnly: false,
      ...(replicaSet === null ? {} : member),
      ok: 1
    }
  }

  #find(command: Document, namespace: string, transaction: Transaction | null): Document {
    const found = this.#store.collections.get(namespace)?.find(command["filter"] ?? {}, transaction, command["sort"]) ?? []
    const from = Number(command["skip"] ?? 0)
    const limit = Number(command["limit"] ?? 0)
    const chosen = limit === 0 ? found.slice(from) : found.slice(from, from + Math.abs(limit))
    return this.#cursor(
      namespace,
      chosen.map((document) => project(command["projection"], document)),
      command
    )
  }

  #count(command: Document, namespace: string, transaction: Transaction | null): number {
    const collection = this.#store.collections.get(namespace)
    const { query } = command
    if (collection === undefined) return 0
    return query === undefined || Object.keys(query).length === 0 ? collection.count : collection.find(query, transaction).length
  }

  #cursor(namespace: string, documents: ReadonlyArray<Document>, { batchSize, singleBatch }: Document): Document {
    const batch = takeBatch(documents, batchSize === undefined ? batchDefault : Number(batchSize))
    const rest = documents.slice(batch.length)
    const id = rest.length === 0 || singleBatch === true ? 0 : this.#nextCursor++
    if (id !== 0) this.#cursors.set(id, { namespace, rest })
    return { cursor: { id: Long.fromNumber(id), ns: namespace, firstBatch: batch }, ok: 1 }
  }

  #getMore(command: Document): Document {
    const id = Number(command["getMore"])
    const cursor = this.#cursors.get(id)
    if (cursor === undefined) throw new CommandFailed(43, `cursor id ${id} not found`)
    const batch = takeBatch(cursor.rest, Number(command["batchSize"] ?? Number.POSITIVE_INFINITY))
    cursor.rest = cursor.rest.slice(batch.length)
    if (cursor.rest.length === 0) this.#cursors.delete(id)
    return { cursor: { id: Long.fromNumber(cursor.rest.length === 0 ? 0 : id), ns: cursor.namespace, nextBatch: batch }, ok: 1 }
  }

  #listCollections({ $db, filter, batchSize }: Document): Document {
    const all = [...this.#store.collections.keys()]
      .filter((namespace) => namespace.startsWith(`${$db}.`))
      .map((namespace) => ({ name: namespace.slice($db.length + 1), type: "collection" }))
      .filter((collection) => matches(filter ?? {}, collection))
    return this.#cursor(`${$db}.$cmd.listCollections`, all, { batchSize })
  }

  async #findAndModify(command: Document, namespace: string, transaction: Transaction | null): Promise<Document> {
    const collection = this.#store.collection(namespace)
    const { query = {}, sort, update, remove, upsert } = command
    const [first] = collection.find(query, transaction, sort)
    const q = first === undefined ? query : { _id: first["_id"] }
    return whenUnlocked(() => {
      if (remove === true) {
        if (first !== undefined) collection.delete(q, 1, transaction)
        return { value: first ?? null, lastErrorObject: { n: first === undefined ? 0 : 1 }, ok: 1 }
      }
      const { before, after, upserted } = collection.update({ q, u: update, upsert }, transaction)
      const updatedExisting = before !== undefined
      const lastErrorObject = { n: after === undefined ? 0 : 1, updatedExisting, ...(upserted === undefined ? {} : { upserted }) }
      return { value: (command["new"] === true ? after : before) ?? null, lastErrorObject, ok: 1 }
    })
  }

  /** Each write by itself; in a transaction the first failure ends it all. */
  async #writes(
    namespace: string,
    list: ReadonlyArray<Document>,
    { ordered }: Document,
    transaction: Transaction | null,
    write: (collection: Collection, one: Document) => { readonly n: number; readonly nModified?: number; readonly upserted?: unknown }
  ): Promise<Document> {
    let n = 0
    let nModified: number | undefined
    const upserted: Array<Document> = []
    const writeErrors: Array<Document> = []
    for (const [index, one] of list.entries()) {
      try {
        const done = await whenUnlocked(() => write(this.#store.collection(namespace), one))
        n += done.n
        if (done.nModified !== undefined) nModified = (nModified ?? 0) + done.nModified
        if (done.upserted !== undefined) upserted.push({ index, _id: done.upserted })
      } catch (cause) {
        if (!(cause instanceof CommandFailed) || cause.code === 112) throw cause
        if (transaction !== null) transaction.abort()
        writeErrors.push({ index, code: cause.code, errmsg: cause.message })
        if (ordered !== false) break
      }
    }
    return {
      n,
      ...(nModified === undefined ? {} : { nModified }),
      ...(upserted.length === 0 ? {} : { upserted }),
      ...(writeErrors.length === 0 ? {} : { writeErrors }),
      ok: 1
    }
  }
}

/** As many as asked for, and as fit into an answer. */
const takeBatch = (documents: ReadonlyArray<Document>, max: number): ReadonlyArray<Document> => {
  let bytes = 0
  let count = 0
  while (count < documents.length && count < max) {
    bytes += serialize(documents[count]!, { ignoreUndefined: true }).length
    if (count > 0 && bytes > batchBytesMax) break
    count++
  }
  return documents.slice(0, count)
}

/** Outside of transactions a writer waits for the one that holds the document. */
const whenUnlocked = async <A>(work: () => A): Promise<A> => {
  for (;;) {
    try {
      return work()
    } catch (cause) {
      if (!(cause instanceof Locked)) throw cause
      await cause.by.over
    }
  }
}
