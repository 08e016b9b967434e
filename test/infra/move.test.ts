import { type ChildProcess, spawn } from "node:child_process"
import { randomBytes, randomUUID } from "node:crypto"
import { once } from "node:events"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { MongoClient } from "mongodb"
import { assert, describe, it } from "vitest"
import { contentRef } from "#domain/content.ts"
import type { EventId, SpaceKey, TenantKey } from "#domain/ids.ts"
import { RunId } from "#domain/ids.ts"
import { type LocalName, type StreamName, streamName, type TenantScope, tenantScope } from "#domain/scope.ts"
import { Installation } from "#infra/installation.ts"
import { compareLog, compareVault } from "#infra/move/compare.ts"
import { back } from "#infra/move/move.ts"
import { Progress } from "#infra/move/progress.ts"
import { holding, openServers, openSource, reaching } from "#infra/move/stores.ts"
import { ApiKeys } from "#services/api-keys.ts"
import { Deliveries } from "#services/deliveries.ts"
import { Endpoints } from "#services/endpoints.ts"
import { deliveryIdOf, runIdOf } from "#services/identities.ts"
import { Ingest } from "#services/ingest.ts"
import { Feed, type FeedPage } from "#services/ports/feed.ts"
import { Journal, type StoredEvent } from "#services/ports/journal.ts"
import { OpenWork } from "#services/ports/open-work.ts"
import { Payloads } from "#services/ports/payloads.ts"
import { Vault } from "#services/ports/vault.ts"
import { readPositionToken, writePositionToken } from "#services/position-token.ts"
import { Runs } from "#services/runs.ts"
import { Spaces } from "#services/spaces.ts"
import { type Erp, type Script, startErp } from "../support/erp.ts"
import { type Everything, type MoveWorld, moveWorld } from "../support/move-world.ts"
import { connectErp, customer, order, ordersFlow, origin, publishOrders, sign, webhook } from "../support/orders.ts"

const world = moveWorld()

const withErp = async (script: Script, body: (erp: Erp) => Promise<void>): Promise<void> => {
  const erp = await startErp(script)
  try {
    await body(erp)
  } finally {
    await erp.close()
  }
}

const deliver = Effect.fnUntraced(function* (endpointId: string, call: ReturnType<typeof webhook>) {
  const reception = yield* (yield* Ingest).at(endpointId)
  assert.strictEqual((yield* reception!.receive(call)).status, 200)
})
const runOf = (endpointId: string, vendorId: string): RunId =>
  RunId.make(runIdOf(deliveryIdOf(endpointId, `vendor-id\n${vendorId}`), "orders-to-erp", "route"))

const statusOf = (scope: TenantScope, runId: RunId) =>
  Effect.gen(function* () {
    return (yield* (yield* Runs).get(scope, runId)).status
  }).pipe(Effect.catch(() => Effect.succeed("unknown")))
/** Real time passes; the test's own limit ends it. */
const until = (scope: TenantScope, runId: RunId, ...wanted: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    for (;;) {
      const status = yield* statusOf(scope, runId)
      if (wanted.includes(status)) return status
      yield* Effect.sleep(10)
    }
  })

/** The whole log with everything that is said of each event, but its position. */
const wholeLog = Effect.gen(function* () {
  const { read } = yield* Feed
  const events: Array<Omit<StoredEvent, "position">> = []
  let page: FeedPage = { events: [], position: null, atHead: false }
  while (!page.atHead) {
    page = yield* read({ after: page.position, limit: 500 })
    for (const { id, type, version, scope, stream, revision, at, origin, hash, data } of page.events)
      events.push({ id, type, version, scope, stream, revision, at, origin, hash, data })
  }
  return events
})
const openWork = Effect.gen(function* () {
  const items = yield* (yield* OpenWork).due({ before: Number.MAX_SAFE_INTEGER, limit: 10_000 })
  return items.map(({ stream, dueAt }) => `${stream} ${dueAt}`).sort()
})

