/** Server-sent events out of text that comes in pieces. */
import * as Schema from "effect/Schema"
import { assert, describe, it } from "vitest"
import { type SentEvent, sentEventsReader } from "#infra/cli/sent-events.ts"
import { property } from "../../support/property.ts"

const read = (...pieces: ReadonlyArray<string>): ReadonlyArray<SentEvent> => {
  const events: Array<SentEvent> = []
  const take = sentEventsReader((event) => events.push(event))
  for (const piece of pieces) take(piece)
  return events
}

describe("a stream of server-sent events", () => {
  it("hands over id, name and data", () =>
    assert.deepStrictEqual(read("id: 7\nevent: RunStarted\ndata: {}\n\n"), [{ id: "7", event: "RunStarted", data: "{}" }]))
  it("joins lines of data", () => assert.deepStrictEqual(read("data: a\ndata: b\n\n"), [{ event: "message", data: "a\nb" }]))
  it("passes over comments, which only keep the connection open", () => assert.deepStrictEqual(read(": still here\n\n"), []))
  it("holds an event back until it is complete", () => assert.deepStrictEqual(read("data: half\n"), []))
  it("takes one blank after the colon away, and no more", () => assert.strictEqual(read("data:  x\n\n")[0]?.data, " x"))

  const text = "id: 1\nevent: a\ndata: 1\n\n: beat\n\nid: 2\r\ndata: 2\r\n\r\nevent: c\rdata: 3\rdata: 4\r\rdata: ✓\n\n"
  property("does not depend on where the pieces end", Schema.Array(Schema.Int), (cuts) => {
    const places = [...new Set(cuts.map((cut) => Math.abs(cut) % text.length))].sort((left, right) => left - right)
    const pieces = [0, ...places].map((from, index) => text.slice(from, places[index] ?? text.length))
    assert.deepStrictEqual(read(...pieces), read(text))
    assert.strictEqual(read(...pieces).length, 4)
  })
})
