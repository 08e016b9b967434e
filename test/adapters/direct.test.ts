import * as Schema from "effect/Schema"
import jsonata from "jsonata"
import { assert, describe, it } from "vitest"
import type { Node } from "#adapters/jsonata/checks.ts"
import { directOf, indirect } from "#adapters/jsonata/direct.ts"
import { property } from "../support/property.ts"

const directly = (text: string, input: unknown): unknown => {
  const direct = directOf(jsonata(text).ast() as unknown as Node)
  assert.isDefined(direct, `${text} is not taken directly`)
  return direct(input)
}
const written = (value: unknown): unknown => (value === undefined ? undefined : JSON.parse(JSON.stringify(value)))

/** Small data with few names, so that paths often lead somewhere. */
const Leaf = Schema.Union([Schema.String, Schema.Int, Schema.Boolean, Schema.Null])
const Level = <S extends Schema.Codec<unknown, unknown>>(inner: S) =>
  Schema.Union([Leaf, Schema.Array(inner), Schema.Struct({ a: inner, b: Schema.optionalKey(inner) })])
const Data = Schema.Struct({ a: Level(Level(Level(Leaf))), b: Level(Level(Leaf)) })

const expressions = [
  "a",
  "a.b",
  "a.a.b",
  "a.b.a.b",
  "a.length",
  "a.constructor",
  '{ "x": a.b, "y": { "z": b.a, "t": "text" }, "n": 5, "f": false, "e": null }',
  '{ "x": a, "y": b }',
  "{}",
  '"text"',
  "-7.5"
]

describe("direct evaluation", () => {
  property(
    "gives what JSONata gives, or leaves it to JSONata",
    Data,
    async (data) => {
      for (const text of expressions) {
        const direct = directly(text, data)
        if (direct !== indirect) assert.deepStrictEqual(written(direct), written(await jsonata(text).evaluate(data)), text)
      }
    },
    { runs: 300 }
  )
  it("leaves every list to JSONata", () => {
    assert.strictEqual(directly("a.b", { a: [{ b: 1 }] }), indirect)
    assert.strictEqual(directly("a.b", { a: { b: [1] } }), indirect)
    assert.strictEqual(directly('{ "x": { "y": a } }', { a: [] }), indirect)
  })
  it("reads own fields alone", () => assert.isUndefined(directly("a.toString", { a: {} })))
  it("leaves everything else to JSONata", () => {
    for (const text of [
      "a[0]",
      "a.b[x=1]",
      "$string(a)",
      "a & b",
      "a.*",
      "a{b: c}",
      "$.a",
      "(a)",
      "a^(b)",
      "a#$i.b",
      '{ "x": 1, "x": 2 }',
      "a.b[]"
    ])
      assert.isUndefined(directOf(jsonata(text).ast() as unknown as Node), text)
  })
})
