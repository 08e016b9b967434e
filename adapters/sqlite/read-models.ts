/** Read models on SQLite: views and checkpoints in one file, written in one transaction. All calls are synchronous: run it off the main thread. */
import { rmSync } from "node:fs"
import type { DatabaseSync, StatementSync } from "node:sqlite"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { columnValue } from "#adapters/read-models/columns.ts"
import type { Position } from "#domain/ids.ts"
import type { Scope } from "#domain/scope.ts"
import {
  type ModelDefinition,
  type Query,
  QueryRefused,
  ReadModels,
  type StoredModel,
  type StoredView
} from "#services/ports/read-models.ts"
import { ReadModelsUnavailable } from "#services/ports/unavailable.ts"
import { findStatement } from "./read-models-query.ts"
import { createTable, openViews, readMeta, shrinkTable, type Table, tableOf } from "./read-models-tables.ts"

export interface ReadModelsOptions {
  /** `:memory:` or a path. */
  readonly file: string
  /** The journal that the views follow: views of another one are thrown away. */
  readonly journalId: string
}

/** Prepared statements of queries that are kept. */
const queriesMax = 100
/** Scope numbers that are kept in memory. */
const scopesMax = 10_000
/** Rows freed in one step of dropping a model, about 5 ms. */
const droppedRowsPerStep = 2000

/** A model's table with its prepared statements. */
interface OpenTable extends Table {
  readonly upsert: StatementSync
  readonly load: StatementSync
  readonly move: StatementSync
}

const unavailable = (cause: unknown) => new ReadModelsUnavailable({ reason: cause instanceof Error ? cause.message : String(cause), cause })

class SqliteReadModels {
  readonly #db: DatabaseSync
  readonly #cursorKey: Buffer
  readonly #tables = new Map<string, OpenTable>()
  readonly #queries = new Map<string, StatementSync>()
  readonly #scopes = new Map<string, number>()
  readonly #findScope: StatementSync
  readonly #addScope: StatementSync

