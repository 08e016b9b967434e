/** API keys: who may call, as which role, for which tenant. */

import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as HttpApiSchema from "effect/http-api/HttpApiSchema"
import * as OpenApi from "effect/http-api/OpenApi"
import * as Schema from "effect/Schema"
import { Role } from "#domain/access.ts"
import { ApiKeyEnded, ApiKeyExists, ApiKeyNotFound, GrantTooWide, KeyLabel, TenantRequired } from "#domain/api-key.ts"
import { ApiKeyId } from "#domain/ids.ts"
import { ExternalTenantId, TenantNotFound } from "#domain/tenant.ts"
import { apiKeys as view } from "#projections/api-keys.ts"
import { SecretShownBefore } from "#services/api-keys.ts"
import { problem, problemOf } from "../problems.ts"
import { listQuery, pageOf, timeQuery } from "./common.ts"
import { Authenticated, Described, Needs, Permitted } from "./guards.ts"

/** Times are epoch milliseconds; null: never. */
export const ApiKeyBody = Schema.Struct({
  keyId: ApiKeyId,
  role: Role,
  /** The one tenant that it is for, by the space's own id; null: all of them. */
  tenant: Schema.NullOr(Schema.String),
  label: Schema.String,
  status: Schema.Literals(["active", "revoked"]),
  createdBy: Schema.String,
  createdAt: Schema.Int,
  expiresAt: Schema.NullOr(Schema.Int),
  rotatedAt: Schema.NullOr(Schema.Int),
  revokedAt: Schema.NullOr(Schema.Int)
}).annotate({ identifier: "ApiKey" })

/** `key` is shown here and never again. */
const Issued = Schema.Struct({ keyId: ApiKeyId, key: Schema.String }).annotate({ identifier: "IssuedApiKey" })

const notFound = problem(ApiKeyNotFound, 404, "No such API key")
const ended = problem(ApiKeyEnded, 409, "The API key has ended")
const refused = [
  notFound,
  ended,
  problem(ApiKeyExists, 409, "The API key exists already"),
  problem(GrantTooWide, 403, "The grant is wider than your own"),
  problem(TenantRequired, 422, "The role needs a tenant"),
  problem(TenantNotFound, 404, "No such tenant")
]
const shownBefore = problemOf(SecretShownBefore, 409, "The secret was shown before")
const keyParams = { keyId: ApiKeyId }

export class ApiKeysApi extends HttpApiGroup.make("apiKeys")
  .add(
    HttpApiEndpoint.get("list", "/", {
      query: {
        ...listQuery(view),
        ...timeQuery("createdAt"),
        role: Schema.optionalKey(Role),
        status: Schema.optionalKey(ApiKeyBody.fields.status)
      },
      success: pageOf(ApiKeyBody)
    })
      .annotate(Needs, "api-keys:read")
      .annotateMerge(OpenApi.annotations({ summary: "List API keys", description: "Never their secrets." })),
    HttpApiEndpoint.post("create", "/", {
      payload: Schema.Struct({
        role: Role,
        label: KeyLabel,
        tenant: Schema.optionalKey(ExternalTenantId),
        expiresAt: Schema.optionalKey(Schema.Int)
      }),
      success: Issued.pipe(HttpApiSchema.status(201)),
      error: [...refused, shownBefore]
    })
      .annotate(Needs, "api-keys:write")
      .annotateMerge(
        OpenApi.annotations({ summary: "Create an API key", description: "For your own role or one below it. The key is shown once." })
      ),
    HttpApiEndpoint.post("rotate", "/:keyId/rotate", {
      params: keyParams,
      payload: Schema.Struct({ graceSeconds: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 2_592_000 }))) }),
      success: Issued,
      error: [...refused, shownBefore]
    })
      .annotate(Needs, "api-keys:write")
      .annotateMerge(
        OpenApi.annotations({
          summary: "Rotate an API key",
          description: "The old secret works for the grace time, a day unless said otherwise."
        })
      ),
    HttpApiEndpoint.delete("revoke", "/:keyId", { params: keyParams, success: HttpApiSchema.NoContent, error: refused })
      .annotate(Needs, "api-keys:write")
      .annotateMerge(OpenApi.annotations({ summary: "Revoke an API key", description: "It ends at once." }))
  )
  .prefix("/api/v1/api-keys")
  .middleware(Permitted)
  .middleware(Authenticated)
  .middleware(Described)
  .annotateMerge(OpenApi.annotations({ title: "API keys", description: "Who may call, as which role." })) {}
