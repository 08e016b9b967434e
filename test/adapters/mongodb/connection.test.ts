/** What is said when a database cannot be used: one clear line, and nothing secret in it. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { inspect as show } from "node:util"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { afterAll, assert, describe, it } from "vitest"
import { type DatabaseOptions, type DatabaseRefused, inspect, open, type Purpose } from "#adapters/mongodb/connection.ts"
import { standIn } from "../../support/mongodb.ts"

const password = "c4nary-p4ss%2Fword"
const plain = decodeURIComponent(password)

const refused = async (
  url: string,
  also: Omit<DatabaseOptions, "url"> = {},
  purpose: Purpose = "vault",
  replicaSet: "required" | "optional" = "optional"
) => {
  const opened = Effect.scoped(open({ url: Redacted.make(url), ...also }, purpose, { replicaSet }))
  const failure = await Effect.runPromise(Effect.flip(opened))
  const seen = `${failure.message} ${JSON.stringify(failure)} ${show(failure, { depth: 20 })}`
  for (const secret of [password, plain]) assert.notInclude(seen, secret)
  return failure
}
const kindOf = async (failure: Promise<DatabaseRefused>) => (await failure).kind

describe("a MongoDB database", () => {
  const folder = mkdtempSync(join(tmpdir(), "tributary-mongodb-"))
  afterAll(() => rmSync(folder, { recursive: true }))
  const file = (name: string, text: string) => {
    writeFileSync(join(folder, name), text)
    return join(folder, name)
  }
  const guarded = standIn({ user: "ana", password: plain })
  const single = standIn()
  const old = standIn({ version: "5.0.9" })
  const older = standIn({ version: "4.2.0" })
  const replicaSet = standIn({ replicaSet: "rs7" })
  const at = (url: string, credentials: string, database = "/views") => url.replace("//", `//${credentials}@`) + database

  it("says what its server is", async () => {
    const url = Redacted.make(`${replicaSet.url()}/some`)
    const { where, ...facts } = await Effect.runPromise(inspect({ url }, "views"))
    assert.deepStrictEqual(facts, {
      version: "8.0.0",
      replicaSet: "rs7",
      sharded: false,
      transactions: true,
      tls: false,
      credentials: false
    })
    assert.strictEqual(where, `127.0.0.1:${replicaSet.server().port}/some`)
    const alone = await Effect.runPromise(inspect({ url: Redacted.make(single.url()) }, "vault"))
    assert.deepInclude(alone, { replicaSet: null, transactions: false, where: `127.0.0.1:${single.server().port}/tributary_vault` })
  })

  it("lets a user in by the URL or by a file, and nobody else", async () => {
    const url = guarded.url()
    const asks = async (text: string, also = {}) =>
      (await Effect.runPromise(inspect({ url: Redacted.make(text), ...also }, "views"))).credentials
    assert.isTrue(await asks(at(url, `ana:${password}`)))
    assert.isTrue(await asks(at(url, "ana"), { passwordFile: file("password", `${plain}\n`) }))
    assert.strictEqual(await kindOf(refused(at(url, `bob:${password}`))), "CredentialsRefused")
    assert.strictEqual(await kindOf(refused(at(url, `ana:x${password}`))), "CredentialsRefused")
    assert.strictEqual(await kindOf(refused(`${url}/views`)), "CredentialsRefused")
  })

  it("refuses a URL that is none of MongoDB's, and files that are not there", async () => {
    for (const url of [
      "",
      "localhost:27017",
      `http://ana:${password}@localhost/views`,
      `mongodb://ana:${password}`,
      `mongodb://ana:${plain}@localhost/views`,
      `mongodb://ana:${password}@localhost/views?no=such&tls=maybe`,
      `mongodb://ana:${password}%@localhost/views`
    ])
      assert.strictEqual(await kindOf(refused(url)), "WrongUrl", url)
    const url = `mongodb://ana:${password}@localhost/views`
    for (const name of ["passwordFile", "caFile", "certificateFile"] as const)
      assert.strictEqual(await kindOf(refused(url, { [name]: join(folder, "missing") })), "WrongFile", name)
  })

  it("refuses a server that is not there, or does not speak", async () => {
    const silent = createServer(() => {})
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve))
    const { port } = silent.address() as { readonly port: number }
    const [closed, unknown, mute] = await Promise.all([
      refused(`mongodb://ana:${password}@127.0.0.1:1/views`),
      refused("mongodb://no-such-host.invalid/views"),
      refused(`mongodb://127.0.0.1:${port}/views`)
    ])
    silent.close()
    assert.strictEqual(
      closed.message,
      "The vault's database (127.0.0.1:1/views) cannot be used: no MongoDB server can be reached (ECONNREFUSED). Nothing was changed. " +
        "Check that the server runs, and the URL's hosts, replica set and TLS options."
    )
    assert.deepStrictEqual([unknown.kind, mute.kind], ["Unreachable", "Unreachable"])
  })

  it("refuses a server that is too old", async () => {
    assert.match((await refused(old.url())).message, /MongoDB 5\.0\.9.*6\.0 or later/u)
    assert.strictEqual(await kindOf(refused(older.url())), "ServerTooOld")
  })

  it("refuses a single server where a replica set is needed", async () => {
    const failure = await refused(single.url(), {}, "vault", "required")
    assert.strictEqual(failure.kind, "NoReplicaSet")
    assert.match(failure.message, /rs\.initiate/u)
    await Effect.runPromise(Effect.scoped(open({ url: Redacted.make(replicaSet.url()) }, "vault", { replicaSet: "required" })))
  })
})
