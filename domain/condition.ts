/** Conditions over JSON: which events a flow wants, which answers of a vendor mean what. */
import * as Schema from "effect/Schema"
import { DataPath, type ReadPath, readerOf } from "./data-path.ts"

const Scalar = Schema.Union([Schema.String, Schema.Finite, Schema.Boolean, Schema.Null])
type Scalar = typeof Scalar.Type

/** A comparison of the value at a path, or conditions joined by `and`, `or`, `not`. A path that leads nowhere meets only `exists: false` and `neq`. */
export type Condition =
  | { readonly path: string; readonly eq: Scalar }
  | { readonly path: string; readonly neq: Scalar }
  | { readonly path: string; readonly gt: number | string }
  | { readonly path: string; readonly gte: number | string }
  | { readonly path: string; readonly lt: number | string }
  | { readonly path: string; readonly lte: number | string }
  | { readonly path: string; readonly in: ReadonlyArray<Scalar> }
  | { readonly path: string; readonly contains: Scalar }
  | { readonly path: string; readonly exists: boolean }
  | { readonly and: ReadonlyArray<Condition> }
  | { readonly or: ReadonlyArray<Condition> }
  | { readonly not: Condition }

const ordered = Schema.Union([Schema.Finite, Schema.String])
const branches = Schema.Array(Schema.suspend((): Schema.Codec<Condition> => Condition)).check(Schema.isMinLength(1), Schema.isMaxLength(50))

export const Condition: Schema.Codec<Condition> = Schema.Union([
  Schema.Struct({ path: DataPath, eq: Scalar }),
  Schema.Struct({ path: DataPath, neq: Scalar }),
  Schema.Struct({ path: DataPath, gt: ordered }),
  Schema.Struct({ path: DataPath, gte: ordered }),
  Schema.Struct({ path: DataPath, lt: ordered }),
  Schema.Struct({ path: DataPath, lte: ordered }),
  Schema.Struct({ path: DataPath, in: Schema.Array(Scalar).check(Schema.isMinLength(1), Schema.isMaxLength(1000)) }),
  Schema.Struct({ path: DataPath, contains: Scalar }),
  Schema.Struct({ path: DataPath, exists: Schema.Boolean }),
  Schema.Struct({ and: branches }),
  Schema.Struct({ or: branches }),
  Schema.Struct({ not: Schema.suspend((): Schema.Codec<Condition> => Condition) })
])

export type Predicate = (value: unknown) => boolean

/**
 * Numbers are compared as numbers, also when the event carries them as text ("19.90"), as many vendors do; with text on the
 * condition's side, text is compared by code units, which orders ISO times of one zone.
 */
const comparison = (read: ReadPath, bound: number | string, holds: (order: number) => boolean): Predicate => {
  if (typeof bound === "string") {
    return (value) => {
      const found = read(value)
      return typeof found === "string" && holds(found < bound ? -1 : found > bound ? 1 : 0)
    }
  }
  return (value) => {
    const found = read(value)
    const number = typeof found === "number" ? found : typeof found === "string" && found.trim() !== "" ? Number(found) : Number.NaN
    return !Number.isNaN(number) && holds(number - bound)
  }
}

const containing = (read: ReadPath, wanted: Scalar): Predicate => {
  return (value) => {
    const found = read(value)
    if (typeof found === "string") return typeof wanted === "string" && found.includes(wanted)
    return Array.isArray(found) && found.includes(wanted)
  }
}

const comparing = (condition: Exclude<Condition, { and: unknown } | { or: unknown } | { not: unknown }>): Predicate => {
  const read = readerOf(condition.path)
  if ("eq" in condition) return (value) => read(value) === condition.eq
  if ("neq" in condition) return (value) => read(value) !== condition.neq
  if ("gt" in condition) return comparison(read, condition.gt, (order) => order > 0)
  if ("gte" in condition) return comparison(read, condition.gte, (order) => order >= 0)
  if ("lt" in condition) return comparison(read, condition.lt, (order) => order < 0)
  if ("lte" in condition) return comparison(read, condition.lte, (order) => order <= 0)
  if ("contains" in condition) return containing(read, condition.contains)
  if ("exists" in condition) return (value) => (read(value) !== undefined) === condition.exists
  const wanted: ReadonlySet<unknown> = new Set(condition.in)
  return (value) => wanted.has(read(value))
}

/** Compiles a condition: paths are split once, nothing is allocated when it is asked. */
export const predicateOf = (condition: Condition): Predicate => {
  if ("and" in condition) {
    const all = condition.and.map(predicateOf)
    return (value) => all.every((holds) => holds(value))
  }
  if ("or" in condition) {
    const any = condition.or.map(predicateOf)
    return (value) => any.some((holds) => holds(value))
  }
  if ("not" in condition) {
    const holds = predicateOf(condition.not)
    return (value) => !holds(value)
  }
  return comparing(condition)
}

export const matches = (condition: Condition, value: unknown): boolean => predicateOf(condition)(value)

/** How deep conditions may be nested. */
export const conditionDepthMax = 20

export const depthOf = (condition: Condition): number => {
  if ("and" in condition) return 1 + Math.max(...condition.and.map(depthOf))
  if ("or" in condition) return 1 + Math.max(...condition.or.map(depthOf))
  return "not" in condition ? 1 + depthOf(condition.not) : 1
}
