/** Regular expressions inside of JSONata, by RE2: time linear in the text, and a bound on how much text is searched again and again. */
import type { Matcher, RE2JS } from "re2js"
import { compileRegex } from "./checks.ts"
import { Stopped } from "./limits.ts"

/** Compiled once per pattern of a compiled expression. */
const compiled = new WeakMap<RegExp, RE2JS>()

/** Characters of one search, times the size of the pattern: 80 ms at worst. Few searches come near it. */
const searchMax = 6_000_000
/** All searches by one pattern in one step of an evaluation: each may look at the rest of the text again. */
const searchMillisMax = 100

/** The part of `RegExp` that JSONata uses: `exec` from `lastIndex`. */
export class LinearRegex {
  lastIndex = 0
  private readonly program: RE2JS
  private searchedMillis = 0
  private text: string | undefined
  private matcher: Matcher | undefined

  constructor(pattern: RegExp) {
    let program = compiled.get(pattern)
    if (program === undefined) {
      program = compileRegex(pattern)
      compiled.set(pattern, program)
    }
    this.program = program
  }

  exec(text: string): (Array<string | undefined> & { index: number }) | null {
    const from = this.lastIndex
    if ((text.length - from) * (10 + this.program.programSize()) > searchMax) throw tooMuch()
    const before = performance.now()
    const matcher = this.matcherOf(text)
    const found = from <= text.length && matcher.find(from)
    this.searchedMillis += performance.now() - before
    if (this.searchedMillis > searchMillisMax) throw tooMuch()
    this.lastIndex = found ? matcher.end() : 0
    if (!found) return null
    const groups = Array.from({ length: matcher.groupCount() + 1 }, (_, group) => matcher.group(group) ?? undefined)
    return Object.assign(groups, { index: matcher.start() })
  }

  private matcherOf(text: string): Matcher {
    if (this.text !== text || this.matcher === undefined) {
      this.text = text
      this.matcher = this.program.matcher(text)
    }
    return this.matcher
  }
}

const tooMuch = () => new Stopped("time", "a regular expression searches too much text")
