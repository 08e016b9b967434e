/** Sealed secrets and wrapped keys: the mutable store that is able to forget. */
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import type * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import type { Scope, SpaceScope, TenantScope } from "#domain/scope.ts"
import type { VaultUnavailable } from "./unavailable.ts"

/** Where a secret lies: the owner's local stream name (`integration-erp`), and a field of it (`<connection id>.apiKey`). */
export interface SecretRef {
  readonly owner: string
  readonly field: string
}

export class SecretGone extends Data.TaggedError("SecretGone")<SecretRef & { readonly why: "absent" | "stale" | "damaged" }> {
  override get message() {
    return `The secret ${this.owner}/${this.field} cannot be opened (${this.why}). Enter it again.`
  }
}

export class Vault extends Context.Service<
  Vault,
  {
    /** Seals and stores, durable when it succeeds; returns its version (1, 2, …) and a keyed fingerprint for the event. */
    readonly put: (
      scope: SpaceScope | TenantScope,
      ref: SecretRef,
      secret: Redacted.Redacted<string>
    ) => Effect.Effect<{ readonly version: number; readonly fingerprint: string }, VaultUnavailable>
    /** The secret, at or above the version that the log names; an older one is `stale`. */
    readonly get: (
      scope: SpaceScope | TenantScope,
      ref: SecretRef,
      atLeastVersion: number
    ) => Effect.Effect<Redacted.Redacted<string>, SecretGone | VaultUnavailable>
    readonly remove: (scope: SpaceScope | TenantScope, ref: SecretRef) => Effect.Effect<void, VaultUnavailable>
    /**
     * HMAC-SHA256 of a text under the scope's name key, 32 hex digits: claims a customer's own id without storing it. The same
     * text gives the same digest for the life of the scope.
     */
    readonly nameDigest: (scope: Scope, kind: string, text: string) => Effect.Effect<string, VaultUnavailable>
    /** Seals a short text (a customer's id, a display name) under the scope's log key, for a field of an event. */
    readonly sealField: (scope: SpaceScope | TenantScope, field: string, text: string) => Effect.Effect<string, VaultUnavailable>
    readonly openField: (
      scope: SpaceScope | TenantScope,
      field: string,
      sealed: string
    ) => Effect.Effect<string, SecretGone | VaultUnavailable>
  }
>()("tributary/ports/Vault") {}
