/** Queries on views, checked once for every store: the declared conditions, sorts and cursors; everything else is refused. */
import { createHmac, timingSafeEqual } from "node:crypto"
import { type Condition, inValuesMax, type ModelDefinition, pageLimitMax, type Query, QueryRefused } from "#services/ports/read-models.ts"
import { type Column, type Columns, smallest } from "./columns.ts"

export type Value = string | number
/** What it compares with; flags are 0 and 1. */
export type Term =
  | { readonly column: Column; readonly is: "eq"; readonly value: Value }
  | { readonly column: Column; readonly is: "in"; readonly values: ReadonlyArray<Value> }
  /** `not`: what stands for a missing value, which no range finds. */
  | { readonly column: Column; readonly is: "gte" | "lte" | "gt" | "lt"; readonly value: Value; readonly not: Value | null }
  /** From `value` up to, without, `end`. */
  | { readonly column: Column; readonly is: "prefix"; readonly value: string; readonly end: string }

export interface QueryPlan {
  /** Over all scopes of the space, instead of one scope. */
  readonly across: boolean
  readonly terms: ReadonlyArray<Term>
  /** Ties go by id, and then, across a space, by scope. */
  readonly order: ReadonlyArray<Column>
  readonly descending: boolean
  /** The place of the last view of the page before: the values of `order`, its id, and across a space its scope. */
  readonly after: ReadonlyArray<Value> | null
  readonly limit: number
  /** The cursor for the page after the one that ends at this place. */
  readonly cursorAt: (place: ReadonlyArray<Value>) => string
}

const macBytes = 16

/**
 * Cursors: the sort values and the id of a page's last view, behind a MAC that binds them to the very query. So a cursor cannot
 * be forged, changed, or carried over to another scope, model, filter or order.
 */
const cursors = (key: Buffer, model: string, query: Query) => {
  const { scope, across, where, sort, descending } = query
  const bound = JSON.stringify([model.split("@")[0], scope.key, across?.key ?? null, where ?? [], sort ?? null, descending ?? false])
  const seal = (values: string) => createHmac("sha256", key).update(bound).update("\n").update(values).digest().subarray(0, macBytes)
  return {
    write: (values: ReadonlyArray<Value>): string => {
      const text = JSON.stringify(values)
      return Buffer.concat([seal(text), Buffer.from(text)]).toString("base64url")
    },
    read: (cursor: string): ReadonlyArray<Value> | undefined => {
      const bytes = Buffer.from(cursor, "base64url")
      if (bytes.length <= macBytes || bytes.toString("base64url") !== cursor) return undefined
      const text = bytes.subarray(macBytes).toString()
      return timingSafeEqual(seal(text), bytes.subarray(0, macBytes)) ? (JSON.parse(text) as Array<Value>) : undefined
    }
  }
}

export interface Plannable {
  readonly model: string
  readonly definition: ModelDefinition
  readonly columns: Columns
}

/** Refuses with the reason; caught where the query enters the adapter. */
const refuse = ({ model }: Plannable, reason: string): never => {
  throw new QueryRefused({ model, reason })
}

const columnOf = (table: Plannable, field: string): Column =>
  table.columns.get(field) ??
  refuse(table, `the field ${JSON.stringify(field)} cannot be searched; there are: ${[...table.columns.keys()].join(", ")}`)

const valueOf = (table: Plannable, { field, type }: Column, value: string | number | boolean): Value => {
  const wanted = type === "text" ? "string" : type === "flag" ? "boolean" : "number"
  if (typeof value !== wanted) return refuse(table, `the field ${field} takes a ${wanted}, not a ${typeof value}`)
  return typeof value === "boolean" ? Number(value) : value
}

const termOf = (table: Plannable, condition: Condition): Term => {
  const column = columnOf(table, condition.field)
  switch (condition.is) {
    case "eq":
      return { column, is: "eq", value: valueOf(table, column, condition.value) }
    case "in": {
      const { field, values } = condition
      if (values.length > inValuesMax) refuse(table, `${values.length} values for ${field}; at most ${inValuesMax}`)
      return { column, is: "in", values: values.map((value) => valueOf(table, column, value)) }
    }
    case "prefix":
      if (column.type !== "text") refuse(table, `the field ${condition.field} is no text, so it has no prefix`)
      valueOf(table, column, condition.value)
      return { column, is: "prefix", value: condition.value, end: `${condition.value}\u{10ffff}` }
    default:
      return {
        column,
        is: condition.is,
        value: valueOf(table, column, condition.value),
        not: column.sorted ? smallest(column.type) : null
      }
  }
}

/** The order asked for must have an index: a declared sort, or the rest of one whose leading fields are pinned by `eq`. */
const orderOf = (table: Plannable, query: Query): ReadonlyArray<Column> => {
  const sorts = table.definition.sorts
  const wanted = query.sort ?? sorts[0] ?? []
  const pinned = new Set(query.where?.flatMap((condition) => (condition.is === "eq" ? [condition.field] : [])))
  const serves = (sort: ReadonlyArray<string>) => {
    const lead = sort.length - wanted.length
    return (
      lead >= 0 && wanted.every((field, index) => sort[lead + index] === field) && sort.slice(0, lead).every((field) => pinned.has(field))
    )
  }
  if (wanted.length > 0 && !sorts.some(serves))
    refuse(table, `it cannot be sorted by ${wanted.join(", ")}; there are: ${sorts.map((sort) => sort.join(", ")).join("; ")}`)
  return wanted.map((field) => columnOf(table, field))
}

/** Throws `QueryRefused`. */
export const planQuery = (table: Plannable, query: Query, cursorKey: Buffer): QueryPlan => {
  if (query.across !== undefined && query.across.key !== query.scope.key)
    refuse(table, "a query across a space must be asked in the scope of that space")
  if (!Number.isInteger(query.limit) || query.limit < 1 || query.limit > pageLimitMax)
    refuse(table, `a page has 1 to ${pageLimitMax} views, not ${query.limit}`)
  const across = query.across !== undefined
  if (across && table.definition.acrossSpace !== true) refuse(table, "its views are listed within one scope, not across a space")
  const order = orderOf(table, query)
  const terms = (query.where ?? []).map((condition) => termOf(table, condition))
  const cursor = cursors(cursorKey, table.model, query)
  const after = query.cursor === undefined ? null : (cursor.read(query.cursor) ?? null)
  if (query.cursor !== undefined && after?.length !== order.length + (across ? 2 : 1))
    refuse(table, "the cursor is not one of this very query; start again without it")
  return { across, terms, order, descending: query.descending ?? false, after, limit: query.limit, cursorAt: cursor.write }
}
