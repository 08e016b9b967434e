/** The part of JSON Schema that manifests are held to: type, required, properties, items, enum. */
import * as Schema from "effect/Schema"
import type { Finding } from "./finding.ts"
import { pointerOf } from "./finding.ts"

/** A JSON Schema; of it `type`, `required`, `properties`, `items` and `enum` are checked. */
export type JsonSchema = { readonly [key: string]: Schema.Json }
export const JsonSchema: Schema.Codec<JsonSchema> = Schema.Record(Schema.String, Schema.Json)

type Path = ReadonlyArray<string | number>

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const own = (value: Readonly<Record<string, unknown>>, key: string): unknown => (Object.hasOwn(value, key) ? value[key] : undefined)

const requiredOf = (schema: JsonSchema): ReadonlyArray<string> => {
  const required = own(schema, "required")
  return Array.isArray(required) ? required.filter((name) => typeof name === "string") : []
}

const propertiesOf = (schema: JsonSchema): ReadonlyArray<readonly [string, JsonSchema]> => {
  const properties = own(schema, "properties")
  return isObject(properties)
    ? Object.entries(properties).flatMap(([name, value]) => (isObject(value) ? [[name, value as JsonSchema] as const] : []))
    : []
}

/** Paths of required properties that a value does not have. A value that `unknown` accepts is only known when it runs. */
export const missingProperties = (schema: JsonSchema, value: unknown, unknown: (value: unknown) => boolean): ReadonlyArray<Path> => {
  if (unknown(value) || !isObject(value)) return []
  const missing: ReadonlyArray<Path> = requiredOf(schema).flatMap((name) => (Object.hasOwn(value, name) ? [] : [[name]]))
  const nested = propertiesOf(schema).flatMap(([name, inner]) =>
    Object.hasOwn(value, name) ? missingProperties(inner, value[name], unknown).map((path) => [name, ...path]) : []
  )
  return [...missing, ...nested]
}

const typeName = (value: unknown): string => {
  if (value === null) return "null"
  if (Array.isArray(value)) return "array"
  return typeof value
}

const hasType = (value: unknown, type: string): boolean =>
  type === "integer" ? typeof value === "number" && Number.isInteger(value) : typeName(value) === type

const typeFinding = (schema: JsonSchema, value: unknown, path: Path): ReadonlyArray<Finding> => {
  const type = own(schema, "type")
  const types = typeof type === "string" ? [type] : Array.isArray(type) ? type.filter((one) => typeof one === "string") : []
  if (types.length === 0 || types.some((one) => hasType(value, one))) return []
  return [{ pointer: pointerOf(path), message: `Expected ${types.join(" or ")}, found ${typeName(value)}.` }]
}

const enumFinding = (schema: JsonSchema, value: unknown, path: Path): ReadonlyArray<Finding> => {
  const values = own(schema, "enum")
  if (!Array.isArray(values) || values.some((one: Schema.Json) => one === value)) return []
  return [{ pointer: pointerOf(path), message: `Expected one of ${JSON.stringify(values.slice(0, 20))}.` }]
}

/** What of a value breaks the schema. Values are never repeated in a message. */
export const schemaFindings = (schema: JsonSchema, value: unknown, path: Path = []): ReadonlyArray<Finding> => {
  const found = [...typeFinding(schema, value, path), ...enumFinding(schema, value, path)]
  if (isObject(value)) {
    for (const name of requiredOf(schema)) {
      if (!Object.hasOwn(value, name)) found.push({ pointer: pointerOf([...path, name]), message: "This property is required. Add it." })
    }
    for (const [name, inner] of propertiesOf(schema)) {
      if (Object.hasOwn(value, name)) found.push(...schemaFindings(inner, value[name], [...path, name]))
    }
  }
  const items = own(schema, "items")
  if (Array.isArray(value) && isObject(items)) {
    for (const [index, item] of value.entries()) found.push(...schemaFindings(items as JsonSchema, item, [...path, index]))
  }
  return found
}
