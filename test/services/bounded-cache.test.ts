import { assert, describe, it } from "vitest"
import { BoundedCache } from "#services/bounded-cache.ts"
import { ExpiringCache } from "#services/expiring-cache.ts"

const numbers = (count: number, from = 0) => Array.from({ length: count }, (_, index) => from + index)
const life = 1_000

describe("BoundedCache", () => {
  it("holds no more than its bound, and the half of it that was used last", () => {
    const cache = new BoundedCache<number, string>(100)
    for (const key of numbers(1_000)) cache.set(key, `value ${key}`)
    const held = (keys: ReadonlyArray<number>) => keys.filter((key) => cache.get(key) !== undefined)
    assert.deepStrictEqual(held(numbers(50, 950)), numbers(50, 950))
    assert.deepStrictEqual(held(numbers(900)), [])
  })

  it("keeps what is used while others come and go", () => {
    const cache = new BoundedCache<string, number>(8)
    cache.set("used", 1)
    for (const key of numbers(100)) {
      cache.set(`other ${key}`, key)
      assert.strictEqual(cache.get("used"), 1)
    }
  })

  it("answers with the newest value, however often the key was set and used", () => {
    const cache = new BoundedCache<string, number>(8)
    for (const round of numbers(20)) {
      cache.set("key", round)
      for (const key of numbers(round % 4)) cache.set(`other ${key}`, 0)
      assert.strictEqual(cache.get("key"), round)
    }
  })

  it("has nothing of a key that was deleted, in whichever generation it was", () => {
    const cache = new BoundedCache<string, number>(4)
    cache.set("key", 1)
    for (const key of ["a", "b"]) cache.set(key, 0)
    cache.get("key")
    cache.delete("key")
    assert.isUndefined(cache.get("key"))
  })
})

describe("ExpiringCache", () => {
  it("drops the oldest when it is full, and stays within its bound", () => {
    const cache = new ExpiringCache<number, string>(64, life)
    for (const key of numbers(1_000)) {
      cache.set(key, `value ${key}`, 0)
      assert.isAtMost(cache.size, 64)
    }
    assert.deepStrictEqual(
      numbers(60, 940).filter((key) => cache.get(key, 0) === undefined),
      []
    )
    assert.isUndefined(cache.get(935, 0))
  })

  it("holds nothing longer than its life", () => {
    const cache = new ExpiringCache<string, number>(4, life)
    cache.set("key", 1, 0)
    assert.strictEqual(cache.get("key", life - 1), 1)
    assert.isUndefined(cache.get("key", life))
    cache.sweep(life)
    assert.strictEqual(cache.size, 0)
  })
})
