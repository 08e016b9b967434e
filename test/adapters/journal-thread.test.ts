/** The journal's thread loads nothing but its own files and Node: it starts in milliseconds, and small. */
import { readFileSync } from "node:fs"
import { assert, describe, it } from "vitest"
import { RecentMap } from "#adapters/memory/recent-map.ts"

const importsOf = (file: URL): ReadonlyArray<string> =>
  [...readFileSync(file, "utf8").matchAll(/^(?:import|export) (?!type )[^"]*from "([^"]+)"|^import "([^"]+)"/gmu)].map(
    (found) => found[1] ?? found[2]!
  )

describe("the journal's thread", () => {
  it("imports no package", () => {
    const seen = new Set<string>()
    const visit = (file: URL) => {
      if (seen.has(file.href)) return
      seen.add(file.href)
      for (const name of importsOf(file)) {
        if (name.startsWith("./")) visit(new URL(name, file))
        else if (name.startsWith("#")) visit(new URL(`../../${name.slice(1)}`, import.meta.url))
        else assert.isTrue(name.startsWith("node:"), `${file.pathname} imports ${name}`)
      }
    }
    visit(new URL("../../adapters/sqlite/journal-thread.ts", import.meta.url))
    assert.isAtLeast(seen.size, 10)
  })
})

describe("the map of recent entries", () => {
  it("holds no more than its bound, and what was used last", () => {
    const map = new RecentMap<number, number>(100)
    for (let key = 0; key < 1_000; key++) {
      map.set(key, key)
      assert.strictEqual(map.get(0), 0, "it is used all the time")
    }
    for (let key = 999; key >= 960; key--) assert.strictEqual(map.get(key), key)
    const held = Array.from({ length: 1_000 }, (_, key) => map.get(key)).filter((value) => value !== undefined)
    assert.isAtMost(held.length, 100)
  })

  it("forgets what was not used between two ageings", () => {
    const map = new RecentMap<string, number>(100)
    map.set("used", 1)
    map.set("idle", 2)
    map.age()
    map.get("used")
    map.age()
    assert.strictEqual(map.get("used"), 1)
    assert.isUndefined(map.get("idle"))
  })
})