/** An installation with tenants, and runs in every state; `later` is the waiting one's. */
const history = Effect.fnUntraced(function* (erp: Erp) {
  const { space, flowId } = yield* publishOrders(
    ordersFlow("orders-to-erp", "{ attemptsMax: 100, backoffMillis: 400, backoffMaxMillis: 400 }")
  )
  const issued = yield* (yield* ApiKeys).ensureFirstAdmin(space)
  const admin = { role: "platform-admin" } as const
  const second = yield* (yield* ApiKeys).create(space, { role: "platform-admin", label: "second" }, admin, origin)
  const acme = yield* customer(space, flowId, "acme-corp", { address: erp.address, apiKey: "works" })
  const ana = yield* customer(space, flowId, "ana@example.com", { address: erp.address, apiKey: "first-key" })
  const ben = yield* customer(space, flowId, "ben", { address: erp.address, apiKey: "refused" })
  const eve = yield* customer(space, flowId, "eve", null)
  const rotated = Redacted.make("rotated-signing-secret")
  yield* (yield* Endpoints).rotate(acme.endpointId, rotated, origin)
  yield* deliver(acme.endpointId, webhook(1))
  const large = JSON.stringify({ ...(JSON.parse(order(2)) as object), note: randomBytes(300_000).toString("base64") })
  yield* deliver(acme.endpointId, webhook(2, { body: large }))
  yield* deliver(ben.endpointId, webhook(3))
  yield* deliver(eve.endpointId, webhook(4))
  yield* deliver(ana.endpointId, webhook(5))
  const runs = {
    done: runOf(acme.endpointId, "delivery-1"),
    retired: runOf(acme.endpointId, "delivery-2"),
    failed: runOf(ben.endpointId, "delivery-3"),
    parked: runOf(eve.endpointId, "delivery-4"),
    waiting: runOf(ana.endpointId, "delivery-5")
  }
  yield* until(acme.scope, runs.done, "succeeded")
  yield* until(acme.scope, runs.retired, "succeeded")
  yield* until(ben.scope, runs.failed, "failed")
  yield* until(eve.scope, runs.parked, "parked")
  yield* until(ana.scope, runs.waiting, "waiting", "retrying")
  const journal = yield* Journal
  const stream = streamName(acme.scope, `run-${runs.retired}` as LocalName)
  const { events } = yield* journal.load(acme.scope, stream, 1)
  const last = events.at(-1)!
  assert.isTrue(yield* journal.retire(acme.scope, stream, last.revision))
  const token = writePositionToken(journal.journalId, last.position)
  return { space, first: issued!.text, second: second.text, acme, ana, ben, eve, runs, large, retired: { stream, last }, token }
})

const refusal = <A, E>(effect: Effect.Effect<A, E>): Promise<string> =>
  Effect.runPromise(Effect.flip(effect)).then((failure) => String((failure as { message?: string }).message))
const startRefusal = (start: Promise<unknown>): Promise<string> =>
  start.then(
    () => assert.fail("It started."),
    (cause: Error) => cause.message
  )
const started = Effect.map(Installation, ({ form }) => form)

