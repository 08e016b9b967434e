/** The configuration cascade: what holds on the platform, for the space and for a tenant, and who says so. */

import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as OpenApi from "effect/http-api/OpenApi"
import * as Schema from "effect/Schema"
import type { Permission } from "#domain/access.ts"
import { ConnectorId, FlowId } from "#domain/ids.ts"
import { SettingLevel, SettingValue } from "#domain/setting-catalogue.ts"
import { SettingLevelNotAllowed, SettingUnknown, SettingValueInvalid } from "#domain/settings.ts"
import { problem } from "../problems.ts"
import { listOf, tenantParams } from "./common.ts"
import { Authenticated, Described, InTenant, Needs, Permitted } from "./guards.ts"
import { answersRevision, expectsRevision, revisionMismatch } from "./revisions.ts"

const SettingSource = Schema.Struct({
  level: Schema.Union([SettingLevel, Schema.Literal("default")]),
  /** Whose setting it is. */
  scope: Schema.Literals(["platform", "space", "tenant", "catalogue"]),
  target: Schema.optionalKey(Schema.String),
  value: SettingValue,
  by: Schema.optionalKey(Schema.String),
  /** Epoch milliseconds. */
  at: Schema.optionalKey(Schema.Int)
})
const SettingBody = Schema.Struct({
  key: Schema.String,
  description: Schema.String,
  value: SettingValue,
  winner: SettingSource,
  /** What it overrides, the most specific first; the catalogue's default comes last. */
  overridden: Schema.Array(SettingSource)
})

const target = {
  connector: Schema.optionalKey(ConnectorId.annotate({ description: "For the integration with this connector." })),
  flow: Schema.optionalKey(FlowId.annotate({ description: "For this flow." }))
}
const unknown = problem(SettingUnknown, 404, "No such setting")
const refused = [
  unknown,
  problem(SettingValueInvalid, 422, "The value does not fit the setting"),
  problem(SettingLevelNotAllowed, 422, "The setting cannot be set on this level"),
  revisionMismatch
]
const at = Schema.FiniteFromString.check(Schema.isInt()).annotate({ description: "Epoch milliseconds: as it stood at that time." })

const endpoints = <Params extends Schema.Struct.Fields>(params: Params, read: Permission, write: Permission) =>
  [
    HttpApiEndpoint.get("list", "/", { params, query: target, success: listOf(SettingBody) })
      .annotateMerge(answersRevision)
      .annotate(Needs, read)
      .annotateMerge(OpenApi.annotations({ summary: "Every setting as it holds here" })),
    HttpApiEndpoint.get("explain", "/:key/explain", {
      params: { ...params, key: Schema.String },
      query: { ...target, at: Schema.optionalKey(at) },
      success: SettingBody,
      error: unknown
    })
      .annotate(Needs, read)
      .annotateMerge(
        OpenApi.annotations({ summary: "Who says so", description: "The winning level and what it overrides, now or at a past time." })
      ),
    HttpApiEndpoint.put("set", "/:key", {
      params: { ...params, key: Schema.String },
      query: target,
      payload: Schema.Struct({ value: Schema.Json }),
      success: SettingBody,
      error: refused
    })
      .annotateMerge(expectsRevision)
      .annotate(Needs, write)
      .annotateMerge(OpenApi.annotations({ summary: "Set it here", description: "On this level, or for one integration or flow of it." })),
    HttpApiEndpoint.delete("clear", "/:key", {
      params: { ...params, key: Schema.String },
      query: target,
      success: SettingBody,
      error: refused
    })
      .annotateMerge(expectsRevision)
      .annotate(Needs, write)
      .annotateMerge(OpenApi.annotations({ summary: "Take it back", description: "The less specific value holds again." }))
  ] as const

export class PlatformSettingsApi extends HttpApiGroup.make("platformSettings")
  .add(...endpoints({}, "platform:operate", "platform:operate"))
  .prefix("/api/v1/platform/settings")
  .middleware(Permitted)
  .middleware(Authenticated)
  .middleware(Described)
  .annotateMerge(OpenApi.annotations({ title: "Platform settings", description: "Settings of the installation." })) {}

export class SpaceSettingsApi extends HttpApiGroup.make("settings")
  .add(...endpoints({}, "settings:read", "settings:write"))
  .prefix("/api/v1/settings")
  .middleware(Permitted)
  .middleware(Authenticated)
  .middleware(Described)
  .annotateMerge(OpenApi.annotations({ title: "Settings", description: "Settings of the space." })) {}

export class TenantSettingsApi extends HttpApiGroup.make("tenantSettings")
  .add(...endpoints(tenantParams, "settings:read", "settings:write"))
  .prefix("/api/v1/tenants/:tid/settings")
  .middleware(InTenant)
  .middleware(Permitted)
  .middleware(Authenticated)
  .middleware(Described)
  .annotateMerge(OpenApi.annotations({ title: "Tenant settings", description: "Settings of one tenant." })) {}
