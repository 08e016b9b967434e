/** A connection's credentials and base URL, placed into requests as the manifest says, and kept out of everything else. */
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import { RE2JS } from "re2js"
import type { Finding } from "#domain/finding.ts"
import { type AuthMethod, type Manifest, type Placement, placeholdersOf, secretFieldsOf, type Variable } from "#domain/manifest.ts"
import { unfitForHeader } from "./request-template.ts"

/** What a connection brings to a call: its auth method's name, the opened secrets by field, and the base URL's variables. */
export interface Credentials {
  readonly method: string
  readonly secrets: Readonly<Record<string, Redacted.Redacted<string>>>
  readonly variables: Readonly<Record<string, string>>
}

export interface Placed {
  readonly baseUrl: string
  readonly headers: Readonly<Record<string, string>>
  /** Encoded `name=value` pairs. */
  readonly query: ReadonlyArray<string>
  readonly bodyFields: Readonly<Record<string, string>> | undefined
  /** Replaces what could be a secret in a text that came from outside. */
  readonly mask: (text: string) => string
}

export const secretLengthMax = 16_384
const variableLengthMax = 253

/** Characters that stay within one part of a host or path. */
const partPattern = /^[A-Za-z0-9._~-]+$/u

const originProblem = (value: string): string | undefined => {
  const url = URL.canParse(value) ? new URL(value) : null
  const fits = url !== null && (url.protocol === "https:" || url.protocol === "http:") && url.origin === value.toLowerCase()
  return fits ? undefined : "Expected an origin like https://erp.example.com:8443, without user, path, query and trailing slash."
}

/** Checks a value against the manifest's pattern in linear time: patterns and values are other people's. */
const patternProblem = (pattern: string | undefined, value: string): string | undefined =>
  pattern === undefined || RE2JS.compile(pattern).matches(value) ? undefined : `Expected a value that matches ${pattern}.`

const variableProblem = (variable: Variable, value: string): string | undefined => {
  if (value.length > variableLengthMax) return `Expected at most ${variableLengthMax} characters.`
  if (variable.kind === "origin") return originProblem(value) ?? patternProblem(variable.pattern, value)
  if (!partPattern.test(value) || value === "." || value === "..")
    return "Expected letters, digits, dots, dashes, underscores and tildes alone."
  return patternProblem(variable.pattern, value)
}

/** What is wrong with the values that a tenant gave for the variables of a base URL. */
export const variableFindings = (manifest: Manifest, values: Readonly<Record<string, string>>): ReadonlyArray<Finding> => {
  const variables = manifest.variables ?? {}
  const unknown = Object.keys(values).flatMap((name) =>
    Object.hasOwn(variables, name) ? [] : [{ pointer: `/variables/${name}`, message: `"${manifest.id}" has no such variable. Remove it.` }]
  )
  const wrong = Object.entries(variables).flatMap(([name, variable]): ReadonlyArray<Finding> => {
    const value = Object.hasOwn(values, name) ? values[name] : variable.default
    if (value === undefined)
      return [{ pointer: `/variables/${name}`, message: variable.description ?? "This variable is required. Add it." }]
    const problem = variableProblem(variable, value)
    return problem === undefined ? [] : [{ pointer: `/variables/${name}`, message: problem }]
  })
  return [...unknown, ...wrong]
}

/** What is wrong with the secrets that somebody entered; never repeats one. */
export const secretFindings = (
  method: AuthMethod,
  secrets: Readonly<Record<string, Redacted.Redacted<string>>>
): ReadonlyArray<Finding> => {
  const fields = secretFieldsOf(method)
  const unknown = Object.keys(secrets).flatMap((name) =>
    fields.includes(name)
      ? []
      : [{ pointer: `/secrets/${name}`, message: `This method has no such field. It asks for: ${fields.join(", ") || "nothing"}.` }]
  )
  const wrong = fields.flatMap((name): ReadonlyArray<Finding> => {
    const value = Object.hasOwn(secrets, name) ? Redacted.value(secrets[name]!) : ""
    const pattern = method.kind === "custom" ? method.fields[name]?.pattern : undefined
    if (value === "") return [{ pointer: `/secrets/${name}`, message: "This secret is required. Enter it." }]
    if (value.length > secretLengthMax) return [{ pointer: `/secrets/${name}`, message: `Expected at most ${secretLengthMax} characters.` }]
    if (unfitForHeader(value))
      return [
        { pointer: `/secrets/${name}`, message: "It contains control characters, perhaps a line break from copying. Enter it again." }
      ]
    if (patternProblem(pattern, value) !== undefined)
      return [{ pointer: `/secrets/${name}`, message: "It does not look as the manifest says. Enter it again." }]
    return []
  })
  return [...unknown, ...wrong]
}