describe("tributary move", () => {
  it("carries an installation whole, and the distributed form goes on where it was", () => {
    const vendor = { isOpen: false }
    return withErp(
      ({ apiKey }) => ({ status: apiKey === "refused" ? 422 : apiKey === "first-key" && !vendor.isOpen ? 503 : 201 }),
      async (erp) => {
        const moving = world()
        const before = await moving.inFolder(history(erp))
        // The waiting run may be tried again until the folder is let go: what lies there then is what counts.
        const there = await moving.inFolder(
          Effect.gen(function* () {
            yield* until(before.ana.scope, before.runs.waiting, "waiting", "retrying")
            return yield* wholeLog
          })
        )
        const lines: Array<string> = []
        const report = await Effect.runPromise(moving.move({ tell: (line) => lines.push(line) }))
        assert.strictEqual(report.outcome, "moved")
        assert.strictEqual(report.compared!.events, report.counts.events)
        assert.strictEqual(report.compared!.retired, 1)
        assert.strictEqual(report.compared!.appendsReadBack, report.counts.appends)
        assert.isAbove(report.compared!.contentsOpened, 5)
        assert.isAbove(report.compared!.secretsOpened, 5)
        assert.notInclude(JSON.stringify([lines, report]), moving.masterKey)

        await moving.onServers(
          Effect.gen(function* () {
            const journal = yield* Journal
            const log = yield* wholeLog
            assert.deepStrictEqual(log.slice(0, there.length), there)
            assert.notStrictEqual(journal.journalId, report.from)
            assert.strictEqual(readPositionToken(journal.journalId, before.token)._tag, "Failure")

            // Every chain of hashes verifies where it lies now.
            for (const stream of new Set(log.map((event) => event.stream))) {
              const { scope } = log.find((event) => event.stream === stream)!
              yield* journal.readStream(scope, stream)
            }
            const retired = yield* journal.load(before.acme.scope, before.retired.stream, 1)
            assert.deepStrictEqual(retired, { snapshot: null, events: [], retired: true })

            const keys = yield* ApiKeys
            for (const key of [before.first, before.second]) assert.strictEqual((yield* keys.authenticate(key)).role, "platform-admin")
            assert.isNull(yield* keys.ensureFirstAdmin(yield* (yield* Spaces).ensureDefault))

            // The rotated secret and the one before it are both honoured.
            yield* deliver(before.acme.endpointId, webhook(6))
            yield* deliver(before.acme.endpointId, webhook(7, { signature: sign(order(7), "rotated-signing-secret") }))
            yield* until(before.acme.scope, runOf(before.acme.endpointId, "delivery-6"), "succeeded")
            yield* until(before.acme.scope, runOf(before.acme.endpointId, "delivery-7"), "succeeded")

            const payloads = yield* Payloads
            const delivery = deliveryIdOf(before.acme.endpointId, "vendor-id\ndelivery-2")
            const owner = `delivery-${delivery}` as LocalName
            const history = yield* journal.readStream(before.acme.scope, streamName(before.acme.scope, owner))
            const slot = /#([A-Za-z0-9_.-]+)"/u.exec(JSON.stringify(history[0]!.data))![1]!
            const [body] = yield* payloads.open(before.acme.scope, [contentRef(owner, slot)])
            assert.include(Buffer.from(body!).toString(), before.large.slice(100, 400))

            assert.strictEqual(yield* statusOf(before.acme.scope, before.runs.done), "succeeded")
            assert.strictEqual(yield* statusOf(before.ben.scope, before.runs.failed), "failed")
            assert.strictEqual(yield* statusOf(before.eve.scope, before.runs.parked), "parked")
            yield* connectErp(before.eve.scope, { address: erp.address, apiKey: "works" })
            yield* until(before.eve.scope, before.runs.parked, "succeeded")
            const explained = yield* (yield* Deliveries).explain(
              before.ana.scope,
              deliveryIdOf(before.ana.endpointId, "vendor-id\ndelivery-5")
            )
            assert.strictEqual(explained.runs.length, 1)
            vendor.isOpen = true
            yield* until(before.ana.scope, before.runs.waiting, "succeeded")
          })
        )
        assert.include(await startRefusal(moving.inFolder(started)), "was moved to EventStoreDB")
        assert.strictEqual((await Effect.runPromise(moving.move())).outcome, "moved-before")
        const idempotencyKeys = new Set(erp.calls.filter(({ apiKey }) => apiKey === "first-key").map(({ key }) => key))
        assert.strictEqual(idempotencyKeys.size, 1)
      }
    )
  })

  it("keeps open work with its due times, and gives it to whoever owns its buckets", async () => {
    const moving = world()
    await moving.inFolder(seed(moving, 40))
    const before = await moving.inFolder(openWork)
    assert.strictEqual(before.length, 20)
    await Effect.runPromise(moving.move())
    // Buckets come to their owner one after the other.
    const owned = Effect.gen(function* () {
      for (;;) {
        const items = yield* openWork
        if (items.length >= before.length) return items
        yield* Effect.sleep(10)
      }
    })
    assert.deepStrictEqual(await moving.onServers(owned), before)
  })

  it("goes on after each kill, and starts on neither side in between", async () => {
    const moving = world()
    await moving.inFolder(seed(moving, 3_000))
    const there = await moving.inFolder(wholeLog)
    for (const events of [1, 700, 1_500, 2_400]) {
      const command = moveCommand(moving)
      const ended = once(command, "exit")
      await untilHeld(moving, events)
      assert.isNull(command.exitCode, "It was done before it was killed.")
      command.kill("SIGKILL")
      await ended
      assert.include(await startRefusal(moving.inFolder(started)), "is on its way to EventStoreDB")
      assert.include(await startRefusal(moving.onServers(started)), "a move into it has not come to its end")
    }
    assert.strictEqual((await Effect.runPromise(moving.move({ dryRun: true }))).outcome, "would-go-on")
    await Effect.runPromise(moving.move())
    assert.deepStrictEqual(await moving.onServers(wholeLog), there)
  })

  it("keeps the order of the log when connections break under it", async () => {
    const moving = world()
    await moving.inFolder(seed(moving, 2_000))
    let moved = false
    const breaking = async () => {
      await untilHeld(moving, 100)
      for (let breaks = 0; !moved && breaks < 12; breaks++) {
        await moving.eventStore().tell(breaks % 2 === 0 ? "reset" : "drop-answers", { count: 1 })
        await new Promise((resolve) => setTimeout(resolve, 60))
      }
    }
    const [report] = await Promise.all([Effect.runPromise(moving.move()).finally(() => (moved = true)), breaking()])
    assert.strictEqual(report.compared!.events, report.counts.events)
  })

  it("says in a dry run what it would carry, and changes nothing", async () => {
    const moving = world()
    await moving.inFolder(seed(moving, 10))
    const report = await Effect.runPromise(moving.move({ dryRun: true }))
    assert.deepInclude(report, { outcome: "would-move", compared: null })
    assert.isAbove(report.counts.events, 10)
    assert.strictEqual(await moving.inFolder(started), "embedded")
    assert.strictEqual(await moving.onServers(started), "distributed")
  })

  it("refuses servers that hold something else, and a folder that is in use or is none", async () => {
    const [first, second] = [world(), world()]
    await first.inFolder(seed(first, 5))
    await second.inFolder(seed(second, 5))
    await Effect.runPromise(first.move())
    assert.include(await refusal(second.move()), "holds a journal or events already")
    assert.include(
      await refusal(second.move({ servers: { ...second.servers(), vault: first.servers().vault } })),
      "holds the vault of the journal"
    )
    const same = { ...second.servers(), readModels: second.servers().vault }
    assert.include(await refusal(second.move({ servers: same })), "name the same database")
    const absent = { ...second.settings(null), dataFolder: join(second.folder, "nothing") }
    assert.include(await refusal(second.move({ settings: absent })), "holds no installation")
    const wrongKey = { ...second.settings(null), masterKey: first.settings(null).masterKey }
    assert.include(await refusal(second.move({ settings: wrongKey })), "are wrapped by the master key")
    await second.inFolder(
      Effect.gen(function* () {
        assert.include((yield* Effect.flip(second.move())).message, "is in use by process")
      })
    )
    assert.strictEqual(await second.inFolder(started), "embedded")
  })

  it("takes a folder back when it is told so, and then refuses the servers that it was on its way to", async () => {
    const moving = world()
    await moving.inFolder(seed(moving, 5))
    assert.include(await refusal(back(moving.settings(null))), "was not moved")
    await Effect.runPromise(moving.move())
    assert.deepInclude(await Effect.runPromise(back(moving.settings(null))), { finished: true })
    assert.strictEqual(await moving.inFolder(started), "embedded")
    assert.include(await refusal(moving.move()), "holds the vault of the journal")
  })

  it("finds what was changed on the other side, and what was lost here", async () => {
    const moving = world()
    await moving.inFolder(seed(moving, 30))
    const killed = moveCommand(moving)
    const ended = once(killed, "exit")
    await untilHeld(moving, 10)
    killed.kill("SIGKILL")
    await ended
    // Another append than the one that was carried: its checksum and the chain of hashes tell.
    const journal = new DatabaseSync(join(moving.folder, "journal.db"))
    journal.exec("UPDATE appends SET at = at + 1 WHERE position = (SELECT max(position) FROM appends)")
    journal.close()
    const reason = await refusal(moving.move())
    assert.match(reason, /^The move was stopped: Event \d+ \(.*\) is damaged/u)
    const client = new MongoClient(Redacted.value(moving.servers().vault.url))
    assert.isNull(await client.db().collection<{ _id: string }>("meta").findOne({ _id: "vault" }))
    await client.close()
  })

  it("tells where the other side differs, event by event and secret by secret", async () => {
    const moving = world()
    await moving.inFolder(seed(moving, 12))
    await Effect.runPromise(moving.move())
    const { vault: address } = moving.servers()
    const client = new MongoClient(Redacted.value(address.url))
    await client
      .db()
      .collection("secrets")
      .updateOne({ field: "key" }, { $set: { version: 9 } })
    assert.include(await comparing(moving, "vault"), "the secret integration-erp/key of taaaaaaaaaaaaaaaaaaa: another version")
    await client.db().collection("keys").deleteOne({ purpose: "name" })
    await client
      .db()
      .collection("secrets")
      .updateOne({ field: "key" }, { $set: { version: 1 } })
    assert.match(await comparing(moving, "vault"), /the keys: \d+ instead of \d+/u)
    await client.close()
    assert.strictEqual(await comparing(moving, "log"), "the same")
    await Effect.runPromise(back(moving.settings(null)))
    await moving.inFolder(seed(moving, 1, "later"))
    assert.match(await comparing(moving, "log"), /later-0, revision 0: it is missing/u)
  })

  it("does the last step when it was killed right before it, and never completes a move that was given up", async () => {
    const moving = world()
    await moving.inFolder(seed(moving, 6))
    await Effect.runPromise(moving.move())
    const client = new MongoClient(Redacted.value(moving.servers().vault.url))
    const undo = () => client.db().collection<{ _id: string }>("meta").deleteOne({ _id: "vault" })
    await undo()
    assert.include(await startRefusal(moving.onServers(started)), "has not come to its end")
    assert.include(await startRefusal(moving.inFolder(started)), "was moved to")
    assert.strictEqual((await Effect.runPromise(moving.move())).outcome, "moved")
    assert.strictEqual(await moving.onServers(started), "distributed")
    await undo()
    await client.close()
    await Effect.runPromise(back(moving.settings(null)))
    assert.include(await refusal(moving.move()), "which was given up with --back")
    assert.strictEqual(await moving.inFolder(started), "embedded")
  })

  it("prints no credentials, and says what is missing", async () => {
    const moving = world()
    await moving.inFolder(seed(moving, 1))
    const unset = await said(moving, { TRIBUTARY_MASTER_KEY: moving.masterKey })
    assert.include(unset, "Where to is not said")
    const vault = { TRIBUTARY_VAULT: "mongodb://someone:pass-1234@127.0.0.1:1/vault" }
    const journal = { TRIBUTARY_JOURNAL: "esdb://someone:pass-1234@127.0.0.1:1?tls=false" }
    for (const [store, wrong] of [
      ["vault", vault],
      ["journal", journal]
    ] as const) {
      const unreachable = await said(moving, { ...moving.environment(), ...wrong })
      assert.match(unreachable, new RegExp(`The ${store}.*127.0.0.1:1`, "u"))
      assert.notInclude(unreachable, "pass-1234")
      assert.notInclude(unreachable, moving.masterKey)
    }
    assert.strictEqual(await moving.inFolder(started), "embedded")
  })
})

