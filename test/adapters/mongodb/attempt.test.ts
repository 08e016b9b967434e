/** Calls on the vault's database: what is said of a write is true, also after it was said. */
import * as Effect from "effect/Effect"
import { MongoNetworkError } from "mongodb"
import { assert, describe, it } from "vitest"
import { attempt, type Writing } from "#adapters/mongodb/attempt.ts"
import { SealingFailed } from "#adapters/sealing/failure.ts"

const lost = () => Promise.reject(new MongoNetworkError("gone"))

describe("a call on the vault's database", () => {
  const failureOf = (work: (writing: Writing) => Promise<unknown>, milliseconds?: number) =>
    Effect.runPromise(Effect.flip(attempt(work, milliseconds)))

  it("says that nothing was changed before it wrote, and after a write that came to an answer", async () => {
    assert.strictEqual((await failureOf(lost)).written, "no")
    const answered = await failureOf(async (writing) => {
      await writing.send(async () => false)
      return lost()
    })
    assert.strictEqual(answered.written, "no")
  })

  it("says that nobody knows when the connection was lost on a write", async () => {
    const failure = await failureOf((writing) => writing.send(lost))
    assert.deepInclude(failure, { written: "unknown", reason: "the connection to MongoDB was lost" })
  })

  it("takes a key that cannot be had for an unavailability that changed nothing", async () => {
    const failure = await failureOf(() => Promise.reject(new SealingFailed("no", "the vault cannot give a key (gone)", undefined)))
    assert.deepInclude(failure, { written: "no", reason: "the vault cannot give a key (gone)" })
  })

  it("writes nothing any more once it was said that nothing was changed", async () => {
    const writes: Array<string> = []
    let answer = () => {}
    const read = new Promise<void>((resolve) => {
      answer = resolve
    })
    let settled: Promise<unknown> = Promise.resolve()
    const work = async (writing: Writing) => {
      await read
      await writing.send(async () => void writes.push("late"))
    }
    const failure = await failureOf((writing) => {
      const working = work(writing)
      settled = working.catch(() => undefined)
      return working
    }, 1)
    assert.strictEqual(failure.written, "no")
    answer()
    await settled
    assert.deepStrictEqual(writes, [])
  })
})
