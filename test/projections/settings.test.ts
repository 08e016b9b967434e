import { assert, describe, it } from "vitest"
import type { SpaceKey } from "#domain/ids.ts"
import { spaceScope } from "#domain/scope.ts"
import { SettingsEvent } from "#domain/settings.ts"
import { settings } from "#projections/settings.ts"
import { project, recorded } from "../support/project.ts"

const { SettingChanged, SettingCleared } = SettingsEvent.cases
const scope = spaceScope("saaaabbbbccccddddeee" as SpaceKey)
const who = { by: "key:a", at: 5 }
const own = { level: "space", key: "runs.attemptsMax", ...who } as const
const flow = { level: "flow", target: "sync", key: "runs.attemptsMax", ...who } as const
const viewed = (...events: ReadonlyArray<SettingsEvent>) => project(settings, recorded(scope, "settings-self", events))

describe("the settings view", () => {
  it("has a row per level, target and key", () =>
    assert.deepStrictEqual(viewed(SettingChanged.make({ ...own, value: 2 }), SettingChanged.make({ ...flow, value: 3 })), {
      [`${scope.key}/space::runs.attemptsMax`]: { ...own, target: null, value: 2 },
      [`${scope.key}/flow:sync:runs.attemptsMax`]: { ...flow, value: 3 }
    }))
  it("drops the row of what was cleared, and of nothing else", () =>
    assert.deepStrictEqual(
      Object.keys(viewed(SettingChanged.make({ ...own, value: 2 }), SettingChanged.make({ ...flow, value: 3 }), SettingCleared.make(own))),
      [`${scope.key}/flow:sync:runs.attemptsMax`]
    ))
})
