/** `tributary settings`: what holds, who says so, and saying otherwise on a level of the cascade. */

import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import { optionalTenant, orUndefined, serverCommand, tenantPath, text } from "./command.ts"
import { type CommandFailed, failed } from "./failure.ts"
import { plain, show, styled, table, time } from "./output.ts"

interface Source {
  readonly level: string
  readonly scope: string
  readonly target?: string
  readonly value: unknown
  readonly by?: string
  readonly at?: number
}
interface Setting {
  readonly key: string
  readonly description: string
  readonly value: unknown
  readonly winner: Source
  readonly overridden: ReadonlyArray<Source>
}

const place = {
  tenant: optionalTenant,
  platform: Flag.Boolean("platform").pipe(Flag.withDescription("Of the whole installation, instead of the space"), Flag.withDefault(false)),
  connector: Flag.String("connector").pipe(Flag.withDescription("For the integration with this connector"), Flag.optional),
  flow: Flag.String("flow").pipe(Flag.withDescription("For this flow"), Flag.optional)
}
interface Place {
  readonly tenant: Option.Option<string>
  readonly platform: boolean
  readonly connector: Option.Option<string>
  readonly flow: Option.Option<string>
}

const pathOf = (input: Place, rest: string): Effect.Effect<string, CommandFailed> => {
  const tenant = orUndefined(input.tenant)
  if (input.platform && tenant !== undefined)
    return Effect.fail(failed("Two places", "--platform and --tenant exclude each other. Nothing was done. Leave one out."))
  if (input.platform) return Effect.succeed(`/api/v1/platform/settings${rest}`)
  return Effect.succeed(tenant === undefined ? `/api/v1/settings${rest}` : tenantPath(tenant, `/settings${rest}`))
}
const targetOf = (input: Place) => ({ connector: orUndefined(input.connector), flow: orUndefined(input.flow) })

const sourceRow = (mark: string, source: Source): ReadonlyArray<string> => [
  mark,
  `${source.level}${source.target === undefined ? "" : ` ${source.target}`}`,
  plain(JSON.stringify(source.value)),
  source.by ?? "",
  source.at === undefined ? "" : time(source.at)
]
const settingText = (setting: Setting): string =>
  [
    `${styled("bold", setting.key)} = ${plain(JSON.stringify(setting.value))}`,
    setting.description,
    "",
    table(
      ["", "LEVEL", "VALUE", "BY", "SINCE"],
      [sourceRow("→", setting.winner), ...setting.overridden.map((source) => sourceRow("", source))]
    )
  ].join("\n")

const setting = text("setting", "Its key, such as runs.attemptsMax")

const list = serverCommand("list", "Every setting as it holds here.", place, (client, input) =>
  Effect.gen(function* () {
    const path = yield* pathOf(input, "")
    const listed = yield* client.ask<{ readonly items: ReadonlyArray<Setting> }>(path, { query: targetOf(input) })
    yield* show(input.json, listed, ({ items }) =>
      table(
        ["SETTING", "VALUE", "SAID BY", "MEANING"],
        items.map(({ key, value, winner, description }) => [key, plain(JSON.stringify(value)), winner.level, description])
      )
    )
  })
)

const explain = serverCommand(
  "explain",
  "The level that wins, and those that it overrides.",
  {
    setting,
    ...place,
    at: Flag.Date("at").pipe(Flag.withDescription("As it stood then, such as 2026-11-20T08:00:00Z"), Flag.optional)
  },
  (client, input) =>
    Effect.gen(function* () {
      const path = yield* pathOf(input, `/${encodeURIComponent(input.setting)}/explain`)
      const explained = yield* client.ask<Setting>(path, { query: { ...targetOf(input), at: orUndefined(input.at)?.getTime() } })
      yield* show(input.json, explained, settingText)
    })
)

/** JSON where it is JSON, else the text itself: 12, true, block. */
export const valueOf = (given: string): unknown => {
  try {
    return JSON.parse(given)
  } catch {
    return given
  }
}

const set = serverCommand(
  "set",
  "Sets it for the space, or where the flags say.",
  { setting, value: text("value", "A number, true, false or text"), ...place },
  (client, input) =>
    Effect.gen(function* () {
      const path = yield* pathOf(input, `/${encodeURIComponent(input.setting)}`)
      const body = { value: valueOf(input.value) }
      yield* show(input.json, yield* client.ask<Setting>(path, { method: "PUT", query: targetOf(input), body }), settingText)
    })
)

const clear = serverCommand("clear", "Takes it back: the less specific value holds again.", { setting, ...place }, (client, input) =>
  Effect.gen(function* () {
    const path = yield* pathOf(input, `/${encodeURIComponent(input.setting)}`)
    yield* show(input.json, yield* client.ask<Setting>(path, { method: "DELETE", query: targetOf(input) }), settingText)
  })
)

export const settings = Command.make("settings").pipe(
  Command.withDescription("Settings: platform, space, tenant, integration and flow; the more specific wins."),
  Command.withSubcommands([list, explain, set, clear])
)
