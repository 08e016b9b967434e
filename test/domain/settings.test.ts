import * as Schema from "effect/Schema"
import { assert, describe, it } from "vitest"
import { fold } from "#domain/decider.ts"
import { nearestSettingKeys, type SettingKey, settingDefinition, settingKeys } from "#domain/setting-catalogue.ts"
import {
  explain,
  noSettings,
  resolve,
  SettingLevelNotAllowed,
  type SettingsChain,
  SettingsCommand,
  SettingsEvent,
  settings
} from "#domain/settings.ts"
import { given } from "../support/given.ts"
import { property } from "../support/property.ts"
import { replays } from "../support/replays.ts"

const { ClearSetting, SetSetting } = SettingsCommand.cases
const { SettingChanged, SettingCleared } = SettingsEvent.cases
const who = { by: "key:aaaabbbbcccc", at: 1_000 }
const onTenant = { level: "tenant", key: "runs.attemptsMax", ...who } as const
const onFlow = { level: "flow", target: "sync", key: "runs.attemptsMax", ...who } as const
const state = (...events: ReadonlyArray<SettingsEvent>) => fold(settings, noSettings, events)

describe("settings", () => {
  it("records who set what and when", () =>
    given(settings)
      .when(SetSetting.make({ ...onTenant, value: 3 }))
      .decides(SettingChanged.make({ ...onTenant, value: 3 })))
  it("changes nothing when the value is there already", () =>
    given(settings, SettingChanged.make({ ...onTenant, value: 3 }))
      .when(SetSetting.make({ ...onTenant, by: "key:other", at: 2_000, value: 3 }))
      .decides())
  it("keeps the levels of one scope apart", () =>
    given(settings, SettingChanged.make({ ...onTenant, value: 3 }))
      .when(SetSetting.make({ ...onFlow, value: 3 }))
      .decides(SettingChanged.make({ ...onFlow, value: 3 })))
  it("clears what was set, once", () => {
    const set = SettingChanged.make({ ...onFlow, value: 3 })
    given(settings, set).when(ClearSetting.make(onFlow)).decides(SettingCleared.make(onFlow))
    given(settings, set, SettingCleared.make(onFlow)).when(ClearSetting.make(onFlow)).decides()
    given(settings).when(ClearSetting.make(onFlow)).decides()
  })
  it("rejects a value outside of the schema and says why", () => {
    for (const value of [0, 101, 1.5, "3", null, true, [3]])
      given(settings)
        .when(SetSetting.make({ ...onTenant, value }))
        .rejects("SettingValueInvalid")
  })
  it("rejects a key that does not exist, with the nearest ones", () => {
    given(settings)
      .when(SetSetting.make({ ...onTenant, key: "run.attemptMax", value: 3 }))
      .rejects("SettingUnknown")
    assert.strictEqual(nearestSettingKeys("run.attemptMax")[0], "runs.attemptsMax")
    assert.deepStrictEqual(nearestSettingKeys("zzz"), [])
    for (const key of ["constructor", "__proto__", "toString"])
      given(settings)
        .when(SetSetting.make({ ...onTenant, key, value: 3 }))
        .rejects("SettingUnknown")
  })
  it("rejects a level that the key does not have", () =>
    given(settings)
      .when(SetSetting.make({ ...onFlow, key: "runs.retentionDays", value: 30 }))
      .rejects(new SettingLevelNotAllowed({ key: "runs.retentionDays", level: "flow", allowed: ["platform", "space", "tenant"] })))
  it("rejects a flow level without a flow, and a tenant level with one", () => {
    given(settings)
      .when(SetSetting.make({ level: "flow", key: "runs.attemptsMax", ...who, value: 3 }))
      .rejects("SettingValueInvalid")
    given(settings)
      .when(SetSetting.make({ ...onTenant, target: "sync", value: 3 }))
      .rejects("SettingValueInvalid")
  })
  it("has defaults that fit their own schemas", () => {
    for (const key of settingKeys) assert.isTrue(Schema.is(settingDefinition(key).schema)(settingDefinition(key).default), key)
  })
})

