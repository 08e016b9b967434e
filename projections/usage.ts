/** Usage: what each quota window of a tenant granted, refused and postponed. */
import * as Schema from "effect/Schema"
import { CountedDimension } from "#domain/plan.ts"
import { QuotaEvent } from "#domain/quota.ts"
import { kindAndIdOf, type StreamName } from "#domain/scope.ts"
import { QuotaMode } from "#domain/setting-catalogue.ts"
import type { Projection } from "./projection.ts"

export type UsageView = typeof UsageView.Type
export const UsageView = Schema.Struct({
  dimension: CountedDimension,
  /** `20261120` for a day, `202611201437` for a minute. */
  window: Schema.String,
  /** Units granted: exact. */
  reserved: Schema.Natural,
  /** Times that a unit was refused or put off; one that asks twice counts twice. */
  refused: Schema.Natural,
  postponed: Schema.Natural,
  /** The limit that was exceeded and what that meant; null: within the limit so far. */
  exceeded: Schema.NullOr(Schema.Struct({ limit: Schema.Natural, mode: QuotaMode, at: Schema.Int })),
  /** Epoch milliseconds of the last change. */
  changedAt: Schema.Int
})

const emptyUsage = (stream: StreamName, at: number): UsageView => {
  const [dimension, window] = kindAndIdOf(stream).id.split("-") as [CountedDimension, string]
  return { dimension, window, reserved: 0, refused: 0, postponed: 0, exceeded: null, changedAt: at }
}

export const usage: Projection<QuotaEvent, UsageView> = {
  name: "usage",
  version: 1,
  events: ["UnitsReserved", "UnitsRefused", "UnitsPostponed", "QuotaExceeded"],
  fields: { dimension: "text", window: "text", reserved: "number" },
  sorts: [["window"], ["dimension", "window"]],
  key: ({ stream }) => kindAndIdOf(stream).id,
  evolve: (view, { event, at, stream }) => {
    const before = { ...(view ?? emptyUsage(stream, at)), changedAt: at }
    return QuotaEvent.match(event, {
      UnitsReserved: ({ total }): UsageView => ({ ...before, reserved: total }),
      UnitsRefused: ({ consumers }) => ({ ...before, refused: before.refused + consumers.length }),
      UnitsPostponed: ({ consumers }) => ({ ...before, postponed: before.postponed + consumers.length }),
      QuotaExceeded: ({ limit, mode }) => ({ ...before, exceeded: { limit, mode, at } })
    })
  }
}
