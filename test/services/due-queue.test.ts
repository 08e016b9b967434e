import * as Schema from "effect/Schema"
import { assert, describe, it } from "vitest"
import { DueQueue } from "#services/due-queue.ts"
import { property } from "../support/property.ts"

describe("a due queue", () => {
  property("gives what is due, the earliest first, and nothing before its time", Schema.Array(Schema.Int), (times) => {
    const queue = new DueQueue<number>()
    for (const at of times) queue.add(at, at)
    const given: Array<number> = []
    for (let item = queue.take(0); item !== undefined; item = queue.take(0)) given.push(item)
    const due = times.filter((at) => at <= 0).sort((left, right) => left - right)
    assert.deepStrictEqual(given, due)
    assert.strictEqual(queue.size, times.length - due.length)
  })
  it("knows its earliest time", () => {
    const queue = new DueQueue<string>()
    assert.isUndefined(queue.earliestAt)
    queue.add(5, "b")
    queue.add(3, "a")
    assert.strictEqual(queue.earliestAt, 3)
  })
})
