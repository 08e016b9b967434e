/** Planned queries on views as MongoDB's filters. */
import type { Filter, Sort } from "mongodb"
import { type Plannable, planQuery, type Term, type Value } from "#adapters/read-models/query-plan.ts"
import type { Page, Query } from "#services/ports/read-models.ts"

/** A view as it is stored. `<scope>/<id>` is its id; scopes have no slash. */
export interface ViewDocument {
  readonly _id: string
  readonly scope: string
  readonly space: string
  readonly id: string
  readonly at: string
  /** The view as JSON text, as the embedded store has it too: every key and every number comes back as it was. Null: removed. */
  readonly view: string | null
  /** False: removed. */
  readonly live: boolean
  /** The declared fields; flags are 0 and 1. */
  readonly by: Readonly<Record<string, Value>>
}

export interface FindPlan {
  readonly filter: Filter<ViewDocument>
  readonly sort: Sort
  /** One more than asked for. */
  readonly limit: number
  readonly page: (found: ReadonlyArray<ViewDocument>) => Page
}

type Condition = Readonly<Record<string, unknown>>

export const fieldPath = (field: string): string => `by.${field}`

const termFilter = (term: Term): Condition => {
  const path = fieldPath(term.column.field)
  switch (term.is) {
    case "eq":
      return { [path]: term.value }
    case "in":
      return { [path]: { $in: term.values } }
    case "prefix":
      return { [path]: { $gte: term.value, $lt: term.end } }
    default:
      return { [path]: { [`$${term.is}`]: term.value, ...(term.not === null ? {} : { $ne: term.not }) } }
  }
}

/** What comes after a place of the order: equal in some first fields, beyond it in the next. The first bound alone serves an index. */
const afterFilter = (paths: ReadonlyArray<string>, place: ReadonlyArray<Value>, descending: boolean): ReadonlyArray<Condition> => {
  const beyond = descending ? "$lt" : "$gt"
  const steps = paths.map((path, index) => ({
    ...Object.fromEntries(paths.slice(0, index).map((before, at) => [before, place[at]])),
    [path]: { [beyond]: place[index] }
  }))
  return [{ [paths[0]!]: { [`${beyond}e`]: place[0] } }, { $or: steps }]
}

const valueAt = (document: ViewDocument, path: string): Value =>
  path === "id" ? document.id : path === "scope" ? document.scope : document.by[path.slice(fieldPath("").length)]!

/** Throws `QueryRefused`. */
export const findPlan = (table: Plannable, query: Query, cursorKey: Buffer): FindPlan => {
  const { across, terms, order, descending, after, limit, cursorAt } = planQuery(table, query, cursorKey)
  const paths = [...order.map(({ field }) => fieldPath(field)), "id", ...(across ? ["scope"] : [])]
  const conditions = [...terms.map(termFilter), ...(after === null ? [] : afterFilter(paths, after, descending))]
  const filter = {
    [across ? "space" : "scope"]: query.scope.key,
    live: true,
    ...(conditions.length === 0 ? {} : { $and: conditions })
  } as Filter<ViewDocument>
  return {
    filter,
    sort: Object.fromEntries(paths.map((path) => [path, descending ? -1 : 1])),
    limit: limit + 1,
    page: (found) => {
      const items = found.slice(0, limit).map(({ view }) => JSON.parse(view!) as Record<string, unknown>)
      const last = found.length > limit ? found[limit - 1] : undefined
      return { items, next: last === undefined ? null : cursorAt(paths.map((path) => valueAt(last, path))) }
    }
  }
}
