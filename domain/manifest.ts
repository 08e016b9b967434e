/** A connector's manifest: everything that Tributary knows about an outside app, as data. */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { Action, actionFindings, transportHeaders } from "./action-manifest.ts"
import { Condition } from "./condition.ts"
import { DataPath } from "./data-path.ts"
import { capped, type Finding, pointerOf, strictly } from "./finding.ts"
import { ConnectorId } from "./ids.ts"
import { JsonSchema } from "./json-schema.ts"
import { HeaderName, WebhookManifest } from "./webhook-manifest.ts"

/** A name inside a manifest: of an action, an auth method, a variable or a field. */
const MemberName = Schema.String.check(
  Schema.isPattern(/^[a-zA-Z][a-zA-Z0-9_]{0,63}$/u, { expected: "a letter, then letters, digits and underscores, at most 64" })
)
/** The name of an event as the vendor writes it, such as `orders/create`. */
export const EventName = Schema.String.check(
  Schema.isPattern(/^[\x21-\x7e]{1,128}$/u, { expected: "printable text without spaces, at most 128" })
)

/**
 * A per-tenant part of the base URL. `text` goes into a host or path and may hold letters, digits, dots, dashes, underscores
 * and tildes alone; `origin` is a whole `https://host:port` for apps that customers run themselves, at the URL's start.
 */
export type Variable = typeof Variable.Type
export const Variable = Schema.Struct({
  kind: Schema.optionalKey(Schema.Literals(["text", "origin"])),
  /** The whole value must match; evaluated in linear time. */
  pattern: Schema.optionalKey(Schema.String.check(Schema.isMaxLength(500))),
  description: Schema.optionalKey(Schema.String),
  default: Schema.optionalKey(Schema.String)
})

/** Where a credential goes. `value` names secret fields in braces; left out: the method's only field. */
export type Placement = typeof Placement.Type
export const Placement = Schema.Struct({
  in: Schema.Literals(["header", "query", "cookie", "body"]),
  name: Schema.String.check(Schema.isPattern(/^[\x21-\x7e]{1,100}$/u, { expected: "printable text without spaces, at most 100" })),
  prefix: Schema.optionalKey(Schema.String),
  value: Schema.optionalKey(Schema.String)
})

export const SecretField = Schema.Struct({
  label: Schema.optionalKey(Schema.String),
  description: Schema.optionalKey(Schema.String),
  pattern: Schema.optionalKey(Schema.String.check(Schema.isMaxLength(500)))
})

/** A way to prove to the vendor who is asking. */
export type AuthMethod = typeof AuthMethod.Type
export const AuthMethod = Schema.Union([
  Schema.Struct({ kind: Schema.Literal("none") }),
  Schema.Struct({ kind: Schema.Literal("apiKey"), place: Placement }),
  Schema.Struct({ kind: Schema.Literal("bearer") }),
  Schema.Struct({ kind: Schema.Literal("basic") }),
  Schema.Struct({
    kind: Schema.Literal("custom"),
    fields: Schema.Record(MemberName, SecretField),
    place: Schema.Array(Placement).check(Schema.isMinLength(1), Schema.isMaxLength(10))
  })
])

/** The secret fields that a connection by this method needs. */
export const secretFieldsOf = (method: AuthMethod): ReadonlyArray<string> => {
  switch (method.kind) {
    case "none":
      return []
    case "apiKey":
      return ["apiKey"]
    case "bearer":
      return ["token"]
    case "basic":
      return ["username", "password"]
    case "custom":
      return Object.keys(method.fields)
  }
}

const Statuses = Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 100, maximum: 599 })))

