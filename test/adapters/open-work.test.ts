/** The open-work index on SQLite: the contract, and its order in memory against the one in the file. */
import { DatabaseSync } from "node:sqlite"
import * as Schema from "effect/Schema"
import { assert, describe } from "vitest"
import { OpenWorkIndex } from "#adapters/sqlite/open-work-index.ts"
import { property } from "../support/property.ts"
import { eventStoreRows, onEmptyLog } from "./eventstoredb/rows.ts"
import { sqliteInstallation } from "./installation.ts"
import { openWorkContract } from "./open-work.contract.ts"

openWorkContract("sqlite", sqliteInstallation)
await eventStoreRows(onEmptyLog(openWorkContract))

const small = Schema.Literals([0, 1, 2, 3, 4, 5, 6, 7])
const Step = Schema.Struct({ scope: small, stream: small, due: Schema.NullOr(small) })

describe("the index by scope", () => {
  property("is that of the table after any changes, also when it is read again", Schema.Array(Step), (steps) => {
    const db = new DatabaseSync(":memory:")
    db.exec("CREATE TABLE streams(id INTEGER PRIMARY KEY, scope_id INTEGER NOT NULL, due_at INTEGER)")
    const index = new OpenWorkIndex(db)
    const items = new Map<number, { readonly scope: number; readonly due: number }>()
    for (const { scope: spread, stream, due } of steps) {
      const scope = stream % 3 // A stream has one scope for ever.
      const streamId = stream * 8 + spread - (spread % 3) + scope
      const owner = streamId % 3
      const before = items.get(streamId)
      if (before !== undefined) index.remove(owner, before.due, streamId)
      items.delete(streamId)
      db.prepare("INSERT OR REPLACE INTO streams VALUES(?, ?, ?)").run(streamId, owner, due)
      if (due === null) continue
      index.add(owner, due, streamId)
      items.set(streamId, { scope: owner, due })
    }
    for (const seen of [index, new OpenWorkIndex(db)])
      for (const scope of [0, 1, 2])
        for (const [before, limit] of [
          [7, 99],
          [3, 99],
          [7, 2]
        ] as const) {
          const found: Array<number> = []
          seen.due(scope, before, -1, -1, limit, (streamId) => void found.push(streamId))
          const expected = [...items]
            .filter(([, item]) => item.scope === scope && item.due <= before)
            .sort(([a, one], [b, two]) => one.due - two.due || a - b)
            .slice(0, limit)
            .map(([streamId]) => streamId)
          assert.deepStrictEqual(found, expected)
        }
    db.close()
  })
})
