/** Where views are kept: documents per projection version, tenant and id, found by declared fields. All of it can be rebuilt. */
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import type * as Effect from "effect/Effect"
import type { Position } from "#domain/ids.ts"
import type { Scope, ScopeKey, SpaceScope } from "#domain/scope.ts"
import type { FieldType } from "#projections/projection.ts"
import type { ReadModelsUnavailable } from "./unavailable.ts"

/** A view and the position of the last event folded into it. */
export interface StoredView {
  readonly key: ScopeKey
  readonly space: string
  readonly id: string
  /** Null: removed. The tombstone keeps its position until a rebuild (R18). */
  readonly view: Record<string, unknown> | null
  readonly at: Position
}
export interface ModelDefinition {
  /** `runs@1`. */
  readonly model: string
  readonly fields: Readonly<Record<string, FieldType>>
  readonly sorts: ReadonlyArray<ReadonlyArray<string>>
  /** Its views can be listed across a space; left out: within one scope only. */
  readonly acrossSpace?: true
}
export type Condition =
  | { readonly field: string; readonly is: "eq"; readonly value: string | number | boolean }
  | { readonly field: string; readonly is: "in"; readonly values: ReadonlyArray<string | number> }
  | { readonly field: string; readonly is: "gte" | "lte" | "gt" | "lt"; readonly value: string | number }
  | { readonly field: string; readonly is: "prefix"; readonly value: string }

export interface Query {
  /** One scope's views, or with `SpaceScope` and `across` those of all tenants of the space. */
  readonly scope: Scope
  /** Must be the same space as `scope`: then the space's own views and those of all its tenants. For models with `acrossSpace`. */
  readonly across?: SpaceScope
  readonly where?: ReadonlyArray<Condition>
  /** One of the declared sorts, or one without its leading fields when `where` pins these; ties go by id. Left out: the first declared one, else by id. */
  readonly sort?: ReadonlyArray<string>
  readonly descending?: boolean
  /** Opaque: from the page before, of the same query. It survives a rebuild and what is added in between. */
  readonly cursor?: string
  /** From 1 to `pageLimitMax`. */
  readonly limit: number
}
export interface Page {
  readonly items: ReadonlyArray<Record<string, unknown>>
  readonly next: string | null
}

export const pageLimitMax = 500
/** Values of one `in`. */
export const inValuesMax = 100

/** What is known of a stored model, its definition included: an old one can be queried without the code that made it. */
export interface StoredModel {
  readonly model: string
  readonly definition: ModelDefinition
  readonly checkpoint: Position | null
  /** It has once reached the head of the log, so it may serve. */
  readonly complete: boolean
  /** Views, tombstones included. */
  readonly rows: number
}

/** The query cannot be answered as it was put: an undeclared field, a cursor of another query. Asking again does not help. */
export class QueryRefused extends Data.TaggedError("QueryRefused")<{ readonly model: string; readonly reason: string }> {
  override get message() {
    return `The query on ${this.model} was refused: ${this.reason}.`
  }
}

export class ReadModels extends Context.Service<
  ReadModels,
  {
    readonly facts: { readonly atomicWithCheckpoint: boolean }
    /** Creates the model where it is missing. One with other fields or sorts is dropped first: it then starts from the first event. */
    readonly define: (definition: ModelDefinition) => Effect.Effect<void, ReadModelsUnavailable>
    /** Marks it complete: it has once reached the head of the log. */
    readonly promote: (model: string) => Effect.Effect<void, ReadModelsUnavailable>
    /**
     * Writes a batch and moves the checkpoint from `from` to `to`, never ahead of the views (R19). `stale`: the checkpoint is
     * not at `from`, somebody else runs this model; nothing was written (R20). A view older than the stored one is left out.
     */
    readonly apply: (
      model: string,
      from: Position | null,
      to: Position,
      views: ReadonlyArray<StoredView>
    ) => Effect.Effect<"applied" | "stale", ReadModelsUnavailable>
    /** Stored views (tombstones too) for folding, in the order asked; undefined where there is none. */
    readonly load: (
      model: string,
      ids: ReadonlyArray<{ readonly key: ScopeKey; readonly id: string }>
    ) => Effect.Effect<ReadonlyArray<StoredView | undefined>, ReadModelsUnavailable>
    readonly get: (model: string, scope: Scope, id: string) => Effect.Effect<Record<string, unknown> | null, ReadModelsUnavailable>
    readonly find: (model: string, query: Query) => Effect.Effect<Page, QueryRefused | ReadModelsUnavailable>
    readonly checkpoint: (model: string) => Effect.Effect<Position | null, ReadModelsUnavailable>
    readonly models: Effect.Effect<ReadonlyArray<StoredModel>, ReadModelsUnavailable>
    /** Forgets the model at once and frees its space in small steps, so that queries go on; a crash in between is made up for at the next start. */
    readonly drop: (model: string) => Effect.Effect<void, ReadModelsUnavailable>
  }
>()("tributary/ports/ReadModels") {}
