/** What an update makes of a document: a replacement, or `$set`, `$setOnInsert`, `$unset` and `$inc` of whole paths. */
import type { Document } from "bson"
import { CommandFailed } from "./failures.ts"
import { compare, valueAt } from "./values.ts"

const setAt = (document: Document, path: string, value: unknown): void => {
  const keys = path.split(".")
  let at = document
  for (const key of keys.slice(0, -1)) {
    at[key] = { ...at[key] }
    at = at[key]
  }
  if (value === undefined) delete at[keys.at(-1)!]
  else at[keys.at(-1)!] = value
}

const operators: Record<string, (document: Document, path: string, value: unknown) => void> = {
  $set: setAt,
  $setOnInsert: setAt,
  $unset: (document, path) => setAt(document, path, undefined),
  $inc: (document, path, value) => setAt(document, path, Number(valueAt(document, path) ?? 0) + Number(value))
}

/** Null `before`: an insert by upsert, which begins with the filter's equalities. */
export const updated = (before: Document | null, update: Document | Array<Document>, filter: Document): Document => {
  if (Array.isArray(update)) throw new CommandFailed(2, "updates by pipelines are not known here")
  const start: Document =
    before ?? Object.fromEntries(Object.entries(filter).filter(([key, value]) => !key.startsWith("$") && isValue(value)))
  if (Object.keys(update)[0]?.startsWith("$") !== true) return { _id: start["_id"], ...update }
  const after: Document = { ...start }
  for (const [operator, fields] of Object.entries(update)) {
    const apply = operators[operator]
    if (apply === undefined) throw new CommandFailed(2, `unknown update operator here: ${operator}`)
    if (operator === "$setOnInsert" && before !== null) continue
    for (const [path, value] of Object.entries(fields as Document)) apply(after, path, value)
  }
  if (before !== null && compare(before["_id"], after["_id"]) !== 0) throw new CommandFailed(66, "the field _id cannot be changed")
  return after
}

const isValue = (value: unknown): boolean => value === null || typeof value !== "object" || Object.keys(value)[0]?.startsWith("$") !== true
