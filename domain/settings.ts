/** The configuration cascade: what each scope set, which value wins, and why. */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Aggregate } from "./decider.ts"
import { eventFamily } from "./event-family.ts"
import { slugPattern } from "./ids.ts"
import {
  isSettingKey,
  nearestSettingKeys,
  type SettingKey,
  SettingLevel,
  SettingValue,
  type SettingValueOf,
  settingDefinition
} from "./setting-catalogue.ts"

/** The connector of an integration, or the flow, that a setting is for; absent on the platform, space and tenant levels. */
const Target = Schema.String.check(Schema.isPattern(slugPattern))
const fields = {
  level: SettingLevel,
  target: Schema.optionalKey(Target),
  key: Schema.String,
  /** The actor, as `key:<id>` or `system:<part>`. */
  by: Schema.String,
  /** Epoch milliseconds. */
  at: Schema.Int
}

export type SettingsCommand = typeof SettingsCommand.Type
export const SettingsCommand = Schema.TaggedUnion({
  SetSetting: { ...fields, value: Schema.Json },
  ClearSetting: fields
})
export type SettingsEvent = typeof SettingsEvent.Type
export const SettingsEvent = Schema.TaggedUnion({
  SettingChanged: { ...fields, value: SettingValue },
  SettingCleared: fields
})
const { SettingChanged, SettingCleared } = SettingsEvent.cases

/** One value that somebody set. */
export interface SettingEntry {
  readonly value: SettingValue
  readonly by: string
  readonly at: number
}
type Entries = Readonly<Record<string, SettingEntry>>

/** What one scope set: for itself, per integration (by connector) and per flow. */
export interface SettingsState {
  readonly own: Entries
  readonly integrations: Readonly<Record<string, Entries>>
  readonly flows: Readonly<Record<string, Entries>>
}
export const noSettings: SettingsState = { own: {}, integrations: {}, flows: {} }

export class SettingUnknown extends Schema.TaggedError<SettingUnknown>()("SettingUnknown", {
  key: Schema.String,
  near: Schema.Array(Schema.String)
}) {
  override get message() {
    const hint = this.near.length === 0 ? "List the settings to see every key." : `Did you mean ${this.near.join(" or ")}?`
    return `There is no setting ${this.key}. Nothing was changed. ${hint}`
  }
}
export class SettingValueInvalid extends Schema.TaggedError<SettingValueInvalid>()("SettingValueInvalid", {
  key: Schema.String,
  reason: Schema.String
}) {
  override get message() {
    return `The value for ${this.key} was refused: ${this.reason}. Nothing was changed. Send a value that fits.`
  }
}
export class SettingLevelNotAllowed extends Schema.TaggedError<SettingLevelNotAllowed>()("SettingLevelNotAllowed", {
  key: Schema.String,
  level: SettingLevel,
  allowed: Schema.Array(SettingLevel)
}) {
  override get message() {
    return `${this.key} cannot be set on the ${this.level} level. Nothing was changed. It can be set on: ${this.allowed.join(", ")}.`
  }
}
export type SettingRejected = SettingUnknown | SettingValueInvalid | SettingLevelNotAllowed

const entriesOf = (state: SettingsState, level: SettingLevel, target: string | undefined): Entries => {
  if (level !== "integration" && level !== "flow") return state.own
  return held(level === "flow" ? state.flows : state.integrations, target) ?? {}
}

/** `constructor` is a legal flow name: only what was set counts. */
const held = <A>(record: Readonly<Record<string, A>>, name: string | undefined): A | undefined =>
  name !== undefined && Object.hasOwn(record, name) ? record[name] : undefined

const checkedKey = (key: string): Result.Result<SettingKey, SettingUnknown> =>
  isSettingKey(key) ? Result.succeed(key) : Result.fail(new SettingUnknown({ key, near: nearestSettingKeys(key) }))

const checkedLevel = (key: SettingKey, level: SettingLevel, target: string | undefined) => {
  const allowed = settingDefinition(key).levels
  if (!allowed.includes(level)) return Result.fail(new SettingLevelNotAllowed({ key, level, allowed }))
  const needsTarget = level === "integration" || level === "flow"
  return needsTarget === (target !== undefined)
    ? Result.succeed(key)
    : Result.fail(
        new SettingValueInvalid({
          key,
          reason: needsTarget ? `the ${level} level needs the name of its ${level}` : `the ${level} level takes no target`
        })
      )
}

const checkedValue = (key: SettingKey, value: unknown): Result.Result<SettingValue, SettingValueInvalid> =>
  Result.mapError(
    Schema.decodeUnknownResult(settingDefinition(key).schema)(value),
    (error) => new SettingValueInvalid({ key, reason: error.message.replace(/\s*\n\s*/gu, " ") })
  )

