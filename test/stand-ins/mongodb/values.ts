/** How values compare and filters match: MongoDB's order of types, text by code points. What is not known here is refused. */
import type { Document } from "bson"
import { CommandFailed } from "./failures.ts"

const typeOrder = (value: unknown): number => {
  if (value === undefined || value === null) return 1
  if (typeof value === "number" || typeof value === "bigint") return 2
  if (typeof value === "string") return 3
  if (Array.isArray(value)) return 5
  if (value instanceof Uint8Array || (value as { _bsontype?: string })._bsontype === "Binary") return 6
  if (typeof value === "boolean") return 8
  if (value instanceof Date) return 9
  return 4
}

/** Surrogates stand for code points above all others. */
const rank = (unit: number): number => (unit >= 0xe000 ? unit - 0x800 : unit >= 0xd800 ? unit + 0x2000 : unit)

const compareText = (a: string, b: string): number => {
  const length = Math.min(a.length, b.length)
  for (let index = 0; index < length; index++) {
    const [left, right] = [a.charCodeAt(index), b.charCodeAt(index)]
    if (left !== right) return rank(left) - rank(right)
  }
  return a.length - b.length
}

const bytesOf = (value: unknown): Uint8Array => (value instanceof Uint8Array ? value : (value as { buffer: Uint8Array }).buffer)

export const compare = (a: unknown, b: unknown): number => {
  const order = typeOrder(a)
  const other = typeOrder(b)
  if (order !== other) return order - other
  if (order === 1) return 0
  if (order === 3) return compareText(a as string, b as string)
  if (order === 6) return Buffer.compare(bytesOf(a), bytesOf(b))
  if (order === 4 || order === 5) {
    const [left, right] = [Object.entries(a as object), Object.entries(b as object)]
    for (let index = 0; index < Math.min(left.length, right.length); index++) {
      const difference = compareText(left[index]![0], right[index]![0]) || compare(left[index]![1], right[index]![1])
      if (difference !== 0) return difference
    }
    return left.length - right.length
  }
  const [left, right] = [Number(a), Number(b)]
  return left < right ? -1 : left > right ? 1 : 0
}

export const valueAt = (document: unknown, path: string): unknown => {
  let value = document
  for (const key of path.split(".")) {
    if (value === null || typeof value !== "object") return undefined
    value = (value as Record<string, unknown>)[key]
  }
  return value
}

const isOperators = (value: unknown): value is Document =>
  value !== null &&
  typeof value === "object" &&
  Object.getPrototypeOf(value) === Object.prototype &&
  Object.keys(value)[0]?.startsWith("$") === true

const ranges: Record<string, (order: number) => boolean> = {
  $gt: (order) => order > 0,
  $gte: (order) => order >= 0,
  $lt: (order) => order < 0,
  $lte: (order) => order <= 0
}

const holds = (found: unknown, operator: string, wanted: unknown): boolean => {
  const range = ranges[operator]
  // A range finds values of its own type alone.
  if (range !== undefined) return found !== undefined && typeOrder(found) === typeOrder(wanted) && range(compare(found, wanted))
  if (operator === "$eq") return compare(found, wanted) === 0
  if (operator === "$ne") return compare(found, wanted) !== 0
  if (operator === "$in") return (wanted as Array<unknown>).some((one) => compare(found, one) === 0)
  if (operator === "$nin") return (wanted as Array<unknown>).every((one) => compare(found, one) !== 0)
  if (operator === "$exists") return (found !== undefined) === Boolean(wanted)
  throw new CommandFailed(2, `unknown operator here: ${operator}`)
}

export const matches = (filter: Document, document: Document): boolean => {
  for (const [key, wanted] of Object.entries(filter)) {
    if (key === "$and") {
      if (!(wanted as Array<Document>).every((one) => matches(one, document))) return false
    } else if (key === "$or") {
      if (!(wanted as Array<Document>).some((one) => matches(one, document))) return false
    } else if (key.startsWith("$")) throw new CommandFailed(2, `unknown top level operator here: ${key}`)
    else {
      const found = valueAt(document, key)
      if (Array.isArray(found)) throw new CommandFailed(2, "filters on arrays are not known here")
      if (!isOperators(wanted)) {
        if (compare(found, wanted) !== 0) return false
      } else for (const [operator, value] of Object.entries(wanted)) if (!holds(found, operator, value)) return false
    }
  }
  return true
}

export const bySort =
  (sort: Document) =>
  (a: Document, b: Document): number => {
    for (const [path, direction] of Object.entries(sort)) {
      const order = compare(valueAt(a, path), valueAt(b, path))
      if (order !== 0) return direction === -1 ? -order : order
    }
    return 0
  }

/** Whole fields only, as the first key says: the ones named, or all but those. */
export const project = (projection: Document | undefined, document: Document): Document => {
  const names = Object.keys(projection ?? {}).filter((name) => name !== "_id")
  const first = projection === undefined ? undefined : (projection[names[0] ?? "_id"] as unknown)
  if (projection === undefined || first === undefined) return document
  const keeps = Boolean(first)
  const kept = Object.entries(document).filter(([name]) =>
    name === "_id" ? (projection["_id"] ?? 1) !== 0 && projection["_id"] !== false : names.includes(name) === keeps
  )
  return Object.fromEntries(kept)
}
