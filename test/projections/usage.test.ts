import { assert, describe, it } from "vitest"
import type { SpaceKey, TenantKey } from "#domain/ids.ts"
import { QuotaEvent } from "#domain/quota.ts"
import { tenantScope } from "#domain/scope.ts"
import { usage } from "#projections/usage.ts"
import { project, recorded } from "../support/project.ts"

const { QuotaExceeded, UnitsPostponed, UnitsRefused, UnitsReserved } = QuotaEvent.cases
const scope = tenantScope("saaaabbbbccccddddeee" as SpaceKey, "taaaabbbbccccddddeee" as TenantKey)
const window = (day: string, ...events: ReadonlyArray<QuotaEvent>) => recorded(scope, `quota-events-${day}`, events)

describe("the usage view", () => {
  it("counts what a window granted, refused and postponed, and when it was exceeded", () => {
    const day = window(
      "20261120",
      UnitsReserved.make({ consumers: ["a", "b"], total: 2 }),
      UnitsReserved.make({ consumers: ["c"], total: 3 }),
      UnitsRefused.make({ consumers: ["d", "e"], limit: 3 }),
      QuotaExceeded.make({ limit: 3, mode: "block" }),
      UnitsPostponed.make({ consumers: ["f"], until: 9 })
    )
    assert.deepStrictEqual(project(usage, day), {
      [`${scope.key}/events-20261120`]: {
        dimension: "events",
        window: "20261120",
        reserved: 3,
        refused: 2,
        postponed: 1,
        exceeded: { limit: 3, mode: "block", at: 1_003 },
        changedAt: 1_004
      }
    })
  })
  it("keeps the windows apart", () => {
    const days = [
      ...window("20261120", UnitsReserved.make({ consumers: ["a"], total: 1 })),
      ...window("20261121", UnitsReserved.make({ consumers: ["b"], total: 1 }))
    ]
    assert.deepStrictEqual(
      Object.values(project(usage, days)).map(({ window, reserved }) => `${window} ${reserved}`),
      ["20261120 1", "20261121 1"]
    )
  })
})
