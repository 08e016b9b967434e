/** Bounded forms of the JSONata functions whose cost is out of proportion to what they are given. */
import { isFunction, type Limits, Stopped } from "./limits.ts"

/** How JSONata keeps a function; `signature` checks the arguments before they arrive. */
export interface NativeFunction {
  readonly _jsonata_function: true
  readonly implementation: (this: unknown, ...args: Array<never>) => unknown
  readonly signature?: unknown
}
interface Focus {
  readonly createSequence: () => Array<unknown>
}
type Call = (this: Focus, args: ReadonlyArray<unknown>, original: () => unknown) => unknown

/** These replace JSONata's own; the others stay. */
export const boundedNames = [
  "pad",
  "join",
  "distinct",
  "sort",
  "toMillis",
  "fromMillis",
  "formatNumber",
  "formatInteger",
  "parseInteger"
] as const
export type BoundedName = (typeof boundedNames)[number]

const pictureCharsMax = 128
const timestampCharsMax = 64

const tooLong = (charsMax: number) => new Stopped("output", `a text grows beyond ${charsMax} characters`)

const fixedWidth = /^\[[YMDdWwXxHhms]\d+\]$/

/** A date picture becomes a backtracking expression: where its parts cannot be told apart, time is wasted without bound. */
const isAmbiguous = (picture: string): boolean => {
  const markers = picture.match(/\[[^\]]*\]/g) ?? []
  const between = picture.split(/\[[^\]]*\]/g).slice(1, -1)
  const loose = between.filter((literal, index) => {
    const fixed = literal === "" && fixedWidth.test(markers[index]!) && fixedWidth.test(markers[index + 1]!)
    return !fixed && !/[^0-9A-Za-z]/.test(literal)
  })
  return loose.length > 2 || markers.filter((marker) => /w/i.test(marker.slice(2))).length > 1
}

const boundPicture =
  (at: number): Call =>
  (args, original) => {
    const [value, picture] = [args[0], args[at]]
    if (typeof picture === "string" && picture.length > pictureCharsMax)
      throw new Stopped(undefined, `a picture has more than ${pictureCharsMax} characters`)
    if (typeof value === "string" && value.length > timestampCharsMax)
      throw new Stopped(undefined, `a text to parse has more than ${timestampCharsMax} characters`)
    return original()
  }

/** Equal for values that JSONata's deep comparison takes as equal: by content, whatever the order of fields. */
const contentKey = (value: unknown): string => {
  if (Array.isArray(value)) return `[${value.map(contentKey).join()}]`
  if (typeof value !== "object" || value === null) return typeof value === "string" ? JSON.stringify(value) : String(value)
  const fields = value as Record<string, unknown>
  return `{${Object.keys(fields)
    .sort()
    .map((key) => `${JSON.stringify(key)}:${contentKey(fields[key])}`)
    .join()}}`
}

/** JSONata's own joins an array of as many holes: 7 ms for 100,000 characters. */
const pad = (text: string, width: number, filler: unknown, limits: Limits): string => {
  if (Math.abs(width) > limits.charsMax) throw tooLong(limits.charsMax)
  const missing = Math.abs(width) - Array.from(text).length
  if (missing <= 0) return text
  const unit = Array.from(typeof filler === "string" && filler !== "" ? filler : " ")
  const padding = unit.join("").repeat(Math.floor(missing / unit.length)) + unit.slice(0, missing % unit.length).join("")
  return width > 0 ? text + padding : padding + text
}

const calls = (limits: Limits): Record<BoundedName, Call> => ({
  pad: ([text, width, filler]) => (typeof text === "string" ? pad(text, Math.trunc(Number(width)), filler, limits) : undefined),
  join: ([texts, separator], original) => {
    const list = Array.isArray(texts) ? (texts as ReadonlyArray<unknown>) : []
    const between = typeof separator === "string" ? separator.length * list.length : 0
    const chars = list.reduce((sum: number, text) => sum + (typeof text === "string" ? text.length : 0), between)
    if (chars > limits.charsMax) throw tooLong(limits.charsMax)
    return original()
  },
  distinct: function ([list], original) {
    if (!Array.isArray(list) || list.length <= 1 || list.some(isFunction)) return original()
    const results = "sequence" in list ? this.createSequence() : []
    const seen = new Set<unknown>()
    for (const item of list as ReadonlyArray<unknown>) {
      const key = contentKey(item)
      if (!seen.has(key)) results.push(item)
      seen.add(key)
    }
    return results
  },
  sort: ([list, comparator], original) => {
    const alike = (type: string) => Array.isArray(list) && list.every((item) => typeof item === type)
    if (comparator !== undefined || !Array.isArray(list) || list.length <= 1 || !(alike("number") || alike("string"))) return original()
    return Array.from(list as ReadonlyArray<string>).sort((a, b) => (a < b ? -1 : a > b ? 1 : 0))
  },
  toMillis: function (args, original) {
    if (typeof args[1] === "string" && isAmbiguous(args[1])) {
      throw new Stopped(undefined, "the parts of a date picture cannot be told apart; put a separator between them")
    }
    return boundPicture(1).call(this, args, original)
  },
  fromMillis: boundPicture(1),
  formatNumber: boundPicture(1),
  formatInteger: boundPicture(1),
  parseInteger: boundPicture(1)
})

/** JSONata reads how many arguments a function takes from its length. */
const bounded = (own: NativeFunction, call: Call): NativeFunction => {
  const implementation = function (this: Focus, ...args: Array<unknown>) {
    return call.call(this, args, () => own.implementation.apply(this, args as Array<never>))
  }
  Object.defineProperty(implementation, "length", { value: own.implementation.length })
  return { ...own, implementation: implementation as NativeFunction["implementation"] }
}

export const boundedFunctions = (
  originals: ReadonlyMap<BoundedName, NativeFunction>,
  limits: Limits
): ReadonlyArray<readonly [BoundedName, NativeFunction]> => {
  const forms = calls(limits)
  return Array.from(originals, ([name, own]) => [name, bounded(own, forms[name])] as const)
}
