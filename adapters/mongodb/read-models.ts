/** Read models on MongoDB: guarded writes, and a checkpoint that moves by compare-and-set, in one transaction where there is a replica set. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { AnyBulkWriteOperation, Binary, ClientSession, MongoClient } from "mongodb"
import { columnValue } from "#adapters/read-models/columns.ts"
import type { Value } from "#adapters/read-models/query-plan.ts"
import type { Position } from "#domain/ids.ts"
import type { ScopeKey } from "#domain/scope.ts"
import {
  type ModelDefinition,
  type Page,
  type Query,
  QueryRefused,
  ReadModels,
  type StoredModel,
  type StoredView
} from "#services/ports/read-models.ts"
import { ReadModelsUnavailable } from "#services/ports/unavailable.ts"
import { contactRefusal, type DatabaseOptions, DatabaseRefused, open } from "./connection.ts"
import { areDuplicateKeys, inTime, isWriteConflict, reasonOf } from "./failure.ts"
import { Holders } from "./holders.ts"
import { Catalogue, type Table } from "./read-models-catalogue.ts"
import { findPlan, type ViewDocument } from "./read-models-query.ts"
import { inTransaction } from "./transaction.ts"

export interface ReadModelsOptions extends DatabaseOptions {
  /** The journal that the views follow: views of another one are thrown away. */
  readonly journalId: string
  /** How long a model may be held by a transaction that does not end before its session is ended. Milliseconds. */
  readonly heldMillis?: number
}

/** Ids of one request. */
const idsPerRequest = 1_000
/** A batch of views may take longer than other operations. */
const applyMillis = 10_000

const idOf = (key: string, id: string): string => `${key}/${id}`

const documentOf = (table: Table, { key, space, id, at, view }: StoredView): ViewDocument => {
  const by: Record<string, Value> = {}
  for (const column of table.columns.values()) {
    const value = columnValue(column, view?.[column.field])
    if (value !== null) by[column.field] = value
  }
  return { _id: idOf(key, id), scope: key, space, id, at, live: view !== null, by, view: view === null ? null : JSON.stringify(view) }
}

const viewOf = ({ scope, space, id, at, view }: ViewDocument): StoredView => ({
  key: scope as ScopeKey,
  space,
  id,
  at: at as Position,
  view: view === null ? null : (JSON.parse(view) as Record<string, unknown>)
})

class MongoReadModels {
  readonly catalogue: Catalogue
  readonly #client: MongoClient
  readonly #transactions: boolean
  readonly #holders: Holders

  constructor(catalogue: Catalogue, client: MongoClient, transactions: boolean, heldMillis?: number) {
    this.catalogue = catalogue
    this.#client = client
    this.#transactions = transactions
    const endSessions = (ids: ReadonlyArray<Binary>) => client.db("admin").command({ killSessions: ids.map((id) => ({ id })) })
    this.#holders = new Holders(catalogue.holders, endSessions, heldMillis)
  }

  async promote(model: string): Promise<void> {
    await this.catalogue.models.updateOne({ _id: model }, { $set: { complete: true } })
  }