describe("replaying settings", () => replays(settings, SettingsEvent))

describe("resolving a setting", () => {
  const key = "runs.attemptsMax"
  const at = (level: "platform" | "space" | "tenant", value: number) => SettingChanged.make({ level, key, ...who, value })
  const forFlow = (value: number, target = "sync") => SettingChanged.make({ ...onFlow, target, value })
  const forConnector = (value: number) => SettingChanged.make({ ...onFlow, level: "integration", target: "shop", value })
  const chain = (changes: Partial<SettingsChain>): SettingsChain => ({ platform: noSettings, space: noSettings, ...changes })
  const place = { connectorId: "shop", flowId: "sync" }

  it("falls back to the default", () => assert.strictEqual(resolve(key, chain({ tenant: noSettings, ...place })), 6))
  it("lets the more specific level win, and the tenant's own before the space's", () => {
    const platform = state(at("platform", 1))
    const space = state(at("space", 2), forConnector(4), forFlow(6))
    const tenant = state(at("tenant", 3), forConnector(5), forFlow(7))
    assert.strictEqual(resolve(key, chain({ platform })), 1)
    assert.strictEqual(resolve(key, chain({ platform, space })), 2)
    assert.strictEqual(resolve(key, chain({ platform, space, tenant })), 3)
    assert.strictEqual(resolve(key, chain({ platform, space, connectorId: "shop" })), 4)
    assert.strictEqual(resolve(key, chain({ platform, space, tenant, connectorId: "shop" })), 5)
    assert.strictEqual(resolve(key, chain({ platform, space, ...place })), 6)
    assert.strictEqual(resolve(key, chain({ platform, space, tenant, ...place })), 7)
  })
  it("knows no flow by the name of an object's own parts", () =>
    assert.strictEqual(resolve(key, chain({ tenant: noSettings, flowId: "constructor", connectorId: "constructor" })), 6))
  it("explains the winner, what it overrides, by whom and when", () => {
    const explained = explain(key, chain({ platform: state(at("platform", 1)), tenant: state(forFlow(7)), flowId: "sync" }))
    assert.deepStrictEqual(explained.winner, { level: "flow", scope: "tenant", target: "sync", value: 7, ...who })
    assert.deepStrictEqual(explained.overridden, [
      { level: "platform", scope: "platform", value: 1, ...who },
      { level: "default", scope: "catalogue", value: 6 }
    ])
  })

  const targets = [undefined, "sync", "shop", "constructor"] as const
  const Change = Schema.Struct({
    scope: Schema.Literals(["platform", "space", "tenant"]),
    level: Schema.Literals(["own", "integration", "flow"]),
    target: Schema.Literals(["sync", "shop", "constructor"]),
    key: Schema.Literals(settingKeys),
    value: Schema.Int,
    clear: Schema.Boolean
  })
  property("agrees with explain, whatever was set and cleared", Schema.Array(Change), (changes) => {
    const scoped = (scope: "platform" | "space" | "tenant") =>
      state(
        ...changes
          .filter((change) => change.scope === scope)
          .map(({ level, target, key, value, clear }): SettingsEvent => {
            const where = level === "own" ? { level: scope } : { level, target }
            return clear ? SettingCleared.make({ ...where, key, ...who }) : SettingChanged.make({ ...where, key, ...who, value })
          })
      )
    const states = { platform: scoped("platform"), space: scoped("space"), tenant: scoped("tenant") }
    for (const flowId of targets)
      for (const connectorId of targets)
        for (const key of settingKeys as ReadonlyArray<SettingKey>)
          assert.strictEqual(
            resolve(key, { ...states, flowId, connectorId }),
            explain(key, { ...states, flowId, connectorId }).value as never
          )
  })
})
