/** Logs: one JSON object a line on standard error, with secrets taken out. */
import * as Cause from "effect/Cause"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Redacted from "effect/Redacted"
import * as References from "effect/References"

/** Values under these names are never written, whatever they are. */
const secretName = /authorization|cookie|api-?_?key|secret|password|passphrase|token|signature|credential|private/iu
/** Text that looks like one of our API keys or a webhook secret, wherever it stands. */
const secretText = /\b(trib_s[a-z2-7]{19}_[a-z2-7]{12})_[a-z2-7]+|\bwhsec_[A-Za-z0-9+/=]+|\b(Bearer|Basic)\s+[\w.+/=~-]+/gu
const depthMax = 6
const textCharactersMax = 4096

const redactText = (text: string): string => {
  const short = text.length > textCharactersMax ? `${text.slice(0, textCharactersMax)}…` : text
  return short.replace(secretText, (_match, key?: string, scheme?: string) =>
    key !== undefined ? `${key}_<redacted>` : scheme !== undefined ? `${scheme} <redacted>` : "<redacted>"
  )
}

/** A copy that can be written: secrets replaced, depth and length bounded, errors reduced to name, message and stack. */
export const redact = (value: unknown, depth = 0): unknown => {
  if (typeof value === "string") return redactText(value)
  if (typeof value === "bigint") return value.toString()
  if (typeof value !== "object" || value === null) return typeof value === "function" ? "<function>" : value
  if (Redacted.isRedacted(value)) return "<redacted>"
  if (depth >= depthMax) return "<deeper>"
  if (value instanceof Uint8Array) return `<${value.length} bytes>`
  if (value instanceof Error) {
    const { name, message, stack, cause } = value
    return redact({ name, message, stack, ...(cause === undefined ? {} : { cause }) }, depth + 1)
  }
  if (Array.isArray(value)) return value.slice(0, 50).map((item) => redact(item, depth + 1))
  const copy: Record<string, unknown> = Object.create(null)
  for (const [name, item] of Object.entries(value)) copy[name] = secretName.test(name) ? "<redacted>" : redact(item, depth + 1)
  return copy
}

/** JSON escapes line feeds and C0 already; these would still move a terminal or split a line in some readers. */
const escapeControls = (json: string): string =>
  json.replace(/[\u007f-\u009f\u2028\u2029]/gu, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`)

export interface LogEntry {
  readonly level: string
  readonly at: Date
  readonly message: unknown
  readonly cause?: Cause.Cause<unknown>
  readonly annotations?: Readonly<Record<string, unknown>>
}

/** One line without its line feed. Our own names come first, so that an annotation cannot pose as the level or the time. */
export const formatEntry = ({ level, at, message, cause, annotations = {} }: LogEntry): string => {
  const parts = Array.isArray(message) ? message : [message]
  const text = parts.filter((part) => typeof part !== "object").join(" ")
  const fields = parts.filter((part) => typeof part === "object" && part !== null)
  const extra = { ...annotations, ...Object.assign({}, ...fields.map((field) => (field instanceof Error ? { error: field } : field))) }
  const failed = cause !== undefined && cause.reasons.length > 0 ? { cause: redactText(Cause.pretty(cause)) } : {}
  const line = { time: at.toISOString(), level: level.toLowerCase(), message: redactText(text), ...failed }
  return escapeControls(JSON.stringify({ ...line, ...omit(redact(extra) as Record<string, unknown>, line) }))
}

const omit = (fields: Record<string, unknown>, taken: object) =>
  Object.fromEntries(Object.entries(fields).map(([name, value]) => [name in taken ? `field.${name}` : name, value]))

const toStandardError = Logger.make(({ logLevel, date, message, cause, fiber }) => {
  const annotations = fiber.getRef(References.CurrentLogAnnotations)
  process.stderr.write(`${formatEntry({ level: logLevel, at: date, message, cause, annotations })}\n`)
})

export const layer = (level: "Trace" | "Debug" | "Info" | "Warn" | "Error" | "Fatal") =>
  Layer.mergeAll(Logger.layer([toStandardError]), Layer.succeed(References.MinimumLogLevel, level))
