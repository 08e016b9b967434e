/** The API keys of a space: what each is for and whether it works. Never a digest. */
import * as Schema from "effect/Schema"
import { Role } from "#domain/access.ts"
import { ApiKeyEvent, KeyLabel } from "#domain/api-key.ts"
import { ApiKeyId, TenantKey } from "#domain/ids.ts"
import { kindAndIdOf } from "#domain/scope.ts"
import type { Projection } from "./projection.ts"

export type ApiKeyView = typeof ApiKeyView.Type
export const ApiKeyView = Schema.Struct({
  keyId: ApiKeyId,
  role: Role,
  tenantKey: Schema.NullOr(TenantKey),
  label: KeyLabel,
  /** Expiry is a matter of the clock: compare `expiresAt`. */
  status: Schema.Literals(["active", "revoked"]),
  createdBy: Schema.String,
  /** Times are epoch milliseconds; null: never. */
  createdAt: Schema.Int,
  expiresAt: Schema.NullOr(Schema.Int),
  rotatedAt: Schema.NullOr(Schema.Int),
  revokedAt: Schema.NullOr(Schema.Int)
})

export const apiKeys: Projection<ApiKeyEvent, ApiKeyView> = {
  name: "api-keys",
  version: 1,
  events: ["ApiKeyCreated", "ApiKeyExpirySet", "ApiKeyRotated", "ApiKeyRevoked"],
  fields: { role: "text", status: "text", createdAt: "time" },
  sorts: [["createdAt"]],
  key: ({ stream }) => kindAndIdOf(stream).id,
  evolve: (view, { event, at, origin }) =>
    ApiKeyEvent.match(event, {
      ApiKeyCreated: ({ keyId, role, tenantKey, label, expiresAt }): ApiKeyView | undefined => ({
        keyId,
        role,
        tenantKey: tenantKey ?? null,
        label,
        status: "active",
        createdBy: `${origin.actor.kind}:${origin.actor.id}`,
        createdAt: at,
        expiresAt: expiresAt ?? null,
        rotatedAt: null,
        revokedAt: null
      }),
      ApiKeyExpirySet: ({ expiresAt }) => view && { ...view, expiresAt },
      ApiKeyRotated: () => view && { ...view, rotatedAt: at },
      ApiKeyRevoked: () => view && { ...view, status: "revoked" as const, revokedAt: at }
    })
}
