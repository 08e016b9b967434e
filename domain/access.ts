/** Who may do what: seven roles, one matrix of permissions (PRODUCT 12). */
import * as Schema from "effect/Schema"
import type { ApiKeyId, SpaceKey, TenantKey } from "./ids.ts"

/** From the most to the least powerful. */
export const roles = ["platform-admin", "owner", "admin", "developer", "operator", "viewer", "tenant-user"] as const
export type Role = (typeof roles)[number]
export const Role = Schema.Literals(roles)

/** `x`: allowed. A principal that is bound to a tenant sees that one alone, whatever its role; a tenant user always is. */
const matrix = {
  //                      platform-admin · owner · admin · developer · operator · viewer · tenant-user
  "platform:operate": "x . . . . . .",
  "spaces:read": "x x x x x x .",
  "spaces:write": "x x . . . . .",
  "members:read": "x x x . . . .",
  "members:write": "x x x . . . .",
  "api-keys:read": "x x x . . . .",
  "api-keys:write": "x x x . . . .",
  "plans:write": "x x . . . . .",
  "tenants:read": "x x x x x x .",
  "tenants:write": "x x x x . . .",
  "tenants:suspend": "x x x . x . .",
  "tenants:erase": "x x . . . . .",
  "connectors:read": "x x x x x x x",
  "connectors:write": "x x x x . . .",
  "connections:read": "x x x x x x x",
  "connections:write": "x x x x x . x",
  "endpoints:read": "x x x x x x .",
  "endpoints:write": "x x x x . . .",
  "flows:read": "x x x x x x x",
  "flows:write": "x x x x . . .",
  "flows:publish": "x x x x . . .",
  "flows:enable": "x x x x x . x",
  "runs:read": "x x x x x x x",
  "runs:content": "x x x x x . .",
  "runs:operate": "x x x x x . .",
  "events:read": "x x x x x x x",
  "events:content": "x x x x x . .",
  "events:send": "x x x x x . .",
  "events:replay": "x x x x x . .",
  "actions:call": "x x x x x . .",
  "settings:read": "x x x x x x x",
  "settings:write": "x x x x . . .",
  "usage:read": "x x x x x x x",
  "audit:read": "x x x . . . .",
  "projections:read": "x x x x x x .",
  "projections:rebuild": "x x x . x . ."
} as const

/** `<resource>:<action>`, as endpoints declare it. */
export type Permission = keyof typeof matrix
export const permissions = Object.keys(matrix) as ReadonlyArray<Permission>
export const Permission = Schema.Literals(permissions)

const granted: ReadonlyMap<Permission, ReadonlySet<Role>> = new Map(
  permissions.map((permission) => {
    const cells = matrix[permission].split(" ")
    return [permission, new Set(roles.filter((_, column) => cells[column] === "x"))]
  })
)

export const permits = (role: Role, permission: Permission): boolean => granted.get(permission)!.has(role)
export const rolesWith = (permission: Permission): ReadonlyArray<Role> => roles.filter((role) => permits(role, permission))

/** A role may hand out itself and every role below it. */
export const isAtMost = (role: Role, above: Role): boolean => roles.indexOf(role) >= roles.indexOf(above)

/** Who is calling, once it has proved itself. */
export interface Principal {
  readonly space: SpaceKey
  readonly role: Role
  /** Bound to this one tenant: every other one does not exist for it. */
  readonly tenant?: TenantKey
  readonly keyId: ApiKeyId
}

export class AccessDenied extends Schema.TaggedError<AccessDenied>()("AccessDenied", {
  permission: Permission,
  role: Role
}) {
  override get message() {
    return `The role ${this.role} does not permit ${this.permission}. Nothing was done. It is permitted to: ${rolesWith(this.permission).join(", ")}.`
  }
}
