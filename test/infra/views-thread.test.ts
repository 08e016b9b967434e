import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { afterEach, assert, beforeEach, describe, it } from "vitest"
import { masterKeyId } from "#adapters/node/master-key.ts"
import * as journalOn from "#adapters/sqlite/journal.ts"
import * as viewsOn from "#adapters/sqlite/views-client.ts"
import type { EventId, Position, SpaceKey, TenantKey } from "#domain/ids.ts"
import { systemActor } from "#domain/recorded.ts"
import { eventVersions } from "#domain/registry.ts"
import { spaceScope, streamName, tenantScope } from "#domain/scope.ts"
import { projections } from "#projections/registry.ts"
import { RunView, runs } from "#projections/runs.ts"
import { Journal } from "#services/ports/journal.ts"
import { MasterKey } from "#services/ports/master-key.ts"
import { ViewServer } from "#services/ports/view-server.ts"

const key = new Uint8Array(32).fill(7)
const masterKey = Layer.succeed(MasterKey, MasterKey.of({ id: masterKeyId(key), key: Redacted.make(key), where: "test" }))
const space = spaceScope("saaaabbbbccccddddeee" as SpaceKey)
const acme = tenantScope(space.space, "tacmeacmeacmeacmeacm" as TenantKey)
const bolt = tenantScope(space.space, "tboltboltboltboltbol" as TenantKey)
const runId = (number: number) => String.fromCharCode(97 + number).repeat(26)

let folder = ""
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tributary-thread-"))
})
afterEach(() => rmSync(folder, { recursive: true }))

const withThread = <A>(body: Effect.Effect<A, unknown, Journal | ViewServer>): Promise<A> => {
  const files = { journalFile: join(folder, "journal.db"), vaultFile: join(folder, "vault.db"), eventTypes: eventVersions }
  const entry = new URL("../../infra/views-thread.mjs", import.meta.url)
  const views = viewsOn.layer({ journalFile: files.journalFile, viewsFile: join(folder, "views.db"), entry })
  const stores = views.pipe(Layer.provideMerge(journalOn.layer(files)), Layer.provide(masterKey))
  return Effect.runPromise(Effect.provide(body, stores) as Effect.Effect<A>)
}

const start = (scope: typeof acme, id: string): Effect.Effect<Position, unknown, Journal> =>
  Effect.gen(function* () {
    const journal = yield* Journal
    const data = {
      runId: id,
      flowId: "orders",
      version: 1,
      purpose: "route",
      deliveryId: id,
      trigger: `delivery-${id}#body`,
      steps: [{ id: "send", kind: "action" }]
    }
    const { position } = yield* journal.append({
      scope,
      stream: streamName(scope, `run-${id}`),
      expected: -1,
      events: [{ id: crypto.randomUUID() as EventId, type: "RunStarted", version: 1, data: JSON.stringify(data) }],
      contents: [],
      origin: { actor: systemActor("router") },
      at: 1_700_000_000_000
    })
    return position
  })

describe("the views' thread", () => {
  it("shows what was written just before, in the shape that the API promises", () =>
    withThread(
      Effect.gen(function* () {
        const views = yield* ViewServer
        const position = yield* start(acme, runId(0))
        const view = yield* views.get("runs", acme, runId(0), position)
        const { id, status } = Schema.decodeUnknownSync(RunView)(view)
        assert.deepStrictEqual([id, status] as ReadonlyArray<string>, [runId(0), "running"])
        assert.isNull(yield* views.get("runs", bolt, runId(0), position))
      })
    ))
  it("keeps its views from one start to the next, and follows what is written later", async () => {
    const first = await withThread(
      Effect.gen(function* () {
        const views = yield* ViewServer
        for (let number = 0; number < 5; number++) yield* start(number % 2 === 0 ? acme : bolt, runId(number))
        const position = yield* start(acme, runId(5))
        yield* views.get("runs", acme, runId(5), position)
        return yield* views.find("runs", { scope: acme, limit: 3 }, position)
      })
    )
    assert.lengthOf(first.items, 3)
    await withThread(
      Effect.gen(function* () {
        const views = yield* ViewServer
        const { items } = yield* views.find("runs", { scope: acme, limit: 3, cursor: first.next! }, null)
        assert.lengthOf(items, 1)
        const position = yield* start(bolt, runId(6))
        assert.lengthOf((yield* views.find("runs", { scope: bolt, limit: 10 }, position)).items, 3)
      })
    )
  })
  it("lists and rebuilds projections", () =>
    withThread(
      Effect.gen(function* () {
        const views = yield* ViewServer
        const position = yield* start(acme, runId(0))
        yield* views.get("runs", acme, runId(0), position)
        const names = (yield* views.projections).map(({ name }) => name)
        assert.deepStrictEqual(
          names,
          projections.map(({ name }) => name)
        )
        assert.strictEqual((yield* views.rebuild("runs")).building?.model, `runs@${runs.version}+2`)
        const later = yield* start(acme, runId(1))
        assert.isNotNull(yield* views.get("runs", acme, runId(1), later))
      })
    ))
  it("carries failures over as what they are", () =>
    withThread(
      Effect.gen(function* () {
        const views = yield* ViewServer
        const unknown = yield* Effect.flip(views.get("nothing", acme, "x", null))
        assert.strictEqual(unknown._tag, "ProjectionUnknown")
        assert.match(unknown.message, /no projection nothing\. There are: .*runs/u)
        const refused = yield* Effect.flip(views.find("runs", { scope: acme, limit: 0 }, null))
        assert.deepInclude(refused, { _tag: "QueryRefused", model: `runs@${runs.version}` })
        const behind = yield* Effect.flip(views.get("runs", acme, "x", "0000000000000099" as Position))
        assert.deepInclude(behind, { _tag: "ViewsBehind", projection: "runs", retryAfterSeconds: 2 })
      })
    ))
  it("answers many at once, each its own", () =>
    withThread(
      Effect.gen(function* () {
        const views = yield* ViewServer
        const started = yield* Effect.forEach([0, 1, 2, 3, 4, 5, 6, 7], (number) => start(acme, runId(number)), { concurrency: 8 })
        const asked = yield* Effect.forEach(started, (position, number) =>
          Effect.forkChild(views.get("runs", acme, runId(number), position))
        )
        const answers = yield* Effect.forEach(asked, Fiber.join)
        assert.deepStrictEqual(
          answers.map((view) => view?.["id"]),
          [0, 1, 2, 3, 4, 5, 6, 7].map(runId)
        )
      })
    ))
})
