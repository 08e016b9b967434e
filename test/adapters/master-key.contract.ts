/** What every `MasterKey` keeps: 32 bytes, the same at each start, named by an id that says nothing of them. */
import { createHash } from "node:crypto"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { assert, describe, it } from "vitest"
import { MasterKey } from "#services/ports/master-key.ts"

export const masterKeyContract = (name: string, layer: () => Layer.Layer<MasterKey, unknown>) =>
  describe(`MasterKey: ${name}`, () => {
    const start = () => Effect.runPromise(Effect.provide(MasterKey, layer()))

    it("gives the same 32 bytes at each start, and their id", async () => {
      const first = await start()
      const second = await start()
      const key = Redacted.value(first.key)
      assert.lengthOf(key, 32)
      assert.deepStrictEqual(Redacted.value(second.key), key)
      assert.strictEqual(first.id, createHash("sha256").update(key).digest("hex").slice(0, 16))
      assert.strictEqual(second.id, first.id)
    })

    it("shows where the key lies, and never the key", async () => {
      const found = await start()
      const key = Buffer.from(Redacted.value(found.key))
      const shown = `${JSON.stringify(found)} ${found.where} ${String(found.key)}`
      for (const form of [key.toString("base64"), key.toString("hex")]) assert.notInclude(shown, form)
      assert.isNotEmpty(found.where)
    })
  })
