/** The one client of a process: what it refuses before anything is sent, what it says of a server that cannot be used, and exact sizes. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import type { StoreAddress } from "#adapters/eventstoredb/address.ts"
import type { ProposedEvent } from "#adapters/eventstoredb/append-calls.ts"
import { jsonBytes, probe, Store } from "#adapters/eventstoredb/driver.ts"
import { logPosition, positionText } from "#adapters/eventstoredb/position.ts"
import type { StoreRefused } from "#adapters/eventstoredb/refusal.ts"
import type { Position } from "#domain/ids.ts"
import { loopbackCertificate, loopbackKey } from "../../stand-ins/eventstoredb/certificate.ts"
import { EventStoreStandIn } from "../../support/event-store.ts"
import { fresh, session } from "../installation.ts"

const refusal = (address: StoreAddress): Promise<StoreRefused> =>
  Effect.runPromise(Effect.flip(probe(address)) as Effect.Effect<StoreRefused, unknown>)
const eventOf = (dataBytes: number): ProposedEvent => ({
  id: crypto.randomUUID(),
  type: "Happened",
  json: false,
  data: new Uint8Array(dataBytes),
  metadata: new Uint8Array(100)
})

describe("the client for EventStoreDB", () => {
  let standIn: EventStoreStandIn
  let folder: string
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "tributary-esdb-"))
    standIn = await EventStoreStandIn.start()
  })
  afterAll(async () => {
    await standIn.stop()
    rmSync(folder, { recursive: true, force: true })
  })

  for (const [url, says] of [
    ["http://127.0.0.1:2113", "not one of EventStoreDB"],
    ["esdb://", "not one of EventStoreDB"],
    ["esdb://admin:secret-7f3a@", "not one of EventStoreDB"],
    ["esdb://secret-7f3a@host:2113", "a user without a password"],
    ["esdb://ho st:2113", "names no host"],
    ["esdb://admin:secret-7f3a@host:2113?throwOnAppendFailure=false", 'option "throwOnAppendFailure"'],
    ["esdb://admin:secret-7f3a@host:2113?tlsVerifyCert=false", 'option "tlsVerifyCert"']
  ] as const)
    it(`refuses the URL ${url} in one line that tells no secret`, async () => {
      const { kind, message } = await refusal({ url })
      assert.strictEqual(kind, "WrongUrl")
      assert.include(message, says)
      assert.notInclude(message, "secret-7f3a")
      assert.notInclude(message, "\n")
    })

  it("refuses a credentials file that is absent, or holds no user and password", async () => {
    const file = join(folder, "credentials")
    writeFileSync(file, "secret-7f3a\n")
    for (const credentialsFile of [join(folder, "absent"), file]) {
      const { kind, message } = await refusal({ url: standIn.url, credentialsFile })
      assert.strictEqual(kind, "WrongUrl")
      assert.include(message, credentialsFile)
      assert.notInclude(message, "secret-7f3a")
    }
    writeFileSync(file, "admin:changeit")
    assert.include((await refusal({ url: "esdb://a:b@host:1", credentialsFile: file })).message, "Give them once")
  })

  it("says which store cannot be reached", async () => {
    const { kind, message } = await refusal({ url: "esdb://127.0.0.1:9?tls=false" })
    assert.strictEqual(kind, "Unreachable")
    assert.include(message, "EventStoreDB at 127.0.0.1:9 cannot be reached")
    assert.notInclude(message, "\n")
  })

  it("says version and leader of the store", async () => {
    const facts = await Effect.runPromise(probe({ url: standIn.url }))
    assert.deepStrictEqual(facts, { endpoint: `127.0.0.1:${standIn.port}`, version: "23.10.0", leader: `127.0.0.1:${standIn.port}` })
  })

  it("refuses a server that is too old", async () => {
    const old = await EventStoreStandIn.start({ flags: ["--server-version", "22.10.5"] })
    try {
      const { kind, message } = await refusal({ url: old.url })
      assert.strictEqual(kind, "ServerTooOld")
      assert.include(message, "22.10.5")
    } finally {
      await old.stop()
    }
  })

  it("enters with the credentials of URL or file over TLS, and says when they are refused", async () => {
    const [certificate, key, credentials] = ["certificate.pem", "key.pem", "credentials"].map((file) => join(folder, file)) as [
      string,
      string,
      string
    ]
    writeFileSync(certificate, loopbackCertificate)
    writeFileSync(key, loopbackKey)
    writeFileSync(credentials, "admin:p@ss:w/rd\n")
    const tls = await EventStoreStandIn.start({
      flags: ["--tls-certificate", certificate, "--tls-key", key, "--credentials", "admin:p@ss:w/rd"]
    })
    try {
      const hosts = `127.0.0.1:${tls.port}?tlsCAFile=${encodeURIComponent(certificate)}`
      const open = (address: StoreAddress) =>
        session(
          Store.layer(address),
          Effect.flatMap(Store, (driver) => Effect.promise(() => driver.append(fresh("run"), -1, [eventOf(1)])))
        )
      assert.strictEqual((await open({ url: `esdb://admin:p%40ss%3Aw%2Frd@${hosts}` })).is, "written")
      assert.strictEqual((await open({ url: `esdb://${hosts}`, credentialsFile: credentials })).is, "written")
      for (const url of [`esdb://admin:wrong-7f3a@${hosts}`, `esdb://${hosts}`]) {
        const refused = await open({ url }).then(
          () => assert.fail("It was opened."),
          (cause: StoreRefused) => cause
        )
        assert.strictEqual(refused.kind, "RefusedCredentials")
        assert.include(refused.message, `EventStoreDB at 127.0.0.1:${tls.port} refused the credentials`)
        assert.notInclude(refused.message, "wrong-7f3a")
      }
      // Its certificate is signed by nobody that is trusted without the file.
      assert.strictEqual((await refusal({ url: `esdb://127.0.0.1:${tls.port}` })).kind, "Unreachable")
    } finally {
      await tls.stop()
    }
  })

  it("is one per process: further users of the same store share it, another store is refused", () =>
    session(
      Store.layer({ url: standIn.url }),
      Effect.gen(function* () {
        yield* Effect.provide(
          Effect.flatMap(Store, (driver) => Effect.promise(() => driver.append(fresh("run"), -1, [eventOf(1)]))),
          Store.layer({ url: standIn.url })
        )
        const refused = yield* Effect.flip(probe({ url: "esdb://127.0.0.1:2113?tls=false" }))
        assert.strictEqual(refused.kind, "SecondClient")
        // The first one goes on when another user of it has gone.
        const driver = yield* Store
        assert.strictEqual((yield* Effect.promise(() => driver.append(fresh("run"), -1, [eventOf(1)]))).is, "written")
      })
    ))

  it("refuses what JSON cannot hold before anything is sent", () => {
    assert.throws(() => jsonBytes(undefined), TypeError)
    assert.throws(() => jsonBytes({ n: 1n }), TypeError)
    assert.throws(() => jsonBytes(() => 1), TypeError)
  })

  it("refuses an append of nothing, which the server would call a success", () =>
    session(
      Store.layer({ url: standIn.url }),
      Effect.flatMap(Store, (driver) =>
        Effect.promise(async () => {
          const refused = await driver.append(fresh("run"), -1, []).then(
            () => undefined,
            (cause: Error) => cause
          )
          assert.include(refused?.message, "holds no event")
        })
      )
    ))

  it("writes an append of exactly the server's limit, and not one byte more", () =>
    session(
      Store.layer({ url: standIn.url }),
      Effect.flatMap(Store, (driver) =>
        Effect.promise(async () => {
          const beside = 100 + 2 * "Happened".length
          const limit = 1024 * 1024
          for (const bytes of [limit - 1, limit])
            assert.strictEqual((await driver.append(fresh("run"), -1, [eventOf(bytes - beside)])).is, "written")
          const halves = [eventOf(limit / 2 - beside), eventOf(limit / 2 - beside)]
          assert.strictEqual((await driver.append(fresh("run"), -1, halves)).is, "written")
          const over = fresh("run")
          assert.deepStrictEqual(await driver.append(over, -1, [eventOf(limit + 1 - beside)]), { is: "too-large", limit })
          assert.isNull(await driver.reads.stream({ stream: over, limit: 1 }))
        })
      )
    ))

  it("keeps positions in the order of the log, and takes none of another journal", () => {
    const positions = [
      ["9", "9"],
      ["10", "2"],
      ["10", "10"],
      ["18446744073709551615", "0"]
    ].map(([commit, prepare]) => positionText(commit!, prepare!))
    assert.deepStrictEqual([...positions].sort(), positions)
    assert.deepStrictEqual(logPosition(positions[1]!), { commit: "10", prepare: "2" })
    assert.deepStrictEqual(logPosition(positionText("0", "0")), { commit: "0", prepare: "0" })
    assert.throws(() => logPosition("0000000000000012" as Position))
  })
})
