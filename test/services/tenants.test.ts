import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import { afterAll, assert, describe, it } from "vitest"
import type { SpaceKey, TenantKey } from "#domain/ids.ts"
import { name } from "#domain/name.ts"
import type { Origin } from "#domain/recorded.ts"
import { spaceScope, streamName } from "#domain/scope.ts"
import type { DisplayName, ExternalTenantId } from "#domain/tenant.ts"
import { Journal } from "#services/ports/journal.ts"
import { Vault } from "#services/ports/vault.ts"
import { Tenants } from "#services/tenants.ts"
import { Transact } from "#services/transact.ts"
import { embedded } from "../support/embedded.ts"

const runtime = ManagedRuntime.make(Tenants.layer.pipe(Layer.provideMerge(embedded)))
afterAll(() => runtime.dispose())
const run = <A, E>(effect: Effect.Effect<A, E, Tenants | Journal | Vault | Transact>) => runtime.runPromise(effect)

const origin: Origin = { actor: { kind: "key", id: "aaaabbbbcccc" } }
const space = spaceScope("saaaabbbbccccddddeee" as SpaceKey)
const other = spaceScope("sbbbbbbbbccccddddeee" as SpaceKey)
const id = (text: string) => text as ExternalTenantId
const rejected = (effect: Effect.Effect<unknown, { readonly _tag: string }>) => Effect.map(Effect.flip(effect), ({ _tag }) => _tag)

describe("tenants", () => {
  it("are found by whatever id the space chose", () =>
    run(
      Effect.gen(function* () {
        const tenants = yield* Tenants
        for (const text of ["018f2c1e-7a6b-7000-8000-0123456789ab", "acme-corp", "ana@example.com", "Ω/mega 株式会社"]) {
          const scope = yield* tenants.create(space, { id: id(text), plan: "growth", region: "us" }, origin)
          assert.deepStrictEqual(yield* tenants.find(space, id(text)), scope)
          assert.deepStrictEqual(yield* tenants.get(scope), {
            tenantKey: scope.key,
            id: id(text),
            displayName: text,
            plan: "growth" as never,
            region: "us",
            tier: "shared",
            status: "active",
            revision: 0
          })
        }
      })
    ))
  it("do not exist for another space, with the same answer as an id that nobody has", () =>
    run(
      Effect.gen(function* () {
        const tenants = yield* Tenants
        yield* tenants.create(space, { id: id("only-here") }, origin)
        const foreign = yield* Effect.flip(tenants.find(other, id("only-here")))
        const nobody = yield* Effect.flip(tenants.find(space, id("nobody")))
        assert.strictEqual(foreign._tag, "TenantNotFound")
        assert.strictEqual(foreign.message, nobody.message)
        const twin = yield* tenants.create(other, { id: id("only-here") }, origin)
        assert.notStrictEqual(twin.key, (yield* tenants.find(space, id("only-here"))).key)
      })
    ))
  it("leave no id or name readable in the log", () =>
    run(
      Effect.gen(function* () {
        const scope = yield* (yield* Tenants).create(
          space,
          { id: id("ana.secret@example.com"), displayName: "Ana Secret" as DisplayName },
          origin
        )
        const stored = JSON.stringify(yield* (yield* Journal).readStream(scope, streamName(scope, "tenant-self")))
        assert.isFalse(/ana|secret/iu.test(stored), stored)
      })
    ))
  it("are created once per id, also of 20 that try at the same time", () =>
    run(
      Effect.gen(function* () {
        const tenants = yield* Tenants
        const tries = yield* Effect.forEach(
          Array.from({ length: 20 }),
          () => Effect.result(tenants.create(space, { id: id("crowded") }, origin)),
          { concurrency: "unbounded" }
        )
        assert.strictEqual(tries.filter(({ _tag }) => _tag === "Success").length, 1)
        assert.strictEqual(yield* rejected(tenants.create(space, { id: id("crowded") }, origin)), "TenantExists")
      })
    ))
  it("are the same when the request is repeated under its Idempotency-Key, and another request is refused", () =>
    run(
      Effect.gen(function* () {
        const tenants = yield* Tenants
        const request: Origin = { ...origin, commandId: "create-1", commandHash: "h1" }
        const first = yield* tenants.create(space, { id: id("repeated") }, request)
        assert.deepStrictEqual(yield* tenants.create(space, { id: id("repeated") }, request), first)
        const another = { ...request, commandHash: "h2" }
        assert.strictEqual(yield* rejected(tenants.create(space, { id: id("not-made") }, another)), "CommandIdReused")
        assert.strictEqual(yield* rejected(tenants.find(space, id("not-made"))), "TenantNotFound")
      })
    ))
  it("are made under the key that was claimed before a crash", () =>
    run(
      Effect.gen(function* () {
        const tenants = yield* Tenants
        const target = "tccccbbbbccccddddeee" as TenantKey
        const digest = yield* (yield* Vault).nameDigest(space, "tenant", "crashed")
        yield* (yield* Transact).transact(name, space, digest, { _tag: "ClaimName", kind: "tenant", target }, { origin })
        assert.strictEqual(yield* rejected(tenants.find(space, id("crashed"))), "TenantNotFound")
        assert.strictEqual((yield* tenants.create(space, { id: id("crashed") }, origin)).key, target)
        assert.strictEqual((yield* tenants.find(space, id("crashed"))).key, target)
      })
    ))
  it("change their name, plan and status", () =>
    run(
      Effect.gen(function* () {
        const tenants = yield* Tenants
        const scope = yield* tenants.create(space, { id: id("changing") }, origin)
        yield* tenants.change(scope, { displayName: "Changed" as DisplayName, plan: "enterprise" }, origin)
        yield* tenants.suspend(scope, origin)
        assert.strictEqual(yield* tenants.status(scope), "suspended")
        const { displayName, plan } = yield* tenants.get(scope)
        assert.deepStrictEqual({ displayName, plan: String(plan) }, { displayName: "Changed", plan: "enterprise" })
        yield* tenants.activate(scope, origin)
        assert.strictEqual((yield* tenants.get(scope)).revision, 4)
        assert.strictEqual(yield* tenants.status(scope), "active")
        assert.strictEqual(
          yield* rejected(tenants.change(scope, { displayName: "Golden" as DisplayName, plan: "gold" }, origin)),
          "PlanNotFound"
        )
        assert.strictEqual(yield* rejected(tenants.create(space, { id: id("golden"), plan: "gold" }, origin)), "PlanNotFound")
      })
    ))
})
