/** The vault on SQLite: secrets sealed one by one in a file of their own, by the journal's thread. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type { OpenedSecret } from "#adapters/sealing/secrets.ts"
import { VaultUnavailable } from "#services/ports/unavailable.ts"
import { SecretGone, type SecretRef, Vault } from "#services/ports/vault.ts"
import type { Request } from "./journal-protocol.ts"
import { JournalThread } from "./journal-thread-client.ts"

export const layer = Layer.effect(
  Vault,
  Effect.gen(function* () {
    const { connection } = yield* JournalThread
    const change = <A>(request: Request): Effect.Effect<A, VaultUnavailable> =>
      Effect.mapError(connection.ask<A>(request), ({ written, reason, cause }) => new VaultUnavailable({ written, reason, cause }))
    /** What changes no secret, whatever came of it: a key that was made on the way is found again. */
    const ask = <A>(request: Request): Effect.Effect<A, VaultUnavailable> =>
      Effect.mapError(connection.ask<A>(request), ({ reason, cause }) => new VaultUnavailable({ written: "no", reason, cause }))
    const opened = (ref: SecretRef, request: Request): Effect.Effect<string, SecretGone | VaultUnavailable> =>
      Effect.flatMap(ask<OpenedSecret>(request), (reply) =>
        "secret" in reply ? Effect.succeed(reply.secret) : Effect.fail(new SecretGone({ ...ref, why: reply.gone }))
      )
    return Vault.of({
      put: ({ key }, { owner, field }, secret) => change({ op: "putSecret", scope: key, owner, field, secret: Redacted.value(secret) }),
      get: ({ key }, { owner, field }, atLeastVersion) =>
        Effect.map(opened({ owner, field }, { op: "getSecret", scope: key, owner, field, atLeastVersion }), (secret) =>
          Redacted.make(secret)
        ),
      remove: ({ key }, { owner, field }) => change({ op: "removeSecret", scope: key, owner, field }),
      nameDigest: ({ key }, kind, text) => ask({ op: "nameDigest", scope: key, kind, text }),
      sealField: ({ key }, field, text) => ask({ op: "sealField", scope: key, field, text }),
      openField: ({ key }, field, sealed) => opened({ owner: key, field }, { op: "openField", scope: key, field, sealed })
    })
  })
)
