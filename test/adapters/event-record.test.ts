/** What is hashed of an append: pinned, for stored hashes and checksums depend on it. */
import { createHash } from "node:crypto"
import * as Schema from "effect/Schema"
import { assert, describe, it } from "vitest"
import { eventLines, hashBeforeFirst, nextHash, recordText, rowChecksum } from "#adapters/sqlite/event-record.ts"
import { property } from "../support/property.ts"

const lines = eventLines("0b5b3c0e-1d2f-4c3b-8a49-5e6f70819203", "RunStarted", 2, '{"n":"ä𝒳"}')
const record = recordText(1_760_000_000_000, '{"actor":1}', "body=12;ab12", lines)
const before = hashBeforeFirst("3f/taaaaaaaaaaaaaaaaaaa/run-1")
const after = nextHash(before, record)

describe("an append's record", () => {
  it("keeps its form", () => {
    assert.strictEqual(record, '1760000000000\n{"actor":1}\nbody=12;ab12\n0b5b3c0e-1d2f-4c3b-8a49-5e6f70819203\nRunStarted@2\n{"n":"ä𝒳"}')
    const sha256 = (text: string) => createHash("sha256").update(text, "utf8").digest("hex")
    assert.strictEqual(before, sha256("3f/taaaaaaaaaaaaaaaaaaa/run-1"))
    assert.strictEqual(after, sha256(`${before}\n${record}`))
    assert.strictEqual(rowChecksum(1, 1, 0, 1, after, record), 487_572_314)
  })

  const small = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 2 ** 40 }))
  property(
    "has another checksum in any other place",
    Schema.Struct({ position: small, stream: small, revision: small, by: Schema.Literals([1, 2, 3, 1024, 65_536]) }),
    ({ position, stream, revision, by }) => {
      const here = rowChecksum(position, stream, revision, 1, after, record)
      for (const elsewhere of [
        rowChecksum(position + by, stream, revision, 1, after, record),
        rowChecksum(position, stream + by, revision, 1, after, record),
        rowChecksum(position, stream, revision + by, 1, after, record),
        rowChecksum(position, stream, revision, 1 + by, after, record)
      ])
        assert.notStrictEqual(elsewhere, here)
    }
  )

  it("has another checksum when any one bit of it or of its hash changed", () => {
    const here = rowChecksum(7, 3, 1, 1, after, record)
    const flipped = (text: string) =>
      Array.from({ length: text.length * 7 }, (_, bit) => {
        const at = Math.floor(bit / 7)
        return text.slice(0, at) + String.fromCharCode(text.charCodeAt(at) ^ (1 << (bit % 7))) + text.slice(at + 1)
      })
    for (const hash of flipped(after)) assert.notStrictEqual(rowChecksum(7, 3, 1, 1, hash, record), here)
    for (const text of flipped(record)) assert.notStrictEqual(rowChecksum(7, 3, 1, 1, after, text), here)
  })
})
