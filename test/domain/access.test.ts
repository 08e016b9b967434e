import { assert, describe, it } from "vitest"
import { AccessDenied, isAtMost, permissions, permits, roles } from "#domain/access.ts"

describe("roles", () => {
  it("are in order", () => {
    assert.isTrue(isAtMost("viewer", "admin"))
    assert.isTrue(isAtMost("admin", "admin"))
    assert.isFalse(isAtMost("owner", "admin"))
    assert.isFalse(isAtMost("platform-admin", "owner"))
  })
  it("have all that the developer's and operator's viewer has", () => {
    for (const permission of rolesWithAll("viewer"))
      for (const role of ["operator", "developer", "admin", "owner", "platform-admin"] as const)
        assert.isTrue(permits(role, permission), permission)
  })
  it("above developer have all that the next one below has", () => {
    const order = ["platform-admin", "owner", "admin", "developer"] as const
    for (let index = 1; index < order.length; index++)
      for (const permission of rolesWithAll(order[index]!)) assert.isTrue(permits(order[index - 1]!, permission), permission)
  })
  it("are all needed: each has something that the next one has not", () => {
    for (let index = 1; index < roles.length; index++)
      assert.isTrue(permissions.some((permission) => permits(roles[index - 1]!, permission) && !permits(roles[index]!, permission)))
  })
})
const rolesWithAll = (role: (typeof roles)[number]) => permissions.filter((permission) => permits(role, permission))

describe("the matrix", () => {
  it("says resource:action, and every permission has somebody", () => {
    for (const permission of permissions) {
      assert.match(permission, /^[a-z-]+:[a-z]+$/u)
      assert.isTrue(permits("platform-admin", permission), permission)
    }
  })
  it("keeps a tenant's people to looking, connecting and switching on", () =>
    assert.deepStrictEqual(
      rolesWithAll("tenant-user").filter((permission) => !permission.endsWith(":read")),
      ["connections:write", "flows:enable"]
    ))
  it("lets a viewer change nothing and open no content", () =>
    assert.isTrue(rolesWithAll("viewer").every((permission) => permission.endsWith(":read"))))
  it("names who may when it says no", () =>
    assert.match(new AccessDenied({ permission: "platform:operate", role: "viewer" }).message, /permitted to: platform-admin\./u))
})