  async apply(model: string, from: Position | null, to: Position, views: ReadonlyArray<StoredView>): Promise<"applied" | "stale"> {
    if (!this.#transactions && (await this.catalogue.lookUp(model)).checkpoint !== from) return "stale"
    const table = await this.catalogue.table(model)
    const documents = views.map((view) => documentOf(table, view))
    const moved = await (this.#transactions
      ? this.#applyAtOnce(table, from, to, documents)
      : this.#applyGuarded(table, from, to, documents))
    if (!moved) await this.catalogue.lookUp(model) // It fails where the model is gone.
    return moved ? "applied" : "stale"
  }

  async load(model: string, ids: ReadonlyArray<{ readonly key: string; readonly id: string }>): Promise<Array<StoredView | undefined>> {
    const { views } = await this.catalogue.table(model)
    const found = new Map<string, StoredView>()
    for (let from = 0; from < ids.length; from += idsPerRequest) {
      const wanted = ids.slice(from, from + idsPerRequest).map(({ key, id }) => idOf(key, id))
      for (const document of await views.find({ _id: { $in: wanted } }, { batchSize: idsPerRequest + 1 }).toArray())
        found.set(document._id, viewOf(document))
    }
    return ids.map(({ key, id }) => found.get(idOf(key, id)))
  }

  async get(model: string, key: string, id: string): Promise<Record<string, unknown> | null> {
    const { views } = await this.catalogue.table(model)
    const found = await views.findOne({ _id: idOf(key, id) })
    return found === null ? null : viewOf(found).view
  }

  async find(model: string, query: Query): Promise<Page> {
    const table = await this.catalogue.table(model)
    const { filter, sort, limit, page } = findPlan(table, query, this.catalogue.cursorKey)
    return page(await table.views.find(filter, { sort, limit, batchSize: limit + 1 }).toArray())
  }

  async drop(model: string): Promise<void> {
    await this.catalogue.drop(model)
    await this.#holders.forget(model)
  }

  async all(): Promise<ReadonlyArray<StoredModel>> {
    const stored = await this.catalogue.models.find({}).toArray()
    stored.sort((a, b) => a.definedAt - b.definedAt)
    return Promise.all(
      stored.map(async ({ _id: model, definition, checkpoint, complete }) => {
        const { views } = await this.catalogue.table(model)
        const rows = await views.estimatedDocumentCount()
        return { model, definition: JSON.parse(definition) as ModelDefinition, checkpoint, complete, rows }
      })
    )
  }

  /** False: the checkpoint is not at `from`, or the model's views lie elsewhere by now. */
  async #move({ model, collection }: Table, from: Position | null, to: Position, options: object): Promise<boolean> {
    const moved = await this.catalogue.models.updateOne({ _id: model, collection, checkpoint: from }, { $set: { checkpoint: to } }, options)
    return moved.matchedCount === 1
  }

  /** When somebody who does not go on was in the way, it is tried once more without him. */
  async #applyAtOnce(table: Table, from: Position | null, to: Position, documents: ReadonlyArray<ViewDocument>): Promise<boolean> {
    const moved = await this.#transact(table, from, to, documents)
    if (moved !== "held") {
      this.#holders.settle(table.model)
      return moved
    }
    return (await this.#holders.release(table.model, from)) && (await this.#transact(table, from, to, documents)) === true
  }

  /** The checkpoint is the first that is written: of two runners, one is in conflict before it writes a view, and knows who runs the model. */
  async #transact(table: Table, from: Position | null, to: Position, documents: ReadonlyArray<ViewDocument>): Promise<boolean | "held"> {
    try {
      return await inTransaction(
        this.#client,
        async (session) => {
          const newer = await this.#newerThanStored(table, documents, session)
          if (!(await this.#move(table, from, to, { session }))) return false
          if (newer.length > 0) await table.views.bulkWrite(newer, { session, ordered: false })
          return true
        },
        (session) => this.#holders.announce(table.model, session)
      )
    } catch (cause) {
      if (isWriteConflict(cause)) return "held"
      throw cause
    }
  }

  /** Writes for the views that are newer than what is stored: a duplicate key would end the transaction. */
  async #newerThanStored(
    { views }: Table,
    documents: ReadonlyArray<ViewDocument>,
    session: ClientSession
  ): Promise<Array<AnyBulkWriteOperation<ViewDocument>>> {
    const writes: Array<AnyBulkWriteOperation<ViewDocument>> = []
    for (let from = 0; from < documents.length; from += idsPerRequest) {
      const some = documents.slice(from, from + idsPerRequest)
      const wanted = some.map(({ _id }) => _id)
      const stored = await views.find({ _id: { $in: wanted } }, { projection: { at: 1 }, batchSize: idsPerRequest + 1, session }).toArray()
      const at = new Map(stored.map((document) => [document._id, document.at]))
      for (const document of some) {
        const before = at.get(document._id)
        if (before === undefined) writes.push({ insertOne: { document } })
        else if (before < document.at) writes.push({ replaceOne: { filter: { _id: document._id }, replacement: document } })
      }
    }
    return writes
  }

  /** Without transactions: views first, each guarded by its position, the checkpoint last. A crash in between is made up for by the replay. */
  async #applyGuarded(table: Table, from: Position | null, to: Position, documents: ReadonlyArray<ViewDocument>): Promise<boolean> {
    const writes = documents.map((document) => ({
      replaceOne: { filter: { _id: document._id, at: { $lt: document.at } }, replacement: document, upsert: true }
    }))
    if (writes.length > 0) await table.views.bulkWrite(writes, { ordered: false }).catch(ignoreNewer)
    // Journalled, and so is all that was written before it.
    return this.#move(table, from, to, { writeConcern: { w: 1, journal: true } })
  }
}

/** The guard found no older view, so an insert was tried beside the stored one, which is newer. */
const ignoreNewer = (cause: unknown): void => {
  if (!areDuplicateKeys(cause)) throw cause
}

const unavailable = (cause: unknown) => new ReadModelsUnavailable({ reason: reasonOf(cause), cause })
const attempt = <A>(work: () => Promise<A>, milliseconds?: number) =>
  Effect.tryPromise({ try: () => inTime(work, milliseconds), catch: unavailable })

export const layer = (options: ReadModelsOptions): Layer.Layer<ReadModels, DatabaseRefused> =>
  Layer.effect(
    ReadModels,
    Effect.gen(function* () {
      const { client, db, facts } = yield* open(options, "views", { replicaSet: "optional" })
      const catalogue = yield* Effect.tryPromise({
        try: () => inTime(() => Catalogue.open(db, options.journalId)),
        catch: contactRefusal(facts, "views")
      })
      if (catalogue === null)
        return yield* Effect.fail(
          new DatabaseRefused({
            kind: "WrongDatabase",
            purpose: "views",
            where: facts.where,
            reason: "it holds something else than views",
            advice: "Name an empty database of its own: all in it is thrown away when views are rebuilt."
          })
        )
      const stored = new MongoReadModels(catalogue, client, facts.transactions, options.heldMillis)
      const sweep = attempt(() => catalogue.sweep())
      yield* Effect.forkScoped(Effect.ignore(sweep, { log: "Warn" }))
      return ReadModels.of({
        facts: { atomicWithCheckpoint: facts.transactions },
        define: (definition) => attempt(() => catalogue.define(definition)),
        promote: (model) => attempt(() => stored.promote(model)),
        apply: (model, from, to, views) => attempt(() => stored.apply(model, from, to, views), applyMillis),
        load: (model, ids) => attempt(() => stored.load(model, ids)),
        get: (model, scope, id) => attempt(() => stored.get(model, scope.key, id)),
        find: (model, query) =>
          Effect.tryPromise({
            try: () => inTime(() => stored.find(model, query)),
            catch: (cause) => (cause instanceof QueryRefused ? cause : unavailable(cause))
          }),
        checkpoint: (model) => attempt(async () => (await catalogue.lookUp(model)).checkpoint),
        models: attempt(() => stored.all()),
        drop: (model) => attempt(() => stored.drop(model)).pipe(Effect.andThen(sweep))
      })
    })
  )
