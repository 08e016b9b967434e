/** Documents that people write, YAML or JSON, read within limits. */
import * as Result from "effect/Result"
import { parseDocument } from "yaml"
import { type Finding, pointerOf } from "#domain/finding.ts"

export const documentDepthMax = 64

const problem = (message: string, pointer = ""): Result.Result<never, ReadonlyArray<Finding>> => Result.fail([{ pointer, message }])

/** Names that code takes for its own: no document needs them. */
const reserved = new Set(["__proto__", "constructor", "prototype"])

/** Undefined when the value is plain and not too deep. */
const shapeProblem = (value: unknown, path: ReadonlyArray<string | number>): Finding | undefined => {
  if (typeof value !== "object" || value === null) return undefined
  if (path.length > documentDepthMax)
    return { pointer: pointerOf(path), message: `It is nested deeper than ${documentDepthMax}. Flatten it.` }
  for (const [key, inner] of Object.entries(value)) {
    if (reserved.has(key)) return { pointer: pointerOf([...path, key]), message: "This name is reserved. Choose another." }
    const found = shapeProblem(inner, [...path, Array.isArray(value) ? Number(key) : key])
    if (found !== undefined) return found
  }
  return undefined
}

const parse = (text: string): Result.Result<unknown, ReadonlyArray<Finding>> => {
  try {
    if (/^\s*[{[]/u.test(text)) return Result.succeed(JSON.parse(text))
  } catch {
    // YAML's flow style begins in the same way; its parser also says where the mistake is.
  }
  try {
    const document = parseDocument(text, { uniqueKeys: true, strict: true, logLevel: "silent" })
    const [error] = document.errors
    if (error !== undefined) return problem(`${error.message.split("\n")[0]!.replace(/:$/u, "")}. Correct the YAML or JSON.`)
    return Result.succeed(document.toJS({ maxAliasCount: 100 }) as unknown)
  } catch (cause) {
    return problem(`It cannot be read as YAML or JSON: ${cause instanceof Error ? cause.message.split("\n")[0] : "unknown reason"}.`)
  }
}

/** The value of a document's text, or why it cannot be read, with line and column. */
export const readDocument = (text: string, bytesMax: number): Result.Result<unknown, ReadonlyArray<Finding>> => {
  const bytes = Buffer.byteLength(text)
  if (bytes > bytesMax) return problem(`The document has ${bytes} bytes; the most is ${bytesMax}. Split it.`)
  return Result.flatMap(parse(text), (value) => {
    const found = shapeProblem(value, [])
    return found === undefined ? Result.succeed(value) : Result.fail([found])
  })
}
