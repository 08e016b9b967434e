/** What every `Vault` keeps: secrets come back to their own place alone, and the newest one only. */
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import { assert, describe, it } from "vitest"
import { platformScope } from "#domain/scope.ts"
import { type SecretRef, Vault } from "#services/ports/vault.ts"
import { acme, fresh, other, session, shared, space } from "./installation.ts"

const refOf = (field = "apiKey"): SecretRef => ({ owner: fresh("integration"), field })
const put = (ref: SecretRef, secret: string, scope: typeof acme | typeof space = acme) =>
  Effect.flatMap(Vault, (vault) => vault.put(scope, ref, Redacted.make(secret)))
const get = (ref: SecretRef, atLeast = 1, scope: typeof acme | typeof space = acme) =>
  Effect.map(
    Effect.flatMap(Vault, (vault) => vault.get(scope, ref, atLeast)),
    Redacted.value
  )
const whyGone = <A, E>(effect: Effect.Effect<A, E, Vault>) =>
  Effect.map(Effect.result(effect), (result) => (Result.getFailure(result).valueOrUndefined as { why?: string } | undefined)?.why)

interface VaultInstallation {
  /** Each use opens it anew, over the same data. */
  readonly open: () => Layer.Layer<Vault, unknown>
  readonly remove: () => unknown
}

export const vaultContract = (name: string, make: () => VaultInstallation) =>
  describe(`Vault: ${name}`, () => {
    const run = shared(make())

    it("gives back what was put, redacted", () =>
      run(
        Effect.gen(function* () {
          const vault = yield* Vault
          const ref = refOf()
          for (const secret of ["s3cret", "", "ä𝒳\n", "x".repeat(20_000)]) {
            yield* put(ref, secret)
            assert.strictEqual(yield* get(ref), secret)
          }
          assert.strictEqual(String(yield* vault.get(acme, ref, 1)), "<redacted>")
        })
      ))

    it("counts versions, gives the newest, and refuses one that is older than the log names", () =>
      run(
        Effect.gen(function* () {
          const ref = refOf()
          assert.strictEqual((yield* put(ref, "one")).version, 1)
          assert.strictEqual((yield* put(ref, "two")).version, 2)
          assert.strictEqual(yield* get(ref, 1), "two")
          assert.strictEqual(yield* get(ref, 2), "two")
          assert.strictEqual(yield* whyGone(get(ref, 3)), "stale")
        })
      ))

    it("forgets what was removed, and never gives its version again", () =>
      run(
        Effect.gen(function* () {
          const vault = yield* Vault
          const ref = refOf()
          yield* put(ref, "one")
          yield* vault.remove(acme, ref)
          yield* vault.remove(acme, ref)
          assert.strictEqual(yield* whyGone(get(ref)), "absent")
          assert.strictEqual((yield* put(ref, "two")).version, 2)
          assert.strictEqual(yield* whyGone(get(refOf())), "absent")
        })
      ))

    it("keeps scopes, owners and fields apart", () =>
      run(
        Effect.gen(function* () {
          const ref = refOf()
          const elsewhere = { ...ref, owner: fresh("integration") }
          const field = { ...ref, field: "other" }
          yield* put(ref, "acme's")
          assert.strictEqual(yield* whyGone(get(ref, 1, other)), "absent")
          for (const [at, secret, scope] of [
            [ref, "other's", other],
            [ref, "space's", space],
            [elsewhere, "elsewhere", acme],
            [field, "field", acme]
          ] as const)
            yield* put(at, secret, scope)
          assert.strictEqual(yield* get(ref), "acme's")
          assert.strictEqual(yield* get(ref, 1, other), "other's")
          assert.strictEqual(yield* get(ref, 1, space), "space's")
          assert.strictEqual(yield* get(elsewhere), "elsewhere")
          assert.strictEqual(yield* get(field), "field")
        })
      ))

    it("fingerprints a secret: the same for the same one in its place, and nothing of it", () =>
      run(
        Effect.gen(function* () {
          const ref = refOf()
          const first = yield* put(ref, "one")
          const changed = yield* put(ref, "two")
          const back = yield* put(ref, "one")
          const foreign = yield* put(ref, "one", other)
          assert.match(first.fingerprint, /^[0-9a-f]{16}$/u)
          assert.strictEqual(back.fingerprint, first.fingerprint)
          assert.notStrictEqual(changed.fingerprint, first.fingerprint)
          assert.notStrictEqual(foreign.fingerprint, first.fingerprint)
        })
      ))

    it("digests a name: always the same within a scope and a kind, another elsewhere", () =>
      run(
        Effect.gen(function* () {
          const vault = yield* Vault
          const digest = yield* vault.nameDigest(space, "tenant", "ana@example.com")
          assert.match(digest, /^[0-9a-f]{32}$/u)
          assert.strictEqual(yield* vault.nameDigest(space, "tenant", "ana@example.com"), digest)
          const others = [
            yield* vault.nameDigest(space, "user", "ana@example.com"),
            yield* vault.nameDigest(space, "tenant", "ana@example.co"),
            yield* vault.nameDigest(acme, "tenant", "ana@example.com"),
            yield* vault.nameDigest(platformScope, "tenant", "ana@example.com")
          ]
          assert.lengthOf(new Set([digest, ...others]), 5)
        })
      ))

    it("seals a field of an event: never twice alike, opened only as that field of that scope", () =>
      run(
        Effect.gen(function* () {
          const vault = yield* Vault
          const [one, two] = [
            yield* vault.sealField(acme, "externalId", "acme-corp"),
            yield* vault.sealField(acme, "externalId", "acme-corp")
          ]
          assert.notStrictEqual(one, two)
          for (const sealed of [one, two]) assert.strictEqual(yield* vault.openField(acme, "externalId", sealed), "acme-corp")
          assert.strictEqual(yield* whyGone(vault.openField(acme, "displayName", one)), "damaged")
          yield* vault.sealField(other, "externalId", "other")
          assert.strictEqual(yield* whyGone(vault.openField(other, "externalId", one)), "damaged")
          const at = one.length - 5
          const changed = `${one.slice(0, at)}${one[at] === "A" ? "B" : "A"}${one.slice(at + 1)}`
          for (const text of [changed, "", "1.", ".x", "rubbish"])
            assert.strictEqual(yield* whyGone(vault.openField(acme, "externalId", text)), "damaged")
        })
      ))

    it("keeps everything over a restart", async () => {
      const installation = make()
      try {
        const ref = refOf()
        const before = await session(
          installation.open(),
          Effect.gen(function* () {
            const vault = yield* Vault
            const { fingerprint } = yield* put(ref, "kept")
            return {
              fingerprint,
              sealed: yield* vault.sealField(acme, "f", "kept"),
              digest: yield* vault.nameDigest(space, "tenant", "ana")
            }
          })
        )
        await session(
          installation.open(),
          Effect.gen(function* () {
            const vault = yield* Vault
            assert.strictEqual(yield* get(ref), "kept")
            assert.strictEqual(yield* vault.openField(acme, "f", before.sealed), "kept")
            assert.strictEqual(yield* vault.nameDigest(space, "tenant", "ana"), before.digest)
            assert.deepStrictEqual(yield* put(ref, "kept"), { version: 2, fingerprint: before.fingerprint })
          })
        )
      } finally {
        await installation.remove()
      }
    })
  })