const write = (state: SettingsState, event: SettingsEvent, change: (entries: Entries) => Entries): SettingsState => {
  const entries = change(entriesOf(state, event.level, event.target))
  if (event.level === "integration") return { ...state, integrations: { ...state.integrations, [event.target!]: entries } }
  if (event.level === "flow") return { ...state, flows: { ...state.flows, [event.target!]: entries } }
  return { ...state, own: entries }
}

/** The settings of one scope: stream `settings-self` of the platform, a space or a tenant. */
export const settings: Aggregate<SettingsState, SettingsCommand, SettingsEvent, SettingRejected> = {
  kind: "settings",
  version: 1,
  events: eventFamily(SettingsEvent),
  initialState: noSettings,
  decide: (command, state) =>
    SettingsCommand.match(command, {
      SetSetting: ({ _tag, value, ...change }) =>
        Result.gen(function* () {
          const key = yield* checkedKey(change.key)
          yield* checkedLevel(key, change.level, change.target)
          const checked = yield* checkedValue(key, value)
          const before = entriesOf(state, change.level, change.target)[key]
          return before?.value === checked ? [] : [SettingChanged.make({ ...change, value: checked })]
        }),
      ClearSetting: ({ _tag, ...change }) =>
        Result.map(checkedKey(change.key), (key) =>
          entriesOf(state, change.level, change.target)[key] === undefined ? [] : [SettingCleared.make(change)]
        )
    }),
  evolve: (state, event) =>
    SettingsEvent.match(event, {
      SettingChanged: ({ key, value, by, at }) => write(state, event, (entries) => ({ ...entries, [key]: { value, by, at } })),
      SettingCleared: ({ key }) =>
        write(state, event, (entries) => Object.fromEntries(Object.entries(entries).filter(([name]) => name !== key)))
    })
}

/** Where a question is asked: the scopes above it, and the integration and flow when there are some. */
export interface SettingsChain {
  readonly platform: SettingsState
  readonly space: SettingsState
  readonly tenant?: SettingsState | undefined
  readonly connectorId?: string | undefined
  readonly flowId?: string | undefined
}

/**
 * The value that holds: flow, integration, tenant, space, platform, else the catalogue's default. On the flow and integration
 * levels, what the tenant set for itself comes before what the space set for all. Hot: it allocates nothing.
 */
export const resolve = <Key extends SettingKey>(key: Key, chain: SettingsChain): SettingValueOf<Key> => {
  const { tenant, space, platform } = chain
  const entry =
    (tenant && held(tenant.flows, chain.flowId)?.[key]) ??
    held(space.flows, chain.flowId)?.[key] ??
    (tenant && held(tenant.integrations, chain.connectorId)?.[key]) ??
    held(space.integrations, chain.connectorId)?.[key] ??
    tenant?.own[key] ??
    space.own[key] ??
    platform.own[key]
  return (entry === undefined ? settingDefinition(key).default : entry.value) as SettingValueOf<Key>
}

/** One answer to "who says so?". `scope` tells whose setting it is, `level` how specific. */
export interface SettingSource {
  readonly level: SettingLevel | "default"
  readonly scope: "platform" | "space" | "tenant" | "catalogue"
  readonly target?: string
  readonly value: SettingValue
  readonly by?: string
  readonly at?: number
}
export interface SettingExplained {
  readonly key: SettingKey
  readonly description: string
  readonly value: SettingValue
  readonly winner: SettingSource
  /** What it overrides, the most specific first; the catalogue's default comes last. */
  readonly overridden: ReadonlyArray<SettingSource>
}

/** Which level wins, what it overrides, who set each and when. */
export const explain = (key: SettingKey, chain: SettingsChain): SettingExplained => {
  const { tenant = noSettings, space, platform, connectorId, flowId } = chain
  const source = (scope: "platform" | "space" | "tenant", level: SettingLevel, entries: Entries | undefined, target?: string) => {
    const entry = entries?.[key]
    return entry === undefined ? [] : [{ level, scope, ...(target === undefined ? {} : { target }), ...entry }]
  }
  const definition = settingDefinition(key)
  const [winner, ...overridden]: ReadonlyArray<SettingSource> = [
    ...source("tenant", "flow", held(tenant.flows, flowId), flowId),
    ...source("space", "flow", held(space.flows, flowId), flowId),
    ...source("tenant", "integration", held(tenant.integrations, connectorId), connectorId),
    ...source("space", "integration", held(space.integrations, connectorId), connectorId),
    ...source("tenant", "tenant", tenant.own),
    ...source("space", "space", space.own),
    ...source("platform", "platform", platform.own),
    { level: "default", scope: "catalogue", value: definition.default }
  ]
  return { key, description: definition.description, value: winner!.value, winner: winner!, overridden }
}
