import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import { afterAll, assert, describe, it } from "vitest"
import type { SpaceKey, TenantKey } from "#domain/ids.ts"
import type { Origin } from "#domain/recorded.ts"
import { kindOfEvent } from "#domain/registry.ts"
import { spaceScope, streamName, tenantScope } from "#domain/scope.ts"
import { settings as settingsOf } from "#domain/settings.ts"
import * as Freshness from "#services/freshness.ts"
import { Settings } from "#services/settings.ts"
import { Transact } from "#services/transact.ts"
import { embedded } from "../support/embedded.ts"

const stores = ManagedRuntime.make(embedded)
/** A process of its own over the same journal: its own memory of states, kept fresh by the feed. */
const process = Effect.gen(function* () {
  const shared = yield* Effect.context<Layer.Success<typeof embedded>>()
  return ManagedRuntime.make(
    Settings.layer.pipe(
      Layer.provideMerge(Freshness.layer.pipe(Layer.provideMerge(Layer.fresh(Transact.layer)))),
      Layer.provideMerge(Layer.succeedContext(shared))
    )
  )
})
const here = await stores.runPromise(process)
const there = await stores.runPromise(process)
afterAll(async () => {
  await here.dispose()
  await there.dispose()
  await stores.dispose()
})

const origin: Origin = { actor: { kind: "key", id: "aaaabbbbcccc" } }
const space = spaceScope("saaaabbbbccccddddeee" as SpaceKey)
const tenant = tenantScope(space.space, `t${"a".repeat(19)}` as TenantKey)
const key = "runs.attemptsMax"
const resolved = Effect.flatMap(Settings, (settings) => settings.resolve(tenant, key))
const set = (value: number) => Effect.flatMap(Settings, (settings) => settings.set(tenant, key, value, {}, origin))

/** Turns of the event loop until something holds: the feed tells soon, and not at once. */
const until = async (holds: () => Promise<boolean>) => {
  for (let turn = 0; turn < 2_000; turn++) {
    if (await holds()) return
    await new Promise((resolve) => setImmediate(resolve))
  }
  assert.fail("it did not come about")
}

describe("freshness", () => {
  it("shows a process what another one changed, in services that remember by themselves too", async () => {
    assert.strictEqual(await here.runPromise(resolved), 6)
    assert.strictEqual(await there.runPromise(resolved), 6)
    await there.runPromise(set(3))
    await until(async () => (await here.runPromise(resolved)) === 3)
    await here.runPromise(set(4))
    await until(async () => (await there.runPromise(resolved)) === 4)
  })
  it("lets both decide on the newest state, without a conflict that anybody sees", async () => {
    await Promise.all(Array.from({ length: 40 }, (_, turn) => (turn % 2 === 0 ? here : there).runPromise(set(1 + turn))))
    const read = Effect.flatMap(Transact, ({ read }) => read(settingsOf, tenant, "self"))
    await until(async () => {
      const [ours, theirs] = await Promise.all([here.runPromise(read), there.runPromise(read)])
      return ours.revision === theirs.revision && ours.revision === 41
    })
  })
  it("does not drop a state for what the state has already", async () => {
    const loads = await here.runPromise(
      Effect.gen(function* () {
        const { overtake, read, figures } = yield* Transact
        const { revision } = yield* read(settingsOf, tenant, "self")
        const stream = streamName(tenant, "settings-self")
        const before = figures().streams
        overtake(stream, revision)
        const same = figures().streams
        overtake(stream, revision + 1)
        return [before, same, figures().streams]
      })
    )
    assert.deepStrictEqual(loads, [loads[0], loads[0], loads[0]! - 1])
  })
  it("follows streams of the kinds that are remembered, and each of them has events", () => {
    const kinds = new Set(kindOfEvent.values())
    for (const kind of Freshness.remembered) assert.isTrue(kinds.has(kind), kind)
  })
})
