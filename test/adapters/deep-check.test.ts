/** The deep check of a data folder: finds each damage that reads alone would miss, and none where there is none. */
import { cpSync, mkdirSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { setImmediate } from "node:timers/promises"
import * as Effect from "effect/Effect"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { masterKeyId } from "#adapters/node/master-key.ts"
import { type DeepFindings, deepCheck } from "#adapters/sqlite/deep-check.ts"
import { scratchFolder } from "../faults/damage/folders.ts"
import { live } from "../faults/history.ts"
import { layStored } from "../faults/mixed-versions/stored-folder.ts"
import { randomFrom } from "../faults/random.ts"
import { threaded } from "../faults/stores.ts"

const key = new Uint8Array(32).fill(7)
const masterKey = { id: masterKeyId(key), key }

const checked = (folder: string, given: typeof masterKey | null = masterKey): DeepFindings => {
  const check = deepCheck(folder, given ?? undefined)
  for (;;) {
    const step = check.next()
    if (step.done === true) return step.value
  }
}

/** Yields to what runs beside it after each piece. */
const checkedBeside = async (folder: string): Promise<DeepFindings> => {
  const check = deepCheck(folder, masterKey)
  for (;;) {
    const step = check.next()
    if (step.done === true) return step.value
    await setImmediate()
  }
}
const saidOf = ({ damages }: DeepFindings): ReadonlyArray<string> => damages.map(({ file, damage }) => `${file}: ${damage}`)

const scratch = scratchFolder()
afterAll(() => rmSync(scratch, { recursive: true }))
const history = (folder: string, seed: number, rounds: number) => {
  mkdirSync(folder, { recursive: true })
  return Effect.runPromise(
    live(
      randomFrom(seed),
      rounds,
      () => {},
      () => {}
    ).pipe(Effect.provide(threaded(folder)))
  )
}

describe("the deep check", () => {
  const whole = join(scratch, "whole")
  const execute = (folder: string, file: string, sql: string) => {
    const db = new DatabaseSync(join(folder, file))
    try {
      db.exec(sql)
    } finally {
      db.close()
    }
  }
  let copies = 0
  const damagedBy = (sql: string, file = "journal.db"): string => {
    const folder = join(scratch, `copy-${++copies}`)
    cpSync(whole, folder, { recursive: true })
    execute(folder, file, sql)
    return folder
  }
  beforeAll(async () => {
    await history(whole, 7, 60)
    // As a sweep leaves it: every stream but the newest is in the index of names.
    execute(
      whole,
      "journal.db",
      `INSERT INTO stream_names SELECT number, id FROM streams WHERE id < (SELECT max(id) FROM streams);
       INSERT INTO meta SELECT 'namesIndexedTo', CAST(CAST(max(id) - 1 AS REAL) AS TEXT) FROM streams`
    )
  })

  it("finds nothing in what is whole, and says how much it looked at", () => {
    const found = checked(whole)
    assert.deepStrictEqual(saidOf(found), [])
    assert.isTrue(found.opened)
    const { events, streams, contents, snapshots, keys, secrets } = found
    for (const count of [events, streams, contents, snapshots, keys, secrets]) assert.isAbove(count, 0)
  })

  it("looks at all but what is sealed without the master key", () => {
    const found = checked(whole, null)
    assert.deepStrictEqual([found.opened, found.contents, ...saidOf(found)], [false, 0])
    assert.strictEqual(found.events, checked(whole).events)
  })

  it("finds nothing in a folder of an earlier release", () => {
    const folder = join(scratch, "released")
    layStored("embedded-0.1.0", folder)
    const found = checked(join(folder, "data"), null)
    assert.deepStrictEqual(saidOf(found), [])
    assert.isAbove(found.events, 50)
  })

  it("finds nothing beside a server that appends, seals and retires", async () => {
    const folder = join(scratch, "running")
    await history(folder, 8, 1)
    let done = false
    const running = history(folder, 9, 150).finally(() => {
      done = true
    })
    let events = 0
    for (let looks = 0; !done || looks === 0; looks++) {
      const found = await checkedBeside(folder)
      assert.deepStrictEqual(saidOf(found), [])
      events = Math.max(events, found.events)
    }
    await running
    assert.isAbove(events, 0)
  })

  const any = "(SELECT id FROM streams WHERE retired_revision IS NULL AND id > 2 LIMIT 1)"
  const lastOfAStream =
    "(SELECT max(position) FROM appends a WHERE position < (SELECT max(position) FROM appends) AND revision >= count AND revision = (SELECT max(revision) FROM appends WHERE stream_id = a.stream_id))"
  for (const [what, sql, expected] of [
    ["a changed event", "UPDATE appends SET at = at + 1 WHERE position = (SELECT min(position) FROM appends)", /checksum does not fit/u],
    [
      "an event gone in a stream's midst",
      "DELETE FROM appends WHERE position = (SELECT min(position) FROM appends WHERE revision < count AND stream_id IN (SELECT stream_id FROM appends WHERE revision >= count))",
      /what was before it in its stream is missing/u
    ],
    ["an event gone at a stream's end", `DELETE FROM appends WHERE position = ${lastOfAStream}`, /positions hold no event/u],
    ["a stream without its events", `DELETE FROM appends WHERE stream_id = ${any}`, /all its events are missing/u],
    ["a stream gone", "DELETE FROM streams WHERE id = 2", /its stream 2 is not stored/u],
    ["a gap in the streams' numbers", "DELETE FROM streams WHERE id = 2", /the streams 2 to 2 are not stored/u],
    ["another name", `UPDATE streams SET local = local || 'x' WHERE id = ${any}`, /its name is damaged/u],
    ["another number of a name", `UPDATE streams SET number = number + 1 WHERE id = ${any}`, /its name is damaged/u],
    ["another scope", "UPDATE scopes SET bucket = '00' WHERE id = 1", /the scope 1 .* is damaged/u],
    ["a scope of an unknown space", "INSERT INTO scopes(space, key, bucket) SELECT space, space, 'zz' FROM scopes LIMIT 1", /is damaged/u],
    ["a name that leads nowhere", `DELETE FROM stream_names WHERE stream_id = ${any}`, /its name does not lead to it/u],
    ["a name that leads elsewhere", "UPDATE stream_names SET number = number + 1 WHERE stream_id = 2", /leads from \d+ to the stream 2/u],
    [
      "an index of names that is less far than it says",
      "UPDATE meta SET value = value + 1 WHERE name = 'namesIndexedTo'",
      /its name does not lead to it/u
    ],
    ["an unknown entry", "UPDATE meta SET name = 'namesIndexedTp' WHERE name = 'namesIndexedTo'", /"namesIndexedTp"/u],
    [
      "another count of retired events",
      "UPDATE streams SET retired_revision = retired_revision + 1 WHERE id = (SELECT id FROM streams WHERE retired_revision IS NOT NULL LIMIT 1)",
      /positions hold no event/u
    ],
    ["another newest position", "UPDATE meta SET value = value + 1000 WHERE name = 'lastPosition'", /positions hold no event/u],
    ["a lost newest position", "DELETE FROM meta WHERE name = 'lastPosition'", /newest position was/u],
    [
      "a stream that was not retired",
      `UPDATE streams SET retired_revision = 1, retired_hash = 'x' WHERE id = ${any}`,
      /it is retired, and has events/u
    ],
    ["a type that nobody announced", "DELETE FROM event_types WHERE type = 'Renamed'", /events have the type Renamed@2, which/u],
    ["another seal", "UPDATE appends SET sealed = zeroblob(64) WHERE sealed IS NOT NULL", /its contents cannot be opened/u],
    ["another key of contents", "UPDATE appends SET key_version = 9 WHERE sealed IS NOT NULL", /the key 9 .* is not in the vault/u],
    ["contents gone", "UPDATE appends SET sealed = NULL WHERE sealed IS NOT NULL", /a part of its contents is missing/u],
    ["another snapshot", "UPDATE snapshots SET version = version + 1", /the snapshot of the stream \d+: it cannot be opened/u],
    ["a snapshot of the future", "UPDATE snapshots SET revision = 100000", /ahead of its stream/u],
    ["another table", "CREATE TABLE mine(a)", /its tables are not those/u],
    ["another version of the tables", "PRAGMA user_version = 3", /has the version 3, not 1/u]
  ] as const)
    it(`finds ${what}`, () => {
      const found = checked(damagedBy(sql))
      assert.match(saidOf(found).join("\n"), expected)
      assert.isAbove(found.damaged["journal.db"], 0)
      assert.strictEqual(found.damaged["vault.db"], 0)
    })

  for (const [what, sql, expected] of [
    ["another wrapped key", "UPDATE wrapped_keys SET wrapped = zeroblob(60)", /is damaged: it does not open with the master key/u],
    ["a gap in a key's versions", "UPDATE wrapped_keys SET version = 2 WHERE purpose = 'name'", /does not follow the one before it/u],
    ["another age of a key", "UPDATE wrapped_keys SET made_at = 7 WHERE purpose = 'vault'", /damaged age/u],
    ["another secret", "UPDATE secrets SET version = version + 1", /it cannot be opened \(damaged\)/u],
    ["another owner of a secret", "UPDATE secrets SET owner = owner || 'x'", /it cannot be opened \(damaged\)/u],
    ["another master key", "UPDATE meta SET value = 'x' WHERE name = 'masterKeyId'", /with this master key it cannot be read/u],
    ["another journal", "UPDATE meta SET value = 'x' WHERE name = 'journalId'", /belongs to another journal/u]
  ] as const)
    it(`finds ${what} in the vault`, () => {
      const found = checked(damagedBy(sql, "vault.db"))
      assert.match(saidOf(found).join("\n"), expected)
      assert.isAbove(found.damaged["vault.db"], 0)
    })

  it("finds that views cannot be read, and blames nothing else", () => {
    const folder = damagedBy("SELECT 1")
    writeFileSync(join(folder, "views.db"), "no database at all, but long enough to be looked at as one".repeat(100))
    const { damaged } = checked(folder)
    assert.isAbove(damaged["views.db"], 0)
    assert.deepStrictEqual([damaged["journal.db"], damaged["vault.db"]], [0, 0])
  })

  it("says what is missing instead of failing", () => {
    const folder = damagedBy("SELECT 1")
    rmSync(join(folder, "vault.db"))
    assert.match(saidOf(checked(folder)).join("\n"), /vault\.db: it cannot be read/u)
  })

  it("names no more damages than a person reads, and counts all", () => {
    const found = checked(damagedBy("UPDATE appends SET checksum = checksum + 1"))
    assert.lengthOf(found.damages, 100)
    assert.isAbove(found.damaged["journal.db"], 100)
  })
})
