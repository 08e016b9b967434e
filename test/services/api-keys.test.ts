import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Redacted from "effect/Redacted"
import * as TestClock from "effect/testing/TestClock"
import { afterAll, assert, describe, it } from "vitest"
import type { TenantKey } from "#domain/ids.ts"
import type { Origin } from "#domain/recorded.ts"
import { streamName } from "#domain/scope.ts"
import { ApiKeys } from "#services/api-keys.ts"
import { Journal } from "#services/ports/journal.ts"
import { Spaces } from "#services/spaces.ts"
import { embedded } from "../support/embedded.ts"

const runtime = ManagedRuntime.make(Layer.mergeAll(ApiKeys.layer, Spaces.layer).pipe(Layer.provideMerge(embedded)))
afterAll(() => runtime.dispose())
const run = <A, E>(effect: Effect.Effect<A, E, ApiKeys | Spaces | Journal>) => runtime.runPromise(effect)

const origin: Origin = { actor: { kind: "key", id: "aaaabbbbcccc" } }
const owner = { role: "owner" } as const
const created = Effect.gen(function* () {
  const [keys, space] = [yield* ApiKeys, yield* (yield* Spaces).ensureDefault]
  return { keys, space, key: yield* keys.create(space, { role: "developer", label: "CI" }, owner, origin) }
})
const refused = (effect: Effect.Effect<unknown, { readonly _tag: string; readonly message: string }>, tag = "ApiKeyRefused") =>
  Effect.map(Effect.flip(effect), (error) => {
    assert.strictEqual(error._tag, tag)
    return error.message
  })

describe("API keys", () => {
  it("open the door to who they were made for, and only whole", () =>
    run(
      Effect.gen(function* () {
        const { keys, space, key } = yield* created
        const text = Redacted.value(key.text)
        assert.match(text, new RegExp(`^trib_${space.key}_${key.keyId}_[a-z2-7]{32}$`, "u"))
        assert.deepStrictEqual(yield* keys.authenticate(key.text), { space: space.space, role: "developer", keyId: key.keyId })
        const last = text.at(-1) === "a" ? "b" : "a"
        const wrong = ["", "trib", text.slice(0, -1), `${text.slice(0, -1)}${last}`, `${text}a`, text.replace("trib", "trob")]
        const unknown = `trib_${space.key}_${"b".repeat(12)}_${"a".repeat(32)}`
        const messages = new Set<string>()
        for (const attempt of [...wrong, unknown]) messages.add(yield* refused(keys.authenticate(Redacted.make(attempt))))
        assert.strictEqual(messages.size, 1)
      })
    ))
  it("leave nothing of the secret in the log", () =>
    run(
      Effect.gen(function* () {
        const { space, key } = yield* created
        const stored = yield* (yield* Journal).readStream(space, streamName(space, `apikey-${key.keyId}`))
        assert.strictEqual(stored.length, 1)
        assert.isFalse(JSON.stringify(stored).includes(Redacted.value(key.text).slice(-32)))
      })
    ))
  it("are bound to their tenant", () =>
    run(
      Effect.gen(function* () {
        const { keys, space } = yield* created
        const tenantKey = "taaaabbbbccccddddeee" as TenantKey
        const { text } = yield* keys.create(space, { role: "tenant-user", label: "Shop", tenantKey }, owner, origin)
        assert.strictEqual((yield* keys.authenticate(text)).tenant, tenantKey)
      })
    ))
  it("stop working at once when they are revoked", () =>
    run(
      Effect.gen(function* () {
        const { keys, space, key } = yield* created
        yield* keys.authenticate(key.text)
        yield* keys.revoke(space, key.keyId, owner, origin)
        yield* refused(keys.authenticate(key.text))
        yield* keys.revoke(space, key.keyId, owner, origin)
      })
    ))
  it("stop working when they expire, although they are remembered", () =>
    run(
      Effect.gen(function* () {
        const { keys, space, key } = yield* created
        yield* TestClock.setTime(10_000)
        yield* keys.expire(space, key.keyId, 10_500, owner, origin)
        yield* keys.authenticate(key.text)
        yield* TestClock.setTime(10_500)
        yield* refused(keys.authenticate(key.text))
      })
    ))
  it("keep their old secret for the grace time when they are rotated", () =>
    run(
      Effect.gen(function* () {
        const { keys, space, key } = yield* created
        yield* TestClock.setTime(20_000)
        const rotated = yield* keys.rotate(space, key.keyId, owner, origin, 60)
        assert.strictEqual(rotated.keyId, key.keyId)
        yield* keys.authenticate(key.text)
        yield* keys.authenticate(rotated.text)
        yield* TestClock.setTime(80_000)
        yield* refused(keys.authenticate(key.text))
        yield* keys.authenticate(rotated.text)
      })
    ))
  it("are not taken over by a lower role", () =>
    run(
      Effect.gen(function* () {
        const { keys, space, key } = yield* created
        yield* refused(keys.rotate(space, key.keyId, { role: "operator" }, origin), "GrantTooWide")
        yield* refused(keys.create(space, { role: "owner", label: "Up" }, { role: "admin" }, origin), "GrantTooWide")
      })
    ))
  it("are made once under an Idempotency-Key, and the repeat shows no second secret", () =>
    run(
      Effect.gen(function* () {
        const { keys, space } = yield* created
        const request: Origin = { ...origin, commandId: "c1", commandHash: "h1" }
        const first = yield* keys.create(space, { role: "viewer", label: "One" }, owner, request)
        yield* refused(keys.create(space, { role: "viewer", label: "One" }, owner, request), "SecretShownBefore")
        yield* refused(keys.create(space, { role: "viewer", label: "Two" }, owner, { ...request, commandHash: "h2" }), "CommandIdReused")
        yield* keys.authenticate(first.text)
      })
    ))
  it("exist for an administrator from the first start, once, until a lost one is replaced", () =>
    run(
      Effect.gen(function* () {
        const { keys, space } = yield* created
        const first = yield* keys.ensureFirstAdmin(space)
        assert.strictEqual((yield* keys.authenticate(first!.text)).role, "platform-admin")
        assert.isNull(yield* keys.ensureFirstAdmin(space))
        const second = yield* keys.resetFirstAdmin(space, origin)
        yield* refused(keys.authenticate(first!.text))
        const third = yield* keys.resetFirstAdmin(space, origin)
        yield* refused(keys.authenticate(second.text))
        assert.strictEqual((yield* keys.authenticate(third.text)).role, "platform-admin")
      })
    ))
})
