/** Chance: ids of the right form, never twice. */
import * as Effect from "effect/Effect"
import { assert, describe, it } from "vitest"
import { layer } from "#adapters/node/entropy.ts"
import { Entropy } from "#services/ports/entropy.ts"

const entropy = Effect.runSync(Effect.provide(Entropy, layer))

describe("entropy", () => {
  it("gives base32 of any length, with all 32 characters, and none twice", () => {
    const texts = Array.from({ length: 5_000 }, () => entropy.base32(19))
    assert.lengthOf(new Set(texts), 5_000)
    for (const text of texts) assert.match(text, /^[a-z2-7]{19}$/u)
    assert.lengthOf(new Set(texts.join("")), 32)
    assert.strictEqual(entropy.base32(0), "")
    assert.lengthOf(entropy.base32(10_000), 10_000)
  })

  it("gives random UUIDs", () => {
    const ids = Array.from({ length: 1_000 }, () => entropy.eventId())
    assert.lengthOf(new Set(ids), 1_000)
    for (const id of ids) assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/u)
  })

  it("gives fractions all over [0, 1)", () => {
    const tenths = Array.from({ length: 5_000 }, () => entropy.fraction()).map((fraction) => {
      assert.isTrue(fraction >= 0 && fraction < 1)
      return Math.floor(fraction * 10)
    })
    assert.lengthOf(new Set(tenths), 10)
  })
})
