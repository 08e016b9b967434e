/** The declared fields of a model as a store searches and sorts them: one type each, and nothing missing where it is sorted by. */
import type { FieldType } from "#projections/projection.ts"
import type { ModelDefinition } from "#services/ports/read-models.ts"

/** A declared field. */
export interface Column {
  readonly field: string
  /** `f0`, `f1`, …: short, and safe in any statement. */
  readonly name: string
  readonly type: FieldType
  /** Part of a sort: never null there, the smallest value stands for a missing one. */
  readonly sorted: boolean
}
export type Columns = ReadonlyMap<string, Column>

export const columnsOf = (definition: ModelDefinition): Columns => {
  const sorted = new Set(definition.sorts.flat())
  const columns = new Map<string, Column>()
  for (const [field, type] of Object.entries(definition.fields))
    columns.set(field, { field, name: `f${columns.size}`, type, sorted: sorted.has(field) })
  return columns
}

/** What stands for a missing value in a sort: it comes first, and no condition finds it. */
export const smallest = (type: FieldType): string | number => (type === "text" ? "" : Number.MIN_SAFE_INTEGER)

/** A view's value as its column holds it. Total: what is not of the declared type counts as missing. */
export const columnValue = (column: Column, value: unknown): string | number | null => {
  const missing = column.sorted ? smallest(column.type) : null
  switch (column.type) {
    case "text":
      return typeof value === "string" ? value : missing
    case "flag":
      return typeof value === "boolean" ? Number(value) : missing
    case "number":
      return typeof value === "number" && Number.isFinite(value) ? value : missing
    case "time":
      return typeof value === "number" && Number.isFinite(value) ? Math.trunc(value) : missing
  }
}
