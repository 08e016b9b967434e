/** How streams are found by name, while the index in the file is behind the newest of them. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, assert, describe, it } from "vitest"
import { hashBeforeFirst } from "#adapters/sqlite/event-record.ts"
import { openJournal } from "#adapters/sqlite/journal-schema.ts"
import { prepareStatements } from "#adapters/sqlite/journal-statements.ts"
import { StreamNames } from "#adapters/sqlite/stream-names.ts"

describe("the names of streams", () => {
  const folder = mkdtempSync(join(tmpdir(), "tributary-test-"))
  const { db } = openJournal(join(folder, "journal.db"), 1024, {})
  const sql = prepareStatements(db)
  const scope = "taaaaaaaaaaaaaaaaaaa"
  sql.insertScope.run("saaaaaaaaaaaaaaaaaaa", scope, "3f")
  const scopeId = (sql.findScope.get(scope) as { id: number }).id
  const streamOf = (n: number) => `3f/${scope}/run-${n}`
  const indexed = () => (db.prepare("SELECT count(*) AS count FROM stream_names").get() as { count: number }).count
  afterAll(() => {
    db.close()
    rmSync(folder, { recursive: true, force: true })
  })

  it("finds every one at any time, also after a start: some in memory, most in the file, none twice", () => {
    let names = new StreamNames(sql)
    const ids: Array<number> = []
    const expectAll = () => {
      for (const [n, id] of ids.entries()) assert.strictEqual(names.find(scope, streamOf(n)), id)
      assert.isUndefined(names.find(scope, streamOf(ids.length)))
    }
    db.exec("BEGIN")
    for (const count of [1, 99, 2_900, 9_000, 9_000]) {
      for (let added = 0; added < count; added++) {
        const stream = streamOf(ids.length)
        ids.push(names.add(scopeId, scope, stream, hashBeforeFirst(stream), null))
      }
      expectAll()
      names = new StreamNames(sql)
      expectAll()
    }
    db.exec("COMMIT")
    assert.strictEqual(new Set(ids).size, ids.length)
    assert.isAbove(indexed(), 5_000)
    assert.isBelow(indexed(), ids.length)
  })

  it("does not leave ever more to the next start when no process lives long", () => {
    const left = () => sql.unindexedStreams.all().length
    let next = 100_000
    const most: Array<number> = []
    for (let start = 0; start < 8; start++) {
      const names = new StreamNames(sql)
      db.exec("BEGIN")
      for (const end = next + 6_000; next < end; next++) names.add(scopeId, scope, streamOf(next), hashBeforeFirst(streamOf(next)), null)
      db.exec("COMMIT")
      most.push(left())
    }
    assert.isAtMost(Math.max(...most), 2 * 64 * 128 + 6_000)
    const names = new StreamNames(sql)
    for (let n = 100_000; n < next; n += 97) assert.isDefined(names.find(scope, streamOf(n)))
  })

  it("forgets those that were rolled back", () => {
    const names = new StreamNames(sql)
    const stream = streamOf(1_000_000)
    db.exec("BEGIN")
    const id = names.add(scopeId, scope, stream, hashBeforeFirst(stream), null)
    db.exec("ROLLBACK")
    names.reload()
    assert.isUndefined(names.find(scope, stream))
    assert.strictEqual(names.add(scopeId, scope, streamOf(1_000_001), hashBeforeFirst(streamOf(1_000_001)), null), id)
  })

  it("tells names apart that share their number", () => {
    const names = new StreamNames(sql)
    db.exec("BEGIN")
    const shared = "f".repeat(64)
    const alike = [streamOf(2_000_000), streamOf(2_000_001)]
    const ids = alike.map((stream) => names.add(scopeId, scope, stream, shared, null))
    const find = (stream: string) => names.find(scope, stream, shared)
    assert.deepStrictEqual(alike.map(find), ids)
    for (let n = 3_000_000; n < 3_000_000 + 64 * 128; n++) names.add(scopeId, scope, streamOf(n), hashBeforeFirst(streamOf(n)), null)
    const inFile = db.prepare("SELECT stream_id FROM stream_names WHERE number = ? ORDER BY stream_id").all(2 ** 52 - 1)
    assert.lengthOf(inFile, 2)
    assert.deepStrictEqual(alike.map(find), ids)
    assert.isUndefined(find(streamOf(2_000_002)))
    db.exec("COMMIT")
  })
})