/** What the vendor's errors mean. Defaults: 408, 425, 429 and 5xx transient; 401 credentials; other 4xx permanent. */
export type ErrorsManifest = typeof ErrorsManifest.Type
export const ErrorsManifest = Schema.Struct({
  transient: Schema.optionalKey(Statuses),
  permanent: Schema.optionalKey(Statuses),
  credentials: Schema.optionalKey(Statuses),
  /** Before the statuses, in order, also for a 200: conditions over `{ status, headers, body }`. */
  rules: Schema.optionalKey(
    Schema.Array(Schema.Struct({ when: Condition, meaning: Schema.Literals(["transient", "permanent", "credentials"]) }))
  ),
  /** The header that says when to come again, and what it holds; `retry-after` in seconds or as a date unless set. */
  retryAfter: Schema.optionalKey(
    Schema.Struct({ header: HeaderName, unit: Schema.Literals(["seconds", "epochSeconds", "epochMillis", "date"]) })
  ),
  /** Where the vendor's own words are in an error's body. */
  message: Schema.optionalKey(DataPath)
})

export type Manifest = typeof Manifest.Type
export const Manifest = Schema.Struct({
  id: ConnectorId,
  name: Schema.NonEmptyString.check(Schema.isMaxLength(100)),
  version: Schema.optionalKey(Schema.String.check(Schema.isMaxLength(50))),
  description: Schema.optionalKey(Schema.String),
  icon: Schema.optionalKey(Schema.String),
  baseUrl: Schema.optionalKey(Schema.String.check(Schema.isMaxLength(500))),
  variables: Schema.optionalKey(Schema.Record(MemberName, Variable)),
  auth: Schema.Record(MemberName, AuthMethod),
  actions: Schema.optionalKey(Schema.Record(MemberName, Action)),
  errors: Schema.optionalKey(ErrorsManifest),
  webhook: Schema.optionalKey(WebhookManifest),
  triggers: Schema.optionalKey(
    Schema.Array(
      Schema.Struct({ event: EventName, description: Schema.optionalKey(Schema.String), schema: Schema.optionalKey(JsonSchema) })
    )
  )
})

/** The names in braces of a template, in order. */
export const placeholdersOf = (template: string): ReadonlyArray<string> =>
  Array.from(template.matchAll(/\{([^{}]*)\}/gu), (match) => match[1]!)

const finding = (path: ReadonlyArray<string | number>, message: string): Finding => ({ pointer: pointerOf(path), message })

const baseUrlFindings = (manifest: Manifest): ReadonlyArray<Finding> => {
  const found: Array<Finding> = []
  const { baseUrl, variables = {} } = manifest
  if (baseUrl === undefined) {
    return Object.keys(manifest.actions ?? {}).length === 0 ? [] : [finding(["baseUrl"], "The actions need a base URL. Add it.")]
  }
  for (const name of placeholdersOf(baseUrl)) {
    if (!Object.hasOwn(variables, name)) found.push(finding(["baseUrl"], `{${name}} is not declared. Add it to variables.`))
    else if (variables[name]!.kind === "origin" && !baseUrl.startsWith(`{${name}}`)) {
      found.push(finding(["baseUrl"], `{${name}} is a whole origin. Put it at the start.`))
    }
  }
  const sample = baseUrl.replace(/\{([^{}]*)\}/gu, (_, name: string) =>
    Object.hasOwn(variables, name) && variables[name]!.kind === "origin" ? "https://example.test" : "0"
  )
  const url = URL.canParse(sample) ? new URL(sample) : null
  if (url === null || (url.protocol !== "https:" && url.protocol !== "http:")) {
    found.push(finding(["baseUrl"], "This is not an http or https URL. Write it like https://{shop}.example.com/api."))
  } else if (url.username !== "" || url.password !== "" || url.search !== "" || url.hash !== "") {
    found.push(finding(["baseUrl"], "A base URL has no credentials, query or fragment. Remove them."))
  }
  return found
}

const placementFindings = (path: ReadonlyArray<string>, place: Placement, fields: ReadonlyArray<string>): ReadonlyArray<Finding> => {
  const found: Array<Finding> = []
  for (const name of placeholdersOf(place.value ?? "")) {
    if (!fields.includes(name))
      found.push(finding([...path, "value"], `{${name}} is not a field of this method. Known: ${fields.join(", ")}.`))
  }
  if (place.value === undefined && fields.length > 1) {
    found.push(finding([...path, "value"], `Say which field goes here, such as "{${fields[0]}}".`))
  }
  if (place.in === "header" && (place.name !== place.name.toLowerCase() || transportHeaders.has(place.name))) {
    found.push(finding([...path, "name"], "Write the header in lower case; headers of the transport cannot be set."))
  }
  return found
}