  constructor(options: ReadModelsOptions) {
    this.#db = openViews(options.file, options.journalId, (file) => {
      for (const suffix of ["", "-wal", "-shm"]) rmSync(file + suffix, { force: true })
    })
    this.#cursorKey = Buffer.from(readMeta(this.#db, "cursorKey")!, "base64url")
    this.#findScope = this.#db.prepare("SELECT number FROM scopes WHERE key = ?")
    this.#addScope = this.#db.prepare("INSERT INTO scopes(key) VALUES(?) ON CONFLICT(key) DO NOTHING")
    const stored = this.#db.prepare("SELECT number, definition FROM models WHERE dropped = 0").all() as Array<{
      number: number
      definition: string
    }>
    for (const { number, definition } of stored) this.#open(number, JSON.parse(definition) as ModelDefinition)
  }

  close(): void {
    this.#db.close()
  }

  define(definition: ModelDefinition): void {
    const text = JSON.stringify(definition)
    const open = this.#tables.get(definition.model)
    if (open !== undefined && JSON.stringify(open.definition) === text) return
    this.#transaction(() => {
      if (open !== undefined) this.#forget(open)
      const { lastInsertRowid } = this.#db.prepare("INSERT INTO models(model, definition) VALUES(?, ?)").run(definition.model, text)
      const number = Number(lastInsertRowid)
      createTable(this.#db, tableOf(number, definition))
      this.#open(number, definition)
    })
  }

  promote(model: string): void {
    this.#db.prepare("UPDATE models SET complete = 1 WHERE model = ? AND dropped = 0").run(model)
  }

  apply(model: string, from: Position | null, to: Position, views: ReadonlyArray<StoredView>): "applied" | "stale" {
    const table = this.#table(model)
    return this.#transaction(() => {
      if (table.move.run(to, table.number, from).changes === 0) return "stale"
      for (const view of views) this.#put(table, view)
      return "applied"
    })
  }

  load(model: string, ids: ReadonlyArray<{ readonly key: string; readonly id: string }>): ReadonlyArray<StoredView | undefined> {
    const table = this.#table(model)
    return ids.map(({ key, id }) => {
      const scope = this.#scopeNumber(key)
      const row =
        scope === undefined ? undefined : (table.load.get(scope, id) as { doc: string | null; at: string; space: string } | undefined)
      if (row === undefined) return undefined
      const view = row.doc === null ? null : (JSON.parse(row.doc) as Record<string, unknown>)
      return { key: key as StoredView["key"], id, space: row.space, at: row.at as Position, view }
    })
  }

  get(model: string, scope: Scope, id: string): Record<string, unknown> | null {
    const [view] = this.load(model, [{ key: scope.key, id }])
    return view?.view ?? null
  }

  find(model: string, query: Query) {
    const table = this.#table(model)
    const scope = this.#scopeNumber(query.scope.key)
    // A scope without any view: -1 finds nothing, and the query is checked all the same.
    const { sql, parameters, page } = findStatement(table, query, scope ?? -1, this.#cursorKey)
    return page(this.#query(sql).all(...parameters))
  }

  checkpoint(model: string): Position | null {
    const row = this.#db.prepare("SELECT checkpoint FROM models WHERE number = ?").get(this.#table(model).number)
    return (row as { checkpoint: Position | null }).checkpoint
  }

  models(): ReadonlyArray<StoredModel> {
    const rows = this.#db.prepare("SELECT model, checkpoint, complete FROM models WHERE dropped = 0 ORDER BY number").all()
    return (rows as Array<{ model: string; checkpoint: Position | null; complete: number }>).map(({ model, checkpoint, complete }) => {
      const table = this.#table(model)
      // Rows are never deleted one by one, so the last row's number is their count.
      const { rows } = this.#db.prepare(`SELECT coalesce(max(rowid), 0) AS rows FROM ${table.name}`).get() as { rows: number }
      return { model, definition: table.definition, checkpoint, complete: complete === 1, rows }
    })
  }

  drop(model: string): void {
    const table = this.#tables.get(model)
    if (table !== undefined) this.#forget(table)
  }

  /** Frees a piece of what was dropped; true when nothing is left. */
  shrink(): boolean {
    const row = this.#db.prepare("SELECT number FROM models WHERE dropped = 1 LIMIT 1").get() as { number: number } | undefined
    if (row === undefined) return true
    this.#transaction(() => shrinkTable(this.#db, row.number, droppedRowsPerStep))
    return false
  }

  #forget(table: OpenTable): void {
    this.#db.prepare("UPDATE models SET dropped = 1 WHERE number = ?").run(table.number)
    this.#tables.delete(table.model)
    this.#queries.clear()
  }

  #open(number: number, definition: ModelDefinition): void {
    const table = tableOf(number, definition)
    const columns = ["scope", "id", "space", "at", "doc", ...[...table.columns.values()].map(({ name }) => name)]
    const changes = columns.slice(3).map((column) => `${column} = excluded.${column}`)
    this.#tables.set(definition.model, {
      ...table,
      upsert: this.#db.prepare(
        `INSERT INTO ${table.name}(${columns.join(", ")}) VALUES(${columns.map(() => "?").join(", ")})
         ON CONFLICT(scope, id) DO UPDATE SET ${changes.join(", ")} WHERE excluded.at > at`
      ),
      load: this.#db.prepare(
        `SELECT doc, at, (SELECT key FROM scopes WHERE number = space) AS space FROM ${table.name} WHERE scope = ? AND id = ?`
      ),
      move: this.#db.prepare("UPDATE models SET checkpoint = ? WHERE number = ? AND dropped = 0 AND checkpoint IS ?")
    })
  }

  #put(table: OpenTable, { key, space, id, at, view }: StoredView): void {
    const values: Array<string | number | null> = [
      this.#intern(key),
      id,
      this.#intern(space),
      at,
      view === null ? null : JSON.stringify(view)
    ]
    for (const [field, column] of table.columns) values.push(columnValue(column, view?.[field]))
    table.upsert.run(...values)
  }

  #table(model: string): OpenTable {
    const table = this.#tables.get(model)
    if (table === undefined) throw new Error(`the model ${model} is not defined`)
    return table
  }

  #query(sql: string): StatementSync {
    const known = this.#queries.get(sql)
    if (known !== undefined) return known
    if (this.#queries.size >= queriesMax) this.#queries.clear()
    const statement = this.#db.prepare(sql)
    this.#queries.set(sql, statement)
    return statement
  }

  #scopeNumber(key: string): number | undefined {
    const known = this.#scopes.get(key)
    if (known !== undefined) return known
    const row = this.#findScope.get(key) as { number: number } | undefined
    if (row === undefined) return undefined
    if (this.#scopes.size >= scopesMax) this.#scopes.clear()
    this.#scopes.set(key, row.number)
    return row.number
  }

  #intern(key: string): number {
    const known = this.#scopeNumber(key)
    if (known !== undefined) return known
    this.#addScope.run(key)
    return this.#scopeNumber(key)!
  }

  #transaction<A>(work: () => A): A {
    this.#db.exec("BEGIN IMMEDIATE")
    try {
      const result = work()
      this.#db.exec("COMMIT")
      return result
    } catch (cause) {
      if (this.#db.isTransaction) this.#db.exec("ROLLBACK")
      this.#scopes.clear()
      throw cause
    }
  }
}

const attempt = <A>(work: () => A) => Effect.try({ try: work, catch: unavailable })

export const layer = (options: ReadModelsOptions) =>
  Layer.effect(
    ReadModels,
    Effect.gen(function* () {
      const views = yield* Effect.acquireRelease(
        attempt(() => new SqliteReadModels(options)),
        (views) => Effect.sync(() => views.close())
      )
      /** Frees dropped tables step by step, and lets queries in between. */
      const shrink = attempt(() => views.shrink()).pipe(Effect.tap(Effect.yieldNow), Effect.repeat({ until: (done) => done }))
      yield* Effect.forkScoped(shrink)
      return ReadModels.of({
        facts: { atomicWithCheckpoint: true },
        define: (definition) => attempt(() => views.define(definition)),
        promote: (model) => attempt(() => views.promote(model)),
        apply: (model, from, to, stored) => attempt(() => views.apply(model, from, to, stored)),
        load: (model, ids) => attempt(() => views.load(model, ids)),
        get: (model, scope, id) => attempt(() => views.get(model, scope, id)),
        find: (model, query) =>
          Effect.try({
            try: () => views.find(model, query),
            catch: (cause) => (cause instanceof QueryRefused ? cause : unavailable(cause))
          }),
        checkpoint: (model) => attempt(() => views.checkpoint(model)),
        models: attempt(() => views.models()),
        drop: (model) => attempt(() => views.drop(model)).pipe(Effect.andThen(shrink), Effect.asVoid)
      })
    })
  )
