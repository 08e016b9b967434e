/** Spaces: the one that exists from the first start, and what is known of each. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { SpaceKey } from "#domain/ids.ts"
import { name } from "#domain/name.ts"
import { type Origin, systemActor } from "#domain/recorded.ts"
import { platformScope, type SpaceScope, spaceScope } from "#domain/scope.ts"
import { SpaceNotFound, type SpaceState, space } from "#domain/space.ts"
import { Entropy } from "./ports/entropy.ts"
import { Transact, type TransactError } from "./transact.ts"

const defaultSpaceName = "Default space"
const origin: Origin = { actor: systemActor("start") }

export class Spaces extends Context.Service<
  Spaces,
  {
    /**
     * The space that every installation has, made at the first start. Repeatable: after a crash in between, the next start goes
     * on with the key that was claimed.
     */
    readonly ensureDefault: Effect.Effect<SpaceScope, TransactError>
    readonly get: (scope: SpaceScope) => Effect.Effect<NonNullable<SpaceState>, SpaceNotFound | TransactError>
    readonly rename: (scope: SpaceScope, name: string, origin: Origin) => Effect.Effect<void, SpaceNotFound | TransactError>
  }
>()("tributary/services/Spaces") {
  static readonly layer = Layer.effect(
    Spaces,
    Effect.gen(function* () {
      const { read, transact } = yield* Transact
      const entropy = yield* Entropy

      /** The platform's stream `name-default-space` holds the key: who claims it first decides. */
      const claimDefault = Effect.suspend(() => {
        const target = `s${entropy.base32(19)}` as SpaceKey
        return transact(name, platformScope, "default-space", { _tag: "ClaimName", kind: "space", target }, { origin }).pipe(
          Effect.as(target),
          Effect.catchTag("NameTaken", (taken) => Effect.succeed(taken.target as SpaceKey))
        )
      })

      const ensureDefault = Effect.gen(function* () {
        const spaceKey = yield* claimDefault
        const scope = spaceScope(spaceKey)
        yield* transact(space, scope, "self", { _tag: "CreateSpace", spaceKey, name: defaultSpaceName }, { origin }).pipe(
          Effect.catchTag("SpaceNotFound", Effect.die)
        )
        return scope
      })

      const get = Effect.fnUntraced(function* (scope: SpaceScope) {
        const { state } = yield* read(space, scope, "self")
        return state ?? (yield* new SpaceNotFound())
      })

      const rename = Effect.fn("Spaces.rename")(function* (scope: SpaceScope, name: string, origin: Origin) {
        yield* transact(space, scope, "self", { _tag: "RenameSpace", name }, { origin })
      })

      return Spaces.of({ ensureDefault, get, rename })
    })
  )
}