const untilHeld = async (moving: MoveWorld, events: number): Promise<void> => {
  while (((await moving.eventStore().tell("counts"))["events"] ?? 0) < events) await new Promise((resolve) => setImmediate(resolve))
}

/** The comparison of a move, by itself; its finding. */
const comparing = (moving: MoveWorld, what: "log" | "vault"): Promise<string> =>
  Effect.gen(function* () {
    const source = yield* openSource
    const { driver, stores, vault } = yield* Effect.provide(openServers(moving.servers()), reaching(moving.servers()))
    const counts = source.counts()
    const compared =
      what === "vault"
        ? compareVault(source, vault, { all: true, keys: counts.keys, secrets: counts.secrets })
        : compareLog(source, driver.reads, stores, { all: true, appends: counts.appends, progress: new Progress(() => {}, "", 0, 0) })
    return yield* Effect.promise(() =>
      compared.then(
        () => "the same",
        (cause: Error) => cause.message
      )
    )
  }).pipe(Effect.provide(holding(moving.settings(null))), Effect.scoped, Effect.runPromise)

/** What the command prints. */
const said = async (moving: MoveWorld, environment: Record<string, string>): Promise<string> => {
  const entry = new URL("../../infra/tributary.mjs", import.meta.url).pathname
  const child = spawn(process.execPath, [entry, "move", "--data", moving.folder], { env: { PATH: process.env["PATH"], ...environment } })
  let text = ""
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (text += chunk))
  const [code] = await once(child, "close")
  assert.strictEqual(code, 1)
  return text
}

