import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as TestClock from "effect/testing/TestClock"
import { afterAll, assert, describe, it } from "vitest"
import type { SpaceKey, TenantKey } from "#domain/ids.ts"
import type { Origin } from "#domain/recorded.ts"
import { platformScope, spaceScope, tenantScope } from "#domain/scope.ts"
import { settingKeys } from "#domain/setting-catalogue.ts"
import { Settings } from "#services/settings.ts"
import { embedded } from "../support/embedded.ts"

const runtime = ManagedRuntime.make(Settings.layer.pipe(Layer.provideMerge(embedded)))
afterAll(() => runtime.dispose())
const using = <A, E>(use: (settings: Settings["Service"]) => Effect.Effect<A, E, never>) =>
  runtime.runPromise(Effect.flatMap(Settings, use))

const origin: Origin = { actor: { kind: "key", id: "aaaabbbbcccc" } }
const space = spaceScope("saaaabbbbccccddddeee" as SpaceKey)
const tenantOf = (letter: string) => tenantScope(space.space, `t${letter.repeat(19)}` as TenantKey)
const key = "runs.attemptsMax"

describe("the settings service", () => {
  it("resolves what was just set, on every level, and again what was below after it is cleared", () =>
    using((settings) =>
      Effect.gen(function* () {
        const tenant = tenantOf("a")
        const flow = { flowId: "sync" }
        const value = settings.resolve(tenant, key, flow)
        assert.strictEqual(yield* value, 6)
        yield* settings.set(platformScope, key, 1, {}, origin)
        assert.strictEqual(yield* value, 1)
        yield* settings.set(space, key, 2, {}, origin)
        yield* settings.set(space, key, 3, flow, origin)
        assert.strictEqual(yield* value, 3)
        assert.strictEqual(yield* settings.resolve(tenant, key), 2)
        yield* settings.set(tenant, key, 4, flow, origin)
        assert.strictEqual(yield* value, 4)
        yield* settings.clear(tenant, key, flow, origin)
        assert.strictEqual(yield* value, 3)
        for (const [scope, target] of [[space, flow] as const, [space, {}] as const, [platformScope, {}] as const])
          yield* settings.clear(scope, key, target, origin)
        assert.strictEqual(yield* value, 6)
      })
    ))
  it("keeps the settings of two tenants apart", () =>
    using((settings) =>
      Effect.gen(function* () {
        yield* settings.set(tenantOf("b"), key, 9, {}, origin)
        assert.strictEqual(yield* settings.resolve(tenantOf("c"), key), 6)
      })
    ))
  it("explains who set it and when, also as of a past time", () =>
    using((settings) =>
      Effect.gen(function* () {
        const tenant = tenantOf("d")
        yield* TestClock.setTime(1_000)
        yield* settings.set(tenant, key, 7, {}, origin)
        yield* TestClock.setTime(2_000)
        yield* settings.set(tenant, key, 8, {}, origin)
        const first = { level: "tenant", scope: "tenant", value: 7, by: "key:aaaabbbbcccc", at: 1_000 }
        assert.deepStrictEqual((yield* settings.explain(tenant, key)).winner, { ...first, value: 8, at: 2_000 } as never)
        assert.deepStrictEqual((yield* settings.explain(tenant, key, { at: 1_999 })).winner, first as never)
        assert.strictEqual((yield* settings.explain(tenant, key, { at: 999 })).winner.level, "default")
      })
    ))
  it("lists every key as it holds", () =>
    using((settings) =>
      Effect.gen(function* () {
        const tenant = tenantOf("e")
        yield* settings.set(tenant, "quota.eventsPerDay.mode", "queue", {}, origin)
        const listed = yield* settings.list(tenant)
        assert.deepStrictEqual(
          listed.map(({ key }) => key),
          [...settingKeys]
        )
        assert.strictEqual(listed.find(({ key }) => key === "quota.eventsPerDay.mode")?.value, "queue")
      })
    ))
  it("refuses unknown keys when it sets, clears and explains", () =>
    using((settings) =>
      Effect.gen(function* () {
        const tenant = tenantOf("f")
        for (const attempt of [
          settings.set(tenant, "runs.atemptsMax", 1, {}, origin),
          settings.clear(tenant, "runs.atemptsMax", {}, origin),
          settings.explain(tenant, "runs.atemptsMax")
        ]) {
          const error = yield* Effect.flip(attempt as Effect.Effect<unknown, { readonly _tag: string; readonly message: string }>)
          assert.strictEqual(error._tag, "SettingUnknown")
          assert.match(error.message, /runs\.attemptsMax/u)
        }
      })
    ))
})