const authFindings = (manifest: Manifest): ReadonlyArray<Finding> => {
  const entries = Object.entries(manifest.auth)
  if (entries.length === 0) return [finding(["auth"], "Name at least one method; `none: { kind: none }` when the app asks for nothing.")]
  return entries.flatMap(([name, method]) => {
    if (method.kind === "apiKey") return placementFindings(["auth", name, "place"], method.place, secretFieldsOf(method))
    if (method.kind !== "custom") return []
    return method.place.flatMap((place, index) => placementFindings(["auth", name, "place", String(index)], place, secretFieldsOf(method)))
  })
}

const webhookFindings = ({ webhook, triggers }: Manifest): ReadonlyArray<Finding> => {
  if (webhook === undefined) return []
  const found: Array<Finding> = []
  const { signature } = webhook
  const at = (...path: ReadonlyArray<string>) => ["webhook", ...path]
  const signs = (part: "body" | "form" | "timestamp" | "id" | "secret") => signature.parts.includes(part)
  if (!signs("body") && !(signs("form") && signature.bodyHashQuery !== undefined && signature.parts.includes("url"))) {
    found.push(finding(at("signature", "parts"), "The body is not signed. Add body, or url and form together with bodyHashQuery."))
  }
  if (signature.algorithm === "sha256" && !signs("secret")) {
    found.push(finding(at("signature", "parts"), "A plain hash proves nothing without the secret. Add secret to the parts."))
  }
  if (signature.algorithm !== "sha256" && signs("secret")) {
    found.push(finding(at("signature", "parts"), "The secret is the key of this algorithm, never a part of the signed text. Remove it."))
  }
  const from = signature.timestamp?.from
  if (signs("timestamp") && (from === undefined || "body" in from)) {
    found.push(
      finding(at("signature", "timestamp"), "The signed timestamp has to be found in a header or in the signature's list. Add it.")
    )
  }
  if (!signs("timestamp") && from !== undefined && !("body" in from)) {
    found.push(finding(at("signature", "timestamp"), "This timestamp is not signed, so it proves nothing. Add timestamp to the parts."))
  }
  if (from !== undefined && "listPrefix" in from && signature.listSeparator === undefined) {
    found.push(finding(at("signature", "listSeparator"), "A timestamp in the list needs the list's separator. Add it."))
  }
  if (signs("id") !== (signature.idHeader !== undefined)) {
    found.push(finding(at("signature", "idHeader"), "The part id and idHeader belong together. Add the missing one."))
  }
  for (const key of ["deliveryId", "event", "tenant"] as const) {
    const locator = webhook[key]
    if (locator !== undefined && "element" in locator && webhook.elements === undefined) {
      found.push(finding(at(key, "element"), "There are no elements. Add elements, or use body."))
    }
  }
  if ((triggers ?? []).length === 0) found.push({ pointer: "/triggers", message: "Name the events that the webhook brings." })
  return found
}

const decode = strictly(Manifest)

/** A manifest that is stored: it was checked when it was published, and rules that came later do not undo that. */
export const readStoredManifest = (input: unknown): Result.Result<Manifest, ReadonlyArray<Finding>> =>
  Result.mapError(decode(input), capped)

/** Reads a manifest that is to be published: everything that is wrong with it, or the manifest. */
export const readManifest = (input: unknown): Result.Result<Manifest, ReadonlyArray<Finding>> => {
  const decoded = readStoredManifest(input)
  if (Result.isFailure(decoded)) return decoded
  const manifest = decoded.success
  const found = [
    ...baseUrlFindings(manifest),
    ...authFindings(manifest),
    ...Object.entries(manifest.actions ?? {}).flatMap(([name, action]) => actionFindings(name, action)),
    ...webhookFindings(manifest)
  ]
  return found.length === 0 ? Result.succeed(manifest) : Result.fail(capped(found))
}
