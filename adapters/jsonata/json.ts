/** Values on their way into and out of an expression: copies without prototypes in, plain and bounded JSON out. */
import { isFunction, Stopped } from "./limits.ts"

const depthMax = 256

/** JSONata tells its own functions from data by fields that begin so: data may not pose as one. */
const isReserved = (key: string) => key.startsWith("_jsonata_")

/** Objects with an empty and frozen chain above them: as bare as `Object.create(null)`, at a quarter of its memory and time. */
class Bare {
  [field: string]: unknown
}
Reflect.deleteProperty(Bare.prototype, "constructor")
Object.freeze(Object.setPrototypeOf(Bare.prototype, null))

/** A deep copy whose objects have no prototype: nothing to walk up, and nothing of the caller's to change. */
export const copyIn = (value: unknown, depth = 0): unknown => {
  if (typeof value !== "object" || value === null) return typeof value === "function" ? undefined : value
  if (depth > depthMax) throw new Stopped("depth", `the input is nested deeper than ${depthMax} levels`)
  if (Array.isArray(value)) {
    const copy: Array<unknown> = new Array(value.length)
    for (let index = 0; index < value.length; index++) copy[index] = copyIn(value[index], depth + 1)
    return copy
  }
  const copy = new Bare()
  for (const key of Object.keys(value)) {
    if (isReserved(key)) throw new Stopped(undefined, "the input has a field whose name begins with _jsonata_, which is reserved")
    copy[key] = copyIn((value as Record<string, unknown>)[key], depth + 1)
  }
  return copy
}

/** Plain JSON of a result, at most so many characters when written. `undefined` becomes null, as do numbers that JSON lacks. */
export const copyOut = (result: unknown, charsMax: number): unknown => {
  let left = charsMax
  const spend = (chars: number) => {
    left -= chars
    if (left < 0) throw new Stopped("output", `the result is larger than ${charsMax} characters`)
  }
  const copy = (value: unknown, depth: number): unknown => {
    if (typeof value === "string") {
      spend(value.length + 2)
      return value
    }
    spend(6)
    if (typeof value === "number") return Number.isFinite(value) ? value : null
    if (typeof value === "boolean") return value
    if (value === null || value === undefined) return null
    if (typeof value !== "object" || isFunction(value)) throw new Stopped(undefined, "the result holds a function")
    if (depth > depthMax) throw new Stopped("depth", `the result is nested deeper than ${depthMax} levels`)
    if (Array.isArray(value)) return Array.from(value, (item: unknown) => copy(item, depth + 1))
    return copyFields(value as Record<string, unknown>, depth)
  }
  const copyFields = (fields: Record<string, unknown>, depth: number) => {
    const plain: Record<string, unknown> = {}
    for (const key of Object.keys(fields)) {
      const field = fields[key]
      if (field === undefined) continue
      spend(key.length)
      const copied = copy(field, depth + 1)
      if (key === "__proto__") Object.defineProperty(plain, key, { value: copied, enumerable: true, configurable: true, writable: true })
      else plain[key] = copied
    }
    return plain
  }
  return copy(result, 0)
}
