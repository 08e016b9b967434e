import * as Result from "effect/Result"
import { assert, describe, it } from "vitest"
import { readDocument } from "#services/document-text.ts"

const read = (text: string) => readDocument(text, 10_000)
const value = (text: string) => Result.getOrThrowWith(read(text), (findings) => new Error(JSON.stringify(findings)))
const problem = (text: string, bytesMax = 10_000) => Result.getOrThrow(Result.flip(readDocument(text, bytesMax)))[0]!

describe("a document's text", () => {
  it("is YAML or JSON", () => {
    assert.deepStrictEqual(value("a: 1\nb: [x, 2]\n"), { a: 1, b: ["x", 2] })
    assert.deepStrictEqual(value('{"a": 1, "b": ["x", 2]}'), { a: 1, b: ["x", 2] })
    assert.deepStrictEqual(value("{a: 1, b: [x, 2]}"), { a: 1, b: ["x", 2] })
    assert.deepStrictEqual(value("# only a comment\n---\na: &x {b: 1}\nc: *x\n"), { a: { b: 1 }, c: { b: 1 } })
  })
  it("is refused where it is wrong, with line and column", () => {
    assert.match(problem("a: 1\nb: [x\n").message, /line 3/u)
    assert.match(problem('{"a": [1, 2}').message, /line 1/u)
    assert.match(problem("a: 1\na: 2\n").message, /unique/u)
  })
  it("has a bounded size and depth", () => {
    assert.match(problem("a: 1", 3).message, /4 bytes; the most is 3/u)
    assert.match(problem(`${"[".repeat(100)}${"]".repeat(100)}`).message, /nested deeper than 64/u)
    assert.strictEqual(problem(`${"[".repeat(4000)}`).pointer, "")
  })
  it("does not grow by aliases", () => {
    const lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    for (let level = 1; level < 12; level++)
      lines.push(
        `a${level}: &a${level} [${Array(10)
          .fill(`*a${level - 1}`)
          .join(", ")}]`
      )
    assert.match(problem(lines.join("\n")).message, /alias/iu)
  })
  it("leaves prototypes alone: 200 texts that reach for them are refused, or change nothing", () => {
    const before = Object.getOwnPropertyNames(Object.prototype).join()
    const names = ["__proto__", "constructor", "prototype", "__proto__.polluted", "constructor.prototype"]
    for (let round = 0; round < 40; round++)
      for (const name of names) {
        const depth = round % 10
        const inner = round % 2 === 0 ? `${JSON.stringify(name)}: {"polluted": ${round}}` : `${name}: {polluted: ${round}}`
        const text =
          round % 4 < 2
            ? `{${'"a": {'.repeat(depth)}${inner}${"}".repeat(depth + 1)}`
            : `${"a: {".repeat(Math.min(depth, 1))}${inner}${"}".repeat(Math.min(depth, 1))}`
        const result = read(text)
        if (["__proto__", "constructor", "prototype"].includes(name)) assert.isTrue(Result.isFailure(result), text)
        assert.isUndefined(({} as { polluted?: unknown }).polluted)
      }
    assert.strictEqual(Object.getOwnPropertyNames(Object.prototype).join(), before)
  })
})
