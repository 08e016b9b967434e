/** Where views are kept: documents per projection version, tenant and id, found by declared fields. All of it can be rebuilt. */
import { Context, type Effect } from "effect"
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
}
export type Condition =
  | { readonly field: string; readonly is: "eq"; readonly value: string | number | boolean }
  | { readonly field: string; readonly is: "in"; readonly values: ReadonlyArray<string | number> }
  | { readonly field: string; readonly is: "gte" | "lte" | "gt" | "lt"; readonly value: string | number }
  | { readonly field: string; readonly is: "prefix"; readonly value: string }

export interface Query {
  /** One scope's views, or with `SpaceScope` and `across` those of all tenants of the space. */
  readonly scope: Scope
  readonly across?: SpaceScope
  readonly where?: ReadonlyArray<Condition>
  /** One of the declared sorts; by id when left out. */
  readonly sort?: ReadonlyArray<string>
  readonly descending?: boolean
  /** Opaque: from the page before. */
  readonly cursor?: string
  readonly limit: number
}
export interface Page {
  readonly items: ReadonlyArray<Record<string, unknown>>
  readonly next: string | null
}

export class ReadModels extends Context.Service<
  ReadModels,
  {
    readonly facts: { readonly atomicWithCheckpoint: boolean }
    readonly define: (definition: ModelDefinition) => Effect.Effect<void, ReadModelsUnavailable>
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
    readonly find: (model: string, query: Query) => Effect.Effect<Page, ReadModelsUnavailable>
    readonly checkpoint: (model: string) => Effect.Effect<Position | null, ReadModelsUnavailable>
    /** All models in the store with their checkpoints and row counts. */
    readonly models: Effect.Effect<
      ReadonlyArray<{ readonly model: string; readonly checkpoint: Position | null; readonly rows: number }>,
      ReadModelsUnavailable
    >
    readonly drop: (model: string) => Effect.Effect<void, ReadModelsUnavailable>
  }
>()("tributary/ports/ReadModels") {}
