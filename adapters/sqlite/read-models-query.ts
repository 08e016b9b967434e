/** Queries on views: the declared conditions, sorts and cursors as SQL, everything else refused. */
import { createHmac, timingSafeEqual } from "node:crypto"
import { type Condition, inValuesMax, type Page, pageLimitMax, type Query, QueryRefused } from "#services/ports/read-models.ts"
import { type Column, smallest, type Table } from "./read-models-tables.ts"

type Parameter = string | number
export interface Statement {
  readonly sql: string
  readonly parameters: ReadonlyArray<Parameter>
  /** Turns the rows, one more than asked for, into the page. */
  readonly page: (rows: ReadonlyArray<Record<string, unknown>>) => Page
}

const macBytes = 16

interface Order {
  readonly columns: ReadonlyArray<Column>
  readonly descending: boolean
}

/**
 * Cursors: the sort values and the id of a page's last view, behind a MAC that binds them to the very query. So a cursor cannot
 * be forged, changed, or carried over to another scope, model, filter or order.
 */
const cursors = (key: Buffer, table: Table, query: Query) => {
  const { limit: _, cursor: __, ...shape } = query
  const bound = JSON.stringify([
    table.model.split("@")[0],
    shape.scope.key,
    shape.across?.key ?? null,
    shape.where ?? [],
    shape.sort ?? null,
    shape.descending ?? false
  ])
  const seal = (values: string) => createHmac("sha256", key).update(bound).update("\n").update(values).digest().subarray(0, macBytes)
  return {
    write: (values: ReadonlyArray<Parameter>): string => {
      const text = JSON.stringify(values)
      return Buffer.concat([seal(text), Buffer.from(text)]).toString("base64url")
    },
    read: (cursor: string): ReadonlyArray<Parameter> | undefined => {
      const bytes = Buffer.from(cursor, "base64url")
      if (bytes.length <= macBytes || bytes.toString("base64url") !== cursor) return undefined
      const text = bytes.subarray(macBytes).toString()
      return timingSafeEqual(seal(text), bytes.subarray(0, macBytes)) ? (JSON.parse(text) as Array<Parameter>) : undefined
    }
  }
}

/** Refuses with the reason; caught where the query enters the adapter. */
const refuse = (table: Table, reason: string): never => {
  throw new QueryRefused({ model: table.model, reason })
}

const columnOf = (table: Table, field: string): Column =>
  table.columns.get(field) ??
  refuse(table, `the field ${JSON.stringify(field)} cannot be searched; there are: ${[...table.columns.keys()].join(", ")}`)

const parameterOf = (table: Table, field: string, column: Column, value: string | number | boolean): Parameter => {
  const wanted = column.type === "text" ? "string" : column.type === "flag" ? "boolean" : "number"
  if (typeof value !== wanted) return refuse(table, `the field ${field} takes a ${wanted}, not a ${typeof value}`)
  return typeof value === "boolean" ? Number(value) : value
}

const comparisons = { gte: ">=", lte: "<=", gt: ">", lt: "<" } as const

const conditionSql = (table: Table, condition: Condition, parameters: Array<Parameter>): string => {
  const column = columnOf(table, condition.field)
  const add = (value: string | number | boolean) => parameters.push(parameterOf(table, condition.field, column, value))
  switch (condition.is) {
    case "eq":
      add(condition.value)
      return `${column.name} = ?`
    case "in": {
      if (condition.values.length > inValuesMax)
        refuse(table, `${condition.values.length} values for ${condition.field}; at most ${inValuesMax}`)
      for (const value of condition.values) add(value)
      return `${column.name} IN (${condition.values.map(() => "?").join(", ")})`
    }
    case "prefix":
      if (column.type !== "text") refuse(table, `the field ${condition.field} is no text, so it has no prefix`)
      add(condition.value)
      parameters.push(`${condition.value}\u{10ffff}`)
      return `(${column.name} >= ? AND ${column.name} < ?)`
    default: {
      add(condition.value)
      const present = column.sorted ? ` AND ${column.name} <> ${column.type === "text" ? "''" : smallest(column.type)}` : ""
      return `(${column.name} ${comparisons[condition.is]} ?${present})`
    }
  }
}

/** The order asked for must have an index: a declared sort, or the rest of one whose leading fields are pinned by `eq`. */
const orderOf = (table: Table, query: Query): Order => {
  const descending = query.descending ?? false
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
  return { columns: wanted.map((field) => columnOf(table, field)), descending }
}

/**
 * A page's statement. `scopeNumber` is the number of the scope, or of the space for a query across it; the one that the index
 * begins with.
 */
export const findStatement = (table: Table, query: Query, scopeNumber: number, cursorKey: Buffer): Statement => {
  if (!Number.isInteger(query.limit) || query.limit < 1 || query.limit > pageLimitMax)
    refuse(table, `a page has 1 to ${pageLimitMax} views, not ${query.limit}`)
  const across = query.across !== undefined
  if (across && table.definition.acrossSpace !== true) refuse(table, "its views are listed within one scope, not across a space")
  const order = orderOf(table, query)
  const names = [...order.columns.map(({ name }) => name), "id", ...(across ? ["scope"] : [])]
  const parameters: Array<Parameter> = [scopeNumber]
  const terms = [`${across ? "space" : "scope"} = ?`, "doc IS NOT NULL"]
  for (const condition of query.where ?? []) terms.push(conditionSql(table, condition, parameters))
  const cursor = cursors(cursorKey, table, query)
  if (query.cursor !== undefined) {
    const last = cursor.read(query.cursor)
    if (last === undefined || last.length !== names.length)
      return refuse(table, "the cursor is not one of this very query; start again without it")
    terms.push(`(${names.join(", ")}) ${order.descending ? "<" : ">"} (${names.map(() => "?").join(", ")})`)
    parameters.push(...last)
  }
  parameters.push(query.limit + 1)
  const direction = order.descending ? " DESC" : ""
  return {
    sql: `SELECT doc, ${names.join(", ")} FROM ${table.name} WHERE ${terms.join(" AND ")} ORDER BY ${names.map((name) => name + direction).join(", ")} LIMIT ?`,
    parameters,
    page: (rows) => {
      const items = rows.slice(0, query.limit).map((row) => JSON.parse(row["doc"] as string) as Record<string, unknown>)
      const last = rows.length > query.limit ? rows[query.limit - 1] : undefined
      return { items, next: last === undefined ? null : cursor.write(names.map((name) => last[name] as Parameter)) }
    }
  }
}