/** The manifest's patterns that are no valid linear-time regular expressions. */
export const patternFindings = (manifest: Manifest): ReadonlyArray<Finding> => {
  const patterns: ReadonlyArray<readonly [string, string | undefined]> = [
    ...Object.entries(manifest.variables ?? {}).map(([name, { pattern }]) => [`/variables/${name}/pattern`, pattern] as const),
    ...Object.entries(manifest.auth).flatMap(([name, method]) =>
      method.kind === "custom"
        ? Object.entries(method.fields).map(([field, { pattern }]) => [`/auth/${name}/fields/${field}/pattern`, pattern] as const)
        : []
    )
  ]
  return patterns.flatMap(([pointer, pattern]) => {
    try {
      if (pattern !== undefined) RE2JS.compile(pattern)
      return []
    } catch {
      return [{ pointer, message: "This is not a regular expression of RE2 syntax (no look-around, no back-references). Correct it." }]
    }
  })
}

const placementsOf = (method: AuthMethod): ReadonlyArray<Placement> => {
  switch (method.kind) {
    case "none":
    case "basic":
      return []
    case "apiKey":
      return [method.place]
    case "bearer":
      return [{ in: "header", name: "authorization", prefix: "Bearer ", value: "{token}" }]
    case "custom":
      return method.place
  }
}

type Opened = Readonly<Record<string, string>>

const placedValue = (place: Placement, opened: Opened): string => {
  const template = place.value ?? `{${Object.keys(opened)[0] ?? ""}}`
  return (place.prefix ?? "") + template.replace(/\{([^{}]*)\}/gu, (_, name: string) => (Object.hasOwn(opened, name) ? opened[name]! : ""))
}

/** Below this length a replacement would tear up ordinary words. */
const maskedLengthMin = 4
const base64 = (text: string): string => Buffer.from(text).toString("base64")

