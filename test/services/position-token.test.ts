import * as Result from "effect/Result"
import { assert, describe, it } from "vitest"
import type { Position } from "#domain/ids.ts"
import { readPositionToken, writePositionToken } from "#services/position-token.ts"

const journalId = "0b6b8a55-7c5a-4d7e-9a53-0f5a4f5d2f01"
const position = "0000000000000042" as Position
const failureOf = (token: string) => Result.getOrThrow(Result.flip(readPositionToken(journalId, token)))

describe("a position token", () => {
  it("is read back as what was written", () =>
    assert.strictEqual(Result.getOrThrow(readPositionToken(journalId, writePositionToken(journalId, position))), position))
  it("of another journal is foreign", () => assert.strictEqual(failureOf(writePositionToken("another", position))._tag, "PositionForeign"))
  it("that was cut, emptied or made up is malformed", () => {
    for (const token of ["", ":", position, `${journalId}:`, `:${position}`, `${journalId}:1:2`, `${journalId}:1 2`, "x".repeat(500)])
      assert.strictEqual(failureOf(token)._tag, "PositionMalformed", token)
  })
})
