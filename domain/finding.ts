/** One thing that is wrong with a document: where it is, what was found and what to do. */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"

export type Finding = typeof Finding.Type
export const Finding = Schema.Struct({
  /** JSON pointer (RFC 6901) into the document; empty for the document itself. */
  pointer: Schema.String,
  message: Schema.String
})

/** The JSON pointer of a path: `["steps", 0, "a/b"]` is `/steps/0/a~1b`. */
export const pointerOf = (path: ReadonlyArray<string | number>): string =>
  path.map((part) => `/${String(part).replaceAll("~", "~0").replaceAll("/", "~1")}`).join("")

/** Findings beyond this number tell nobody anything: the rest are counted. */
export const findingsMax = 100

/** At most `findingsMax` findings and, after them, how many there were in all. */
export const capped = (findings: ReadonlyArray<Finding>): ReadonlyArray<Finding> =>
  findings.length <= findingsMax
    ? findings
    : [...findings.slice(0, findingsMax), { pointer: "", message: `There are ${findings.length} problems in all. Repair these first.` }]

const formatIssue = SchemaIssue.makeFormatterStandardSchemaV1()

const adviceOf = (message: string): string => {
  if (message === "Expected no excess property") return "This key is not known here. Remove it, or check its spelling."
  if (message === "Missing key") return "This key is required. Add it."
  return `${message}.`
}

/** A decoder that refuses unknown keys and reports everything at once. */
export const strictly = <A>(schema: Schema.Codec<A, unknown>): ((input: unknown) => Result.Result<A, ReadonlyArray<Finding>>) => {
  const decode = Schema.decodeUnknownResult(schema, { errors: "all", onExcessProperty: "error" })
  return (input) =>
    Result.mapError(decode(input), (error) =>
      formatIssue(error.issue).issues.map(({ path, message }) => ({
        pointer: pointerOf(
          (path ?? []).map((part) => (typeof part === "number" ? part : String(typeof part === "object" ? part.key : part)))
        ),
        message: adviceOf(message)
      }))
    )
}

/** What is wrong, as lines for an error's message. */
export const listed = (findings: ReadonlyArray<Finding>): string =>
  capped(findings)
    .map(({ pointer, message }) => `${pointer === "" ? "/" : pointer}: ${message}`)
    .join(" ")
