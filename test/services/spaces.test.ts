import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { assert, describe, it } from "vitest"
import type { SpaceKey } from "#domain/ids.ts"
import { name } from "#domain/name.ts"
import { systemActor } from "#domain/recorded.ts"
import { platformScope, spaceScope } from "#domain/scope.ts"
import { Spaces } from "#services/spaces.ts"
import { Transact } from "#services/transact.ts"
import { embedded } from "../support/embedded.ts"

const fresh = <A, E>(effect: Effect.Effect<A, E, Spaces | Transact>) =>
  Effect.runPromise(effect.pipe(Effect.provide(Spaces.layer.pipe(Layer.provideMerge(embedded)))))

describe("the spaces service", () => {
  it("makes the default space at the first start and finds it at the next", () =>
    fresh(
      Effect.gen(function* () {
        const spaces = yield* Spaces
        const first = yield* spaces.ensureDefault
        assert.deepStrictEqual(yield* spaces.ensureDefault, first)
        assert.strictEqual((yield* spaces.get(first)).name, "Default space")
      })
    ))
  it("goes on with the key that was claimed before a crash", () =>
    fresh(
      Effect.gen(function* () {
        const target = "saaaabbbbccccddddeee"
        const claim = { _tag: "ClaimName", kind: "space", target } as const
        yield* (yield* Transact).transact(name, platformScope, "default-space", claim, { origin: { actor: systemActor("test") } })
        const spaces = yield* Spaces
        assert.strictEqual((yield* spaces.ensureDefault).key, target)
        assert.strictEqual((yield* spaces.get(spaceScope(target as SpaceKey))).name, "Default space")
      })
    ))
  it("knows no other space", () =>
    fresh(
      Effect.gen(function* () {
        const error = yield* Effect.flip((yield* Spaces).get(spaceScope("sbbbbbbbbccccddddeee" as SpaceKey)))
        assert.strictEqual(error._tag, "SpaceNotFound")
      })
    ))
})
