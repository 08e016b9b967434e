import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { assert, describe, it } from "vitest"
import { Condition, depthOf, matches } from "#domain/condition.ts"
import { readerOf } from "#domain/data-path.ts"
import { strictly } from "#domain/finding.ts"
import { property } from "../support/property.ts"

const event = {
  event: "orders/create",
  body: {
    total: "60.70",
    count: 3,
    paid: true,
    note: null,
    tags: ["repeat", "newsletter"],
    lines: [{ sku: "A-1" }],
    at: "2026-11-20T10:00:00Z"
  }
}
const holds: ReadonlyArray<readonly [Condition, boolean]> = [
  [{ path: "event", eq: "orders/create" }, true],
  [{ path: "body.note", eq: null }, true],
  [{ path: "body.absent", eq: null }, false],
  [{ path: "body.absent", neq: "x" }, true],
  [{ path: "body.count", eq: "3" }, false],
  [{ path: "body.total", gt: 60 }, true],
  [{ path: "body.total", gt: 60.7 }, false],
  [{ path: "body.total", gte: 60.7 }, true],
  [{ path: "body.count", lt: 3 }, false],
  [{ path: "body.count", lte: 3 }, true],
  [{ path: "body.note", lt: 1 }, false],
  [{ path: "body.tags", gt: 0 }, false],
  [{ path: "body.at", gte: "2026-11-20" }, true],
  [{ path: "body.count", gte: "1" }, false],
  [{ path: "body.count", in: [1, 2, 3] }, true],
  [{ path: "body.absent", in: [null, "x"] }, false],
  [{ path: "body.tags", contains: "repeat" }, true],
  [{ path: "body.tags", contains: "rep" }, false],
  [{ path: "event", contains: "create" }, true],
  [{ path: "body.count", contains: "3" }, false],
  [{ path: "body.lines.0.sku", exists: true }, true],
  [{ path: "body.lines.1.sku", exists: true }, false],
  [{ path: "body.note", exists: true }, true],
  [{ path: "body.__proto__", exists: true }, false],
  [{ path: "body.constructor.name", exists: true }, false],
  [{ path: "body.tags.length", exists: true }, true],
  [
    {
      and: [
        { path: "body.paid", eq: true },
        { path: "body.count", gt: 2 }
      ]
    },
    true
  ],
  [
    {
      and: [
        { path: "body.paid", eq: true },
        { path: "body.count", gt: 3 }
      ]
    },
    false
  ],
  [
    {
      or: [
        { path: "body.paid", eq: false },
        { path: "body.count", gt: 2 }
      ]
    },
    true
  ],
  [{ not: { path: "body.paid", eq: true } }, false]
]

describe("a condition", () => {
  for (const [condition, expected] of holds)
    it(`${expected ? "holds" : "does not hold"}: ${JSON.stringify(condition)}`, () =>
      assert.strictEqual(matches(condition, event), expected))
  it("refuses what is no condition", () => {
    const read = strictly(Condition)
    for (const wrong of [
      {},
      { path: "a" },
      { path: "a", eq: 1, neq: 2 },
      { path: "a..b", eq: 1 },
      { and: [] },
      { path: "a", in: [] },
      { path: "a", like: "x" },
      { path: "a", gt: true }
    ])
      assert.isTrue(Result.isFailure(read(wrong)), JSON.stringify(wrong))
  })
  it("knows how deep it is nested", () => assert.strictEqual(depthOf({ not: { and: [{ path: "a", exists: true }] } }), 3))
  property(
    "of equality and its opposite never agree",
    Schema.Struct({ value: Schema.Json, wanted: Schema.NullOr(Schema.String) }),
    ({ value, wanted }) => {
      const subject = { at: value }
      assert.notStrictEqual(matches({ path: "at", eq: wanted }, subject), matches({ path: "at", neq: wanted }, subject))
    }
  )
})

describe("a path", () => {
  it("reads own properties alone", () => {
    const value = JSON.parse('{"__proto__": {"polluted": 1}, "a": {"b": [10, 20]}}')
    assert.strictEqual(readerOf("a.b.1")(value), 20)
    assert.strictEqual(readerOf("__proto__.polluted")(value), 1)
    assert.isUndefined(readerOf("toString")(value))
    assert.isUndefined(readerOf("a.b.map")(value))
    assert.strictEqual(readerOf("")(value), value)
  })
})
