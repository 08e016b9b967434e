/** F5 at the size of every change, and the damage that no checksum of a row shows, one by one. */
import { rmSync } from "node:fs"
import { afterEach, assert, describe, it } from "vitest"
import { EventDamaged } from "#adapters/sqlite/event-rows.ts"
import type { LocalName } from "#domain/scope.ts"
import { atPSize } from "./at-p-size.ts"
import { damage } from "./damage/damage.ts"
import { scratchFolder } from "./damage/folders.ts"
import { appendOf, tenantOf } from "./history.ts"
import { openStores } from "./stores.ts"

atPSize(damage, "is a clean prefix of what was committed, or says so")

describe("a stream whose rows are sound", () => {
  const folders: Array<string> = []
  afterEach(() => {
    for (const folder of folders.splice(0)) rmSync(folder, { recursive: true })
  })
  const local = "thing-1" as LocalName
  const stream = appendOf({ number: 0, tenant: "a", is: "append", local, expected: -1, at: 1, events: [], contents: [] }).stream

  /** Three appends of one event each; then what happens to the file behind our back; then a start. */
  const afterwards = (sql: string) => {
    const folder = scratchFolder()
    folders.push(folder)
    const before = openStores(folder)
    for (const number of [0, 1, 2])
      before.append(
        appendOf({
          number,
          tenant: "a",
          is: "append",
          local,
          expected: number - 1,
          at: 1,
          events: [{ id: `event-${number}`, type: "Happened", data: "{}" }],
          contents: []
        })
      )
    before.db.exec(sql)
    before.close()
    return openStores(folder)
  }
  const loading = (sql: string) => {
    const stores = afterwards(sql)
    try {
      assert.throws(() => stores.queries.load(tenantOf("a").key, stream, 1), EventDamaged)
    } finally {
      stores.close()
    }
  }

  it("says when an append in its midst is gone", () => loading("DELETE FROM appends WHERE revision = 1"))
  it("says when its first append is gone", () => loading("DELETE FROM appends WHERE revision = 0"))
  it("says when all of it is gone and nobody retired it", () => loading("DELETE FROM appends"))
  it("is not given under another name", () => {
    const stores = afterwards("UPDATE scopes SET key = replace(key, 'taa', 'tab')")
    try {
      assert.throws(() => stores.queries.readFeed(0, 10, null), EventDamaged)
    } finally {
      stores.close()
    }
  })
})
