/** The vault: the contract on every store, and on SQLite that nothing which was moved or set back in the file opens. */
import { createHash } from "node:crypto"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import { afterEach, assert, describe, it } from "vitest"
import { JournalThread } from "#adapters/sqlite/journal-thread-client.ts"
import { KeyRing } from "#adapters/sqlite/key-ring.ts"
import { VaultStore } from "#adapters/sqlite/vault-store.ts"
import { Vault } from "#services/ports/vault.ts"
import { mongoVault, realServers, standIn } from "../support/mongodb.ts"
import { acme, other, type SqliteInstallation, session, sqliteInstallation } from "./installation.ts"
import { vaultContract } from "./vault.contract.ts"

vaultContract("sqlite", sqliteInstallation)

const mongoRow = (name: string, url: () => string) => {
  vaultContract(name, () => mongoVault(url))
}
describe("MongoDB's stand-in", () => {
  describe("of a replica set", () => mongoRow("MongoDB's stand-in, replica set", standIn({ replicaSet: "rs0" }).url))
  describe("of a single server", () => mongoRow("MongoDB's stand-in, single server", standIn().url))
})
await realServers((url) => mongoRow("MongoDB", url))

describe("the vault on SQLite", () => {
  const made: Array<SqliteInstallation> = []
  afterEach(() => made.splice(0).forEach(({ remove }) => remove()))
  const a = { owner: "integration-erp", field: "a" }
  const b = { owner: "integration-erp", field: "b" }

  it("says of a secret that was on its way when its thread died that nobody knows, and of one that came later that it was not changed", () => {
    const installation = sqliteInstallation()
    made.push(installation)
    return session(
      installation.open(),
      Effect.gen(function* () {
        const vault = yield* Vault
        const { connection } = yield* JournalThread
        const failures = yield* Effect.forkChild(
          Effect.all([Effect.flip(vault.put(acme, a, Redacted.make("lost"))), Effect.flip(vault.get(acme, b, 1))], { concurrency: 2 }),
          { startImmediately: true }
        )
        yield* Effect.callback<void>((resume) => void setImmediate(() => resume(Effect.void))) // By then they were posted.
        const unposted = yield* Effect.forkChild(Effect.flip(vault.put(acme, b, Redacted.make("not sent"))), { startImmediately: true })
        connection.die("a rehearsal")
        assert.deepInclude(yield* Fiber.join(unposted), { _tag: "VaultUnavailable", written: "no" })
        const [put, get] = yield* Fiber.join(failures)
        assert.deepInclude(put, { _tag: "VaultUnavailable", written: "unknown" })
        assert.include(put.message, "Whether it was changed is not known yet.")
        assert.deepInclude(get, { _tag: "VaultUnavailable", written: "no" })
        const later = yield* Effect.flip(vault.remove(acme, a))
        assert.deepInclude(later, { _tag: "VaultUnavailable", written: "no" })
        assert.include(later.message, "Nothing was changed.")
      })
    )
  })

  const afterFault = async (fault: string) => {
    const installation = sqliteInstallation()
    made.push(installation)
    await session(
      installation.open(),
      Effect.flatMap(Vault, (vault) =>
        Effect.forEach([acme, other], (scope) => Effect.forEach([a, b], (ref) => vault.put(scope, ref, Redacted.make("same"))))
      )
    )
    const db = new DatabaseSync(join(installation.folder, "vault.db"))
    db.exec(fault)
    db.close()
    const results = await session(
      installation.open(),
      Effect.flatMap(Vault, (vault) =>
        Effect.forEach([acme, other], (scope) => Effect.forEach([a, b], (ref) => Effect.exit(vault.get(scope, ref, 1))))
      )
    )
    return results.flat()
  }
  const damaged = (exit: Awaited<ReturnType<typeof afterFault>>[number] | undefined) =>
    exit?._tag === "Failure" && JSON.stringify(exit.cause).includes('"damaged"')
  const copy = (from: string, to: string) =>
    `UPDATE secrets SET (key_version, salt, sealed) = (SELECT key_version, salt, sealed FROM secrets WHERE ${from}) WHERE ${to}`

  it("opens no secret in another field's or another tenant's place", async () => {
    const fields = await afterFault(copy(`scope = '${acme.key}' AND field = 'a'`, `scope = '${acme.key}' AND field = 'b'`))
    assert.deepStrictEqual(fields.map(damaged), [false, true, false, false])
    const tenants = await afterFault(copy(`scope = '${acme.key}' AND field = 'a'`, `scope = '${other.key}' AND field = 'a'`))
    assert.deepStrictEqual(tenants.map(damaged), [false, false, true, false])
  })

  it("opens no older seal under a newer version", async () => {
    const results = await afterFault(`UPDATE secrets SET version = 2 WHERE scope = '${acme.key}' AND field = 'a'`)
    assert.deepStrictEqual(results.map(damaged), [true, false, false, false])
  })

  it("fails for one tenant alone when its wrapped key was exchanged", async () => {
    const results = await afterFault(
      `UPDATE wrapped_keys SET wrapped = (SELECT wrapped FROM wrapped_keys WHERE scope = '${other.key}' AND purpose = 'vault')
       WHERE scope = '${acme.key}' AND purpose = 'vault'`
    )
    assert.deepStrictEqual(
      results.map(({ _tag }) => _tag),
      ["Failure", "Failure", "Success", "Success"]
    )
  })

  const store = () => {
    const installation = sqliteInstallation()
    made.push(installation)
    return { file: join(installation.folder, "vault.db"), key: new Uint8Array(32).fill(3), id: "3333333333333333" }
  }

  it("gives a log key a new version long before it has sealed too much, and opens with the old one", () => {
    const { file, key, id } = store()
    const vault = new VaultStore(file, "journal", key, id)
    const early = vault.sealField("t1", "f", "early", 5)
    const late = vault.sealField("t1", "f", "late", 5 + 2 ** 28)
    assert.deepStrictEqual([early[0], late[0]], ["1", "2"])
    assert.deepStrictEqual(vault.openField("t1", "f", early), { secret: "early" })
    assert.deepStrictEqual(vault.openField("t1", "f", late), { secret: "late" })
    vault.close()
  })

  it("stores each key before it is used, and only wrapped", () => {
    const { file, key, id } = store()
    const vault = new VaultStore(file, "journal", key, id)
    vault.keys.prepareLogKeys(["t1", "t2", "t3"], 0)
    const db = new DatabaseSync(file)
    const rows = db.prepare("SELECT scope, wrapped FROM wrapped_keys ORDER BY scope").all() as unknown as ReadonlyArray<{
      scope: string
      wrapped: Uint8Array
    }>
    assert.deepStrictEqual(
      rows.map(({ scope }) => scope),
      ["t1", "t2", "t3"]
    )
    for (const { scope, wrapped } of rows) {
      const raw = vault.keys.toSeal(scope, "log").key.export()
      assert.isFalse(Buffer.from(wrapped).includes(raw))
      assert.lengthOf(wrapped, 12 + 32 + 16)
    }
    db.close()
    vault.close()
  })

  it("opens nothing of a scope whose keys were destroyed", () => {
    const { file, key, id } = store()
    const vault = new VaultStore(file, "journal", key, id)
    const sealed = vault.sealField("t1", "f", "gone", 0)
    vault.put("t1", "integration-erp", "apiKey", "gone")
    vault.close()
    const db = new DatabaseSync(file)
    db.exec("DELETE FROM wrapped_keys WHERE scope = 't1'")
    const ring = new KeyRing(db, key, id)
    assert.isUndefined(ring.toOpen("t1", "log", 1))
    db.close()
    const again = new VaultStore(file, "journal", key, id)
    assert.deepStrictEqual(again.openField("t1", "f", sealed), { gone: "absent" })
    assert.deepStrictEqual(again.get("t1", "integration-erp", "apiKey", 1), { gone: "absent" })
    again.close()
  })

  it("does not put secrets into failures", () =>
    session(
      (() => {
        const installation = sqliteInstallation()
        made.push(installation)
        return installation.open()
      })(),
      Effect.gen(function* () {
        const vault = yield* Vault
        const secret = createHash("sha256").update("canary").digest("hex")
        yield* vault.put(acme, a, Redacted.make(secret))
        const failed = Result.getFailure(yield* Effect.result(vault.get(acme, a, 9))).valueOrUndefined
        assert.notInclude(JSON.stringify(failed) + String(failed), secret)
      })
    ))
})
