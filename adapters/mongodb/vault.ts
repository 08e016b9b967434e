/** The vault on MongoDB: secrets sealed one by one in a database of their own, each write on a majority before it is answered. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type { Collection } from "mongodb"
import type { ScopeKeys } from "#adapters/sealing/scope-keys.ts"
import {
  fieldKeyVersion,
  fingerprint,
  nameDigest,
  type OpenedSecret,
  openField,
  openSecret,
  type SecretPlace,
  sealField,
  sealSecret
} from "#adapters/sealing/secrets.ts"
import { VaultUnavailable } from "#services/ports/unavailable.ts"
import { SecretGone, type SecretRef, Vault } from "#services/ports/vault.ts"
import { attempt, type Writing } from "./attempt.ts"
import { isDuplicateKey } from "./failure.ts"
import { type SecretDocument, VaultDatabase } from "./vault-database.ts"

/** Others who put the same secret at the same moment; more than a few is a fault. */
const triesMax = 10

export const idOf = ({ scope, owner, field }: SecretPlace): string => JSON.stringify([scope, owner, field])

/** Seals as the version after the stored one, and stores it unless another came first. */
const put = async (writing: Writing, secrets: Collection<SecretDocument>, keys: ScopeKeys, place: SecretPlace, secret: string) => {
  const _id = idOf(place)
  const [vaultKey, nameKey] = await Promise.all([keys.toSeal(place.scope, "vault"), keys.toSeal(place.scope, "name")])
  for (let tries = 0; tries < triesMax; tries++) {
    const before = await secrets.findOne({ _id }, { projection: { version: 1 } })
    const version = (before?.version ?? 0) + 1
    const sealed = sealSecret(vaultKey, place, version, secret)
    if (await writing.send(() => write(secrets, { _id, ...place, version, ...sealed })))
      return { version, fingerprint: fingerprint(nameKey, place, secret) }
  }
  throw new VaultUnavailable({ written: "no", reason: `the secret ${place.owner}/${place.field} is being put by too many at once` })
}

/** False: the stored version is not the one before. */
const write = async (secrets: Collection<SecretDocument>, { _id, ...secret }: SecretDocument): Promise<boolean> => {
  if (secret.version > 1) return (await secrets.replaceOne({ _id, version: secret.version - 1 }, secret)).matchedCount === 1
  try {
    await secrets.insertOne({ _id, ...secret })
    return true
  } catch (cause) {
    if (isDuplicateKey(cause)) return false
    throw cause
  }
}

const get = async (
  secrets: Collection<SecretDocument>,
  keys: ScopeKeys,
  place: SecretPlace,
  atLeastVersion: number
): Promise<OpenedSecret> => {
  const found = await secrets.findOne({ _id: idOf(place) })
  if (found === null || found.sealed === null || found.salt === null || found.keyVersion === null) return { gone: "absent" }
  if (found.version < atLeastVersion) return { gone: "stale" }
  const { keyVersion, salt, sealed, version } = found
  const vaultKey = await keys.toOpen(place.scope, "vault", keyVersion)
  return openSecret(vaultKey, place, version, { keyVersion, salt, sealed })
}

const opened = (ref: SecretRef, work: () => Promise<OpenedSecret>): Effect.Effect<string, SecretGone | VaultUnavailable> =>
  Effect.flatMap(attempt(work), (found) =>
    "secret" in found ? Effect.succeed(found.secret) : Effect.fail(new SecretGone({ ...ref, why: found.gone }))
  )

export const layer = Layer.effect(
  Vault,
  Effect.gen(function* () {
    const { secrets, keys } = yield* VaultDatabase
    return Vault.of({
      put: ({ key: scope }, { owner, field }, secret) =>
        attempt((writing) => put(writing, secrets, keys, { scope, owner, field }, Redacted.value(secret))),
      get: ({ key: scope }, { owner, field }, atLeastVersion) =>
        Effect.map(
          opened({ owner, field }, () => get(secrets, keys, { scope, owner, field }, atLeastVersion)),
          (secret) => Redacted.make(secret)
        ),
      remove: ({ key: scope }, { owner, field }) =>
        attempt(async (writing) => {
          const _id = idOf({ scope, owner, field })
          // A server that cannot be reached is told from one that may have removed it.
          if ((await secrets.findOne({ _id }, { projection: { version: 1 } })) === null) return
          await writing.send(() => secrets.updateOne({ _id }, { $set: { keyVersion: null, salt: null, sealed: null } }))
        }),
      nameDigest: ({ key }, kind, text) => attempt(async () => nameDigest(await keys.toSeal(key, "name"), kind, text)),
      sealField: ({ key }, field, text) => attempt(async () => sealField(await keys.toSeal(key, "log"), key, field, text)),
      openField: ({ key }, field, sealed) =>
        opened({ owner: key, field }, async () => {
          const version = fieldKeyVersion(sealed)
          if (version === undefined) return { gone: "damaged" }
          return openField(await keys.toOpen(key, "log", version), key, field, sealed)
        })
    })
  })
)