const escapedForHtml = (text: string): string =>
  text.replace(/[&<>"']/gu, (character) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[character] ?? "&#39;")
const escapedForJson = (text: string): string => JSON.stringify(text).slice(1, -1)

/** Below this length a piece of base64 could be anything. */
const base64PieceMin = 12
/** What stays the same of a text in base64 whatever stands before and after it, for each of the three ways to begin. */
const base64Pieces = (bytes: Buffer): ReadonlyArray<string> =>
  [0, 1, 2]
    .map((before) =>
      Buffer.concat([Buffer.alloc(before), bytes])
        .toString("base64url")
        .slice(before === 0 ? 0 : before + 1, -2)
    )
    .filter(({ length }) => length >= base64PieceMin)
const inPlainBase64 = (text: string): string => text.replaceAll("-", "+").replaceAll("_", "/")

/** A secret in the forms in which an answer may repeat it: as it is, in JSON (also within a text of JSON), URL, HTML, base64 and hex. */
const formsOf = (secret: string): ReadonlyArray<string> => {
  const inJson = escapedForJson(secret)
  const inUrl = encodeURIComponent(secret)
  const bytes = Buffer.from(secret)
  const inBase64 = bytes.toString("base64")
  const inHex = bytes.toString("hex")
  const pieces = base64Pieces(bytes)
  const whole = [
    secret,
    inJson,
    escapedForJson(inJson),
    inUrl,
    inUrl.replace(/%[0-9A-F]{2}/gu, (escape) => escape.toLowerCase()),
    escapedForHtml(secret),
    inBase64,
    inBase64.replace(/=+$/u, ""),
    bytes.toString("base64url"),
    inHex,
    inHex.toUpperCase()
  ]
  return [...whole.filter(({ length }) => length >= maskedLengthMin), ...pieces, ...pieces.map(inPlainBase64)]
}

/** JSON's escapes as `JSON.stringify` would write them: vendors also write `\/`, and all that is not ASCII as `\uXXXX`. */
const plainlyEscaped = (text: string): string =>
  text.replace(/\\(?:u([0-9a-fA-F]{4})|[\s\S])/gu, (escape, hex?: string) => {
    if (hex === undefined) return escape === "\\/" ? "/" : escape
    const character = String.fromCharCode(Number.parseInt(hex, 16))
    return character < " " ? escape : character === '"' || character === "\\" ? `\\${character}` : character
  })

const maskOf = (secrets: ReadonlyArray<string>): ((text: string) => string) => {
  const forms = [...new Set(secrets.flatMap(formsOf))].sort((left, right) => right.length - left.length)
  const replaced = (text: string): string => {
    let masked = text
    for (const form of forms) if (masked.includes(form)) masked = masked.replaceAll(form, "***")
    return masked
  }
  return (text) => {
    const masked = replaced(text)
    if (!masked.includes("\\")) return masked
    const plain = plainlyEscaped(masked)
    const again = replaced(plain)
    return again === plain ? masked : again
  }
}

const baseUrlOf = (manifest: Manifest, values: Readonly<Record<string, string>>): string => {
  const template = (manifest.baseUrl ?? "").replace(/\/+$/u, "")
  return template.replace(/\{([^{}]*)\}/gu, (_, name: string) =>
    Object.hasOwn(values, name) ? values[name]! : (manifest.variables?.[name]?.default ?? "")
  )
}

const cookieSafe = (value: string): string => encodeURIComponent(value)

/** Places credentials, or says what is wrong with them. Done once per opened connection. */
export const placeCredentials = (manifest: Manifest, credentials: Credentials): Result.Result<Placed, ReadonlyArray<Finding>> => {
  const method = Object.hasOwn(manifest.auth, credentials.method) ? manifest.auth[credentials.method] : undefined
  if (method === undefined) {
    return Result.fail([
      { pointer: "/method", message: `"${manifest.id}" has no auth method of this name: ${Object.keys(manifest.auth).join(", ")}.` }
    ])
  }
  const wrong = [...variableFindings(manifest, credentials.variables), ...secretFindings(method, credentials.secrets)]
  if (wrong.length > 0) return Result.fail(wrong)

  const opened: Opened = Object.fromEntries(secretFieldsOf(method).map((field) => [field, Redacted.value(credentials.secrets[field]!)]))
  const headers: Record<string, string> = {}
  const query: Array<string> = []
  const cookies: Array<string> = []
  const bodyFields: Record<string, string> = {}
  for (const place of placementsOf(method)) {
    const value = placedValue(place, opened)
    if (place.in === "header") headers[place.name] = value
    else if (place.in === "query") query.push(`${encodeURIComponent(place.name)}=${encodeURIComponent(value)}`)
    else if (place.in === "cookie") cookies.push(`${place.name}=${cookieSafe(value)}`)
    else bodyFields[place.name] = value
  }
  const basic = method.kind === "basic" ? base64(`${opened["username"]}:${opened["password"]}`) : undefined
  if (basic !== undefined) headers["authorization"] = `Basic ${basic}`
  if (cookies.length > 0) headers["cookie"] = cookies.join("; ")
  return Result.succeed({
    baseUrl: baseUrlOf(manifest, credentials.variables),
    headers,
    query,
    bodyFields: Object.keys(bodyFields).length === 0 ? undefined : bodyFields,
    mask: maskOf([...Object.values(opened), ...(basic === undefined ? [] : [basic])])
  })
}

/** The variables that a manifest's base URL needs and has no default for. */
export const requiredVariables = (manifest: Manifest): ReadonlyArray<string> =>
  placeholdersOf(manifest.baseUrl ?? "").filter((name) => manifest.variables?.[name]?.default === undefined)
