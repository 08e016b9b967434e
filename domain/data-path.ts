/** Paths into JSON: names and indexes separated by dots, such as `customer.tags.0`; the empty path is the whole value. */
import * as Schema from "effect/Schema"

export type DataPath = typeof DataPath.Type
export const DataPath = Schema.String.check(
  Schema.isMaxLength(256),
  Schema.makeFilter((path) => path === "" || path.split(".").every((part) => part !== "") || "Expected names separated by single dots")
)

/** Reads the value at a path; undefined where there is none. Only own properties are read, so `__proto__` leads nowhere. */
export type ReadPath = (value: unknown) => unknown

export const readerOf = (path: string): ReadPath => {
  if (path === "") return (value) => value
  const parts = path.split(".")
  return (value) => {
    let found = value
    for (const part of parts) {
      if (typeof found !== "object" || found === null || !Object.hasOwn(found, part)) return undefined
      found = (found as Record<string, unknown>)[part]
    }
    return found
  }
}

/** Text, numbers and flags as text; anything else is no text. */
export const asText = (value: unknown): string | undefined =>
  typeof value === "string" ? value : typeof value === "number" || typeof value === "boolean" ? String(value) : undefined
