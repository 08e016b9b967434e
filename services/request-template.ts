/** Templates of a manifest, `{path}` filled from an action's input: compiled once, filled without a way out of their place. */
import * as Result from "effect/Result"
import { asText, type ReadPath, readerOf } from "#domain/data-path.ts"

/** Why a template could not be filled; `path` is the input's. */
export interface Unfilled {
  readonly path: string
  readonly problem: string
}
/** Undefined: the template is one placeholder, and the input has nothing there. */
export type TextTemplate = (input: unknown) => Result.Result<string | undefined, Unfilled>

const pieces = /\{([^{}]*)\}/u

const scalarText = (path: string, value: unknown): Result.Result<string, Unfilled> => {
  const text = asText(value)
  if (text?.isWellFormed()) return Result.succeed(text)
  if (text !== undefined)
    return Result.fail({ path, problem: "It holds half a character (a lone surrogate), which no URL can carry. Change it." })
  const problem = value === undefined || value === null ? "This property is required here. Add it." : "Expected text, a number or a flag."
  return Result.fail({ path, problem })
}

/** Compiles a text; `encode` makes each filled value harmless where it is put. */
export const textTemplate = (template: string, encode: (text: string) => string): TextTemplate => {
  // Splitting by a pattern with one group gives literals at even places and paths at odd ones.
  const parts = template.split(new RegExp(pieces, "gu"))
  if (parts.length === 1) return () => Result.succeed(template)
  const readers = parts.map((part, index) => (index % 2 === 1 ? readerOf(part) : undefined))
  const single = parts.length === 3 && parts[0] === "" && parts[2] === ""
  return (input) => {
    let text = ""
    for (let index = 0; index < parts.length; index++) {
      const read = readers[index]
      if (read === undefined) {
        text += parts[index]
        continue
      }
      const value = read(input)
      if (single && (value === undefined || value === null)) return Result.succeed(undefined)
      const filled = scalarText(parts[index]!, value)
      if (Result.isFailure(filled)) return Result.fail(filled.failure)
      text += encode(filled.success)
    }
    return Result.succeed(text)
  }
}

export type ValueTemplate = (input: unknown) => Result.Result<unknown, Unfilled>

const asIs = (text: string): string => text

const textValue = (template: string): ValueTemplate => {
  const parts = template.split(new RegExp(pieces, "gu"))
  if (parts.length !== 3 || parts[0] !== "" || parts[2] !== "") return textTemplate(template, asIs)
  const read: ReadPath = readerOf(parts[1]!)
  return (input) => Result.succeed(read(input))
}

const arrayValue = (items: ReadonlyArray<ValueTemplate>): ValueTemplate => {
  return (input) => Result.map(Result.all(items.map((fill) => fill(input))), (values) => values.map((value) => value ?? null))
}

const objectValue = (entries: ReadonlyArray<readonly [string, ValueTemplate]>): ValueTemplate => {
  return (input) =>
    Result.map(Result.all(entries.map(([name, fill]) => Result.map(fill(input), (value) => [name, value] as const))), (filled) =>
      Object.fromEntries(filled.filter(([, value]) => value !== undefined))
    )
}

/** Compiles JSON: a text that is one placeholder becomes the value itself, and its property is left out where there is none. */
export const valueTemplate = (template: unknown): ValueTemplate => {
  if (typeof template === "string") return textValue(template)
  if (Array.isArray(template)) return arrayValue(template.map(valueTemplate))
  if (typeof template === "object" && template !== null) {
    return objectValue(Object.entries(template).map(([name, value]) => [name, valueTemplate(value)] as const))
  }
  return () => Result.succeed(template)
}

/** Control characters, or what no header can carry: they could split it in two. */
export const unfitForHeader = (text: string): boolean => {
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index)
    if (code < 0x20 || code === 0x7f || code > 0xff) return true
  }
  return false
}