const moveCommand = (moving: MoveWorld): ChildProcess => {
  const entry = new URL("../../infra/tributary.mjs", import.meta.url).pathname
  const env = { ...process.env, ...moving.environment() }
  return spawn(process.execPath, [entry, "move", "--data", moving.folder], { env, stdio: ["ignore", "ignore", "ignore"] })
}

const keys = ["runs.attemptsMax", "runs.backoffMillis"]
/** Streams of a few appends each, interleaved, with contents; each second one has open work far ahead. */
const seed = (_: MoveWorld, appends: number, kind = "seed"): Effect.Effect<void, unknown, Everything> =>
  Effect.gen(function* () {
    const journal = yield* Journal
    const vault = yield* Vault
    const space = yield* (yield* Spaces).ensureDefault
    const scope = tenantScope(space.space as SpaceKey, `t${"a".repeat(19)}` as TenantKey)
    yield* vault.put(scope, { owner: "integration-erp", field: "key" }, Redacted.make("secret"))
    const streams = Math.max(1, appends / 2)
    for (let from = 0; from < appends; from += streams) {
      const batch = Array.from({ length: Math.min(streams, appends - from) }, (_, stream) => ({ stream, expected: from === 0 ? -1 : 1 }))
      yield* Effect.forEach(
        batch,
        ({ stream, expected }) =>
          journal.append({
            scope,
            stream: streamName(scope, `${kind}-${stream}` as LocalName) as StreamName,
            expected,
            events: [
              {
                id: randomUUID() as EventId,
                type: "SettingCleared",
                version: 1,
                data: `{"level":"tenant","target":"${scope.key}","key":"${keys[stream % 2]}","by":"test","at":1}`
              },
              {
                id: randomUUID() as EventId,
                type: "SettingCleared",
                version: 1,
                data: `{"level":"tenant","target":"${scope.key}","key":"${keys[1]}","by":"test","at":1}`
              }
            ],
            contents:
              stream % 3 === 0
                ? [
                    { slot: `c${expected + 1}`, bytes: `content ${stream} of ${expected}` },
                    { slot: "other", bytes: "" }
                  ]
                : [],
            origin,
            at: 1_700_000_000_000 + stream,
            ...(expected === 1 ? { workDue: 9_000_000_000_000 + (stream % 7) } : {})
          }),
        { concurrency: "unbounded", discard: true }
      )
    }
  })
