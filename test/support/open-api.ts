/** Reading an OpenAPI document: its operations, and whether it holds together. */

/* biome-ignore lint/suspicious/noExplicitAny: a document is plain JSON. */
type Json = any

export interface Operation {
  /** Upper case. */
  readonly method: string
  /** With `{parameters}`. */
  readonly path: string
  readonly parameters: ReadonlyArray<{ readonly in: string; readonly name: string; readonly required?: boolean }>
  /** Names of the JSON body's members, as deep as they are declared: `a`, `a.b`. */
  readonly members: ReadonlyArray<string>
}

const resolved = (document: Json, schema: Json): Json =>
  typeof schema?.$ref === "string" ? resolved(document, pointed(document, schema.$ref)) : schema
const pointed = (document: Json, reference: string): Json =>
  reference
    .slice(2)
    .split("/")
    .reduce((found: Json, part) => found?.[part.replaceAll("~1", "/").replaceAll("~0", "~")], document)

const membersOf = (document: Json, given: Json, prefix = ""): ReadonlyArray<string> => {
  const schema = resolved(document, given)
  const own = Object.entries(schema?.properties ?? {}).flatMap(([name, inner]) => [
    prefix + name,
    ...membersOf(document, inner, `${prefix}${name}.`)
  ])
  const joined = [...(schema?.anyOf ?? []), ...(schema?.oneOf ?? []), ...(schema?.allOf ?? [])]
  return [...own, ...joined.flatMap((inner: Json) => membersOf(document, inner, prefix))]
}

export const operationsOf = (document: Json): ReadonlyArray<Operation> =>
  Object.entries<Json>(document.paths).flatMap(([path, item]) =>
    Object.entries<Json>(item).map(([method, { parameters = [], requestBody }]) => ({
      method: method.toUpperCase(),
      path,
      parameters,
      members: membersOf(document, requestBody?.content?.["application/json"]?.schema)
    }))
  )

const referencesOf = (value: Json): ReadonlyArray<string> => {
  if (typeof value !== "object" || value === null) return []
  const own = typeof value.$ref === "string" ? [value.$ref as string] : []
  return [...own, ...Object.values(value).flatMap(referencesOf)]
}

const problemsOf = (path: string, method: string, operation: Json): ReadonlyArray<string> => {
  const at = `${method} ${path}`
  const parameters: ReadonlyArray<Json> = operation.parameters ?? []
  const declared = parameters.filter((parameter) => parameter.in === "path").map(({ name }) => name)
  const inPath = [...path.matchAll(/\{(\w+)\}/gu)].map(([, name]) => name!)
  const keys = parameters.map((parameter) => `${parameter.in} ${parameter.name}`)
  const responses = Object.entries<Json>(operation.responses ?? {})
  return [
    ...(String(declared.toSorted()) === String(inPath.toSorted()) ? [] : [`${at}: the path's parameters are not those declared`]),
    ...(new Set(keys).size === keys.length ? [] : [`${at}: a parameter is declared twice`]),
    ...parameters
      .filter((parameter) => parameter.in === "path" && parameter.required !== true)
      .map(({ name }) => `${at}: ${name} is not required`),
    ...parameters
      .filter(({ schema, content }) => schema === undefined && content === undefined)
      .map(({ name }) => `${at}: ${name} has no schema`),
    ...(responses.some(([status]) => status.startsWith("2")) ? [] : [`${at}: no way to succeed`]),
    ...responses.filter(([status]) => !/^([1-5]\d\d|default)$/u.test(status)).map(([status]) => `${at}: ${status} is no status`),
    ...responses.filter(([, { description }]) => typeof description !== "string").map(([status]) => `${at}: ${status} has no description`),
    ...(typeof operation.operationId === "string" ? [] : [`${at}: no operationId`])
  ]
}

/** What keeps it from being a sound OpenAPI 3.1 document; empty when nothing does. */
export const documentProblems = (document: Json): ReadonlyArray<string> => {
  const operations = Object.entries<Json>(document.paths).flatMap(([path, item]) =>
    Object.entries<Json>(item).map(([method, operation]) => ({ path, method, operation }))
  )
  const ids = operations.map(({ operation }) => operation.operationId)
  const schemes = Object.keys(document.components?.securitySchemes ?? {})
  return [
    ...(/^3\.1\.\d+$/u.test(document.openapi) ? [] : [`${document.openapi} is not OpenAPI 3.1`]),
    ...(["title", "version"].every((name) => typeof document.info?.[name] === "string") ? [] : ["no title or version"]),
    ...operations.flatMap(({ path, method, operation }) => problemsOf(path, method, operation)),
    ...ids.filter((id, index) => ids.indexOf(id) !== index).map((id) => `${id} names two operations`),
    ...[...new Set(referencesOf(document))]
      .filter((reference) => !reference.startsWith("#/") || pointed(document, reference) === undefined)
      .map((reference) => `${reference} leads nowhere`),
    ...(document.security ?? [])
      .flatMap(Object.keys)
      .filter((name: string) => !schemes.includes(name))
      .map((name: string) => `no scheme ${name}`)
  ]
}
