/** Planned queries on views as SQL. */
import { planQuery, type Term, type Value } from "#adapters/read-models/query-plan.ts"
import type { Page, Query } from "#services/ports/read-models.ts"
import type { Table } from "./read-models-tables.ts"

export interface Statement {
  readonly sql: string
  readonly parameters: ReadonlyArray<Value>
  /** Turns the rows, one more than asked for, into the page. */
  readonly page: (rows: ReadonlyArray<Record<string, unknown>>) => Page
}

const comparisons = { gte: ">=", lte: "<=", gt: ">", lt: "<" } as const

const termSql = (term: Term, parameters: Array<Value>): string => {
  const { name } = term.column
  switch (term.is) {
    case "eq":
      parameters.push(term.value)
      return `${name} = ?`
    case "in":
      parameters.push(...term.values)
      return `${name} IN (${term.values.map(() => "?").join(", ")})`
    case "prefix":
      parameters.push(term.value, term.end)
      return `(${name} >= ? AND ${name} < ?)`
    default: {
      parameters.push(term.value)
      const present = term.not === null ? "" : ` AND ${name} <> ${typeof term.not === "string" ? "''" : term.not}`
      return `(${name} ${comparisons[term.is]} ?${present})`
    }
  }
}

/**
 * A page's statement. `scopeNumber` is the number of the scope, or of the space for a query across it; the one that the index
 * begins with.
 */
export const findStatement = (table: Table, query: Query, scopeNumber: number, cursorKey: Buffer): Statement => {
  const { across, terms, order, descending, after, limit, cursorAt } = planQuery(table, query, cursorKey)
  const names = [...order.map(({ name }) => name), "id", ...(across ? ["scope"] : [])]
  const parameters: Array<Value> = [scopeNumber]
  const conditions = [`${across ? "space" : "scope"} = ?`, "doc IS NOT NULL", ...terms.map((term) => termSql(term, parameters))]
  if (after !== null) {
    conditions.push(`(${names.join(", ")}) ${descending ? "<" : ">"} (${names.map(() => "?").join(", ")})`)
    parameters.push(...after)
  }
  parameters.push(limit + 1)
  const direction = descending ? " DESC" : ""
  return {
    sql: `SELECT doc, ${names.join(", ")} FROM ${table.name} WHERE ${conditions.join(" AND ")} ORDER BY ${names.map((name) => name + direction).join(", ")} LIMIT ?`,
    parameters,
    page: (rows) => {
      const items = rows.slice(0, limit).map((row) => JSON.parse(row["doc"] as string) as Record<string, unknown>)
      const last = rows.length > limit ? rows[limit - 1] : undefined
      return { items, next: last === undefined ? null : cursorAt(names.map((name) => last[name] as Value)) }
    }
  }
}
