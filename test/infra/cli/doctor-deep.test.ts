/** `tributary doctor --deep` on a stopped folder of an earlier release: what it prints, and how it ends. */
import { spawnSync } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { afterEach, assert, beforeEach, describe, it } from "vitest"
import { layStored } from "../../faults/mixed-versions/stored-folder.ts"

const main = new URL("../../../infra/main.ts", import.meta.url).pathname

describe("doctor --deep", () => {
  let folder: string
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "tributary-deep-"))
    layStored("embedded-0.1.0", folder)
  })
  afterEach(() => rmSync(folder, { recursive: true }))
  const data = () => join(folder, "data")
  const doctor = (...args: ReadonlyArray<string>) =>
    spawnSync(process.execPath, [main, "doctor", "--data", data(), ...args], {
      encoding: "utf8",
      env: { ...process.env, TRIBUTARY_MASTER_KEY_FILE: join(folder, "master.key"), NO_COLOR: "1" }
    })
  const damage = (file: string, sql: string) => {
    const db = new DatabaseSync(join(data(), file))
    db.exec(sql)
    db.close()
  }

  it("says what it looked at, for people and for programs", () => {
    const said = doctor("--deep")
    assert.strictEqual(said.status, 0, said.stdout + said.stderr)
    assert.match(said.stdout, /deep journal\.db .* sealed contents/u)
    assert.match(said.stdout, /Looked at \d+ events of \d+ streams, one by one, in [\d.]+ s/u)
    const { deep } = JSON.parse(doctor("--deep", "--json").stdout) as { deep: Record<string, unknown> }
    assert.deepInclude(deep, { opened: true, damages: [] })
    assert.containsAllKeys(deep, ["events", "streams", "contents", "seconds"])
  })

  it("names a stream that is not found by its name, says what to do, and ends with 1", () => {
    damage("journal.db", "INSERT INTO meta(name, value) VALUES('namesIndexedTo', '3')")
    assert.strictEqual(doctor("--events", "1").status, 0)
    const said = doctor("--deep", "--events", "1")
    assert.strictEqual(said.status, 1)
    assert.match(said.stdout, /the stream 3 \(.*\): its name does not lead to it.*tributary restore/u)
    const { deep } = JSON.parse(doctor("--deep", "--json").stdout) as { deep: { damaged: Record<string, number> } }
    assert.deepStrictEqual(deep.damaged, { "journal.db": 3, "vault.db": 0, "views.db": 0 })
  })

  it("says without the master key what it could not open", () => {
    rmSync(join(folder, "master.key"))
    const said = doctor("--deep")
    assert.match(said.stdout, /unknown +deep contents/u)
  })
})
