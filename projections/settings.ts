/** What was set where: one row per scope, level, target and key, as long as it is set. */
import * as Schema from "effect/Schema"
import { SettingLevel, SettingValue } from "#domain/setting-catalogue.ts"
import { SettingsEvent } from "#domain/settings.ts"
import type { Projection } from "./projection.ts"

export type SettingView = typeof SettingView.Type
export const SettingView = Schema.Struct({
  key: Schema.String,
  level: SettingLevel,
  /** The connector or flow that it is for; null on the other levels. */
  target: Schema.NullOr(Schema.String),
  value: SettingValue,
  by: Schema.String,
  /** Epoch milliseconds. */
  at: Schema.Int
})

export const settings: Projection<SettingsEvent, SettingView> = {
  name: "settings",
  version: 1,
  events: ["SettingChanged", "SettingCleared"],
  fields: { key: "text", level: "text", target: "text", at: "time" },
  sorts: [["key"], ["at"]],
  key: ({ event }) => `${event.level}:${event.target ?? ""}:${event.key}`,
  evolve: (_view, { event }) =>
    SettingsEvent.match(event, {
      SettingChanged: ({ _tag: _, target, ...setting }): SettingView | undefined => ({ ...setting, target: target ?? null }),
      SettingCleared: () => undefined
    })
}
