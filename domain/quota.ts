/** A quota window: checking and counting units in one decision, so that exactly the limit passes (R31). */
import * as DateTime from "effect/DateTime"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Aggregate } from "./decider.ts"
import { eventFamily } from "./event-family.ts"
import { type CountedDimension, quotaDimensions } from "./plan.ts"
import { QuotaMode } from "./setting-catalogue.ts"

/** Consumers that a window remembers: a repeat among the last so many, as after a crash, counts once. */
export const consumersRemembered = 4_096

/** Ids of what uses one unit each: deliveries, sessions, flows. */
const Consumers = Schema.Array(Schema.String)

export type QuotaCommand = typeof QuotaCommand.Type
export const QuotaCommand = Schema.TaggedUnion({
  ReserveUnits: {
    consumers: Consumers,
    /** Null: unlimited. As it holds now: it may change within a window. */
    limit: Schema.NullOr(Schema.Natural),
    mode: QuotaMode,
    /** Epoch milliseconds at which the next window begins; what is queued waits until then. */
    windowEndsAt: Schema.Int
  }
})
export type QuotaEvent = typeof QuotaEvent.Type
export const QuotaEvent = Schema.TaggedUnion({
  /** `total`: units reserved in this window so far, these included. */
  UnitsReserved: { consumers: Consumers, total: Schema.Natural },
  UnitsRefused: { consumers: Consumers, limit: Schema.Natural },
  UnitsPostponed: { consumers: Consumers, until: Schema.Int },
  /** Once per window: the first time that more was asked for than the limit allows. */
  QuotaExceeded: { limit: Schema.Natural, mode: QuotaMode }
})

/** Plain structs instead of `make`: this is decided for every event of every tenant. */
const reserved = (consumers: ReadonlyArray<string>, total: number): QuotaEvent => ({ _tag: "UnitsReserved", consumers, total })
const refused = (consumers: ReadonlyArray<string>, limit: number): QuotaEvent => ({ _tag: "UnitsRefused", consumers, limit })
const postponed = (consumers: ReadonlyArray<string>, until: number): QuotaEvent => ({ _tag: "UnitsPostponed", consumers, until })

export interface QuotaWindow {
  /** Units reserved in this window. */
  readonly total: number
  /** The last consumers that were granted a unit, the oldest first, at most `consumersRemembered`. */
  readonly recent: ReadonlyArray<string>
  readonly exceeded: boolean
}

/** The ring of a state as a set, handed on from state to state: a cache that any state rebuilds from its ring. */
const memberships = new WeakMap<ReadonlyArray<string>, Set<string>>()
const membershipOf = (recent: ReadonlyArray<string>): Set<string> => {
  const members = memberships.get(recent) ?? new Set(recent)
  memberships.set(recent, members)
  return members
}
const remember = (recent: ReadonlyArray<string>, consumers: ReadonlyArray<string>): ReadonlyArray<string> => {
  const members = membershipOf(recent)
  const all = [...recent, ...consumers]
  const surplus = Math.max(0, all.length - consumersRemembered)
  const next = surplus === 0 ? all : all.slice(surplus)
  for (const consumer of consumers) members.add(consumer)
  for (let index = 0; index < surplus; index++) members.delete(all[index]!)
  memberships.delete(recent)
  memberships.set(next, members)
  return next
}

const decideReservation = (
  { consumers, limit, mode, windowEndsAt }: QuotaCommand,
  { total, recent, exceeded }: QuotaWindow
): ReadonlyArray<QuotaEvent> => {
  const known = membershipOf(recent)
  const fresh = [...new Set(consumers)].filter((consumer) => !known.has(consumer))
  if (fresh.length === 0) return []
  const room = limit === null ? fresh.length : Math.max(0, limit - total)
  const passing = mode === "warn" || mode === "overage" ? fresh : fresh.slice(0, room)
  const rest = fresh.slice(passing.length)
  return [
    ...(passing.length === 0 ? [] : [reserved(passing, total + passing.length)]),
    ...(rest.length === 0 ? [] : [mode === "queue" ? postponed(rest, windowEndsAt) : refused(rest, limit!)]),
    ...(fresh.length > room && !exceeded ? [{ _tag: "QuotaExceeded", limit: limit!, mode } as const] : [])
  ]
}

/** One dimension's window of one tenant: stream `quota-<dimension>-<window>`, such as `quota-events-20261120`. */
export const quota: Aggregate<QuotaWindow, QuotaCommand, QuotaEvent, never> = {
  kind: "quota",
  version: 1,
  events: eventFamily(QuotaEvent),
  initialState: { total: 0, recent: [], exceeded: false },
  decide: (command, state) => Result.succeed(decideReservation(command, state)),
  evolve: (state, event) =>
    QuotaEvent.match(event, {
      UnitsReserved: ({ consumers, total }) => ({ ...state, total, recent: remember(state.recent, consumers) }),
      UnitsRefused: () => state,
      UnitsPostponed: () => state,
      QuotaExceeded: () => ({ ...state, exceeded: true })
    })
}

export type QuotaDecision =
  | { readonly _tag: "Granted" }
  | { readonly _tag: "Refused"; readonly limit: number }
  | { readonly _tag: "Postponed"; readonly until: number }
const granted: QuotaDecision = { _tag: "Granted" }

/**
 * What a reservation decided for each consumer, in their order. Who is neither refused nor postponed was granted, now or by
 * an earlier reservation that this one repeats.
 */
export const quotaDecisions = (consumers: ReadonlyArray<string>, events: ReadonlyArray<QuotaEvent>): ReadonlyArray<QuotaDecision> => {
  const others = new Map<string, QuotaDecision>()
  for (const event of events) {
    if (event._tag === "UnitsRefused") for (const id of event.consumers) others.set(id, { _tag: "Refused", limit: event.limit })
    if (event._tag === "UnitsPostponed") for (const id of event.consumers) others.set(id, { _tag: "Postponed", until: event.until })
  }
  return others.size === 0 ? consumers.map(() => granted) : consumers.map((consumer) => others.get(consumer) ?? granted)
}

export interface QuotaWindowBounds {
  /** `20261120` for a day, `202611201437` for a minute: the last part of the stream's name. */
  readonly id: string
  /** Epoch milliseconds, exclusive. */
  readonly endsAt: number
}
const windows = { day: { digits: 8, millis: 86_400_000 }, minute: { digits: 12, millis: 60_000 } } as const

/** The window that was asked for last, of each length: mostly the next one asked for. */
const latest = new Map<keyof typeof windows, QuotaWindowBounds>()

/** The window of a dimension that a time (epoch milliseconds) falls into: UTC, which has no daylight saving. */
export const quotaWindowAt = (dimension: CountedDimension, at: number): QuotaWindowBounds => {
  const length = quotaDimensions[dimension].window
  const { digits, millis } = windows[length]
  const known = latest.get(length)
  if (known !== undefined && at < known.endsAt && at >= known.endsAt - millis) return known
  const text = DateTime.formatIso(DateTime.makeUnsafe(at)).replace(/\D/gu, "")
  const window = { id: text.slice(0, digits), endsAt: (Math.floor(at / millis) + 1) * millis }
  latest.set(length, window)
  return window
}
export const quotaStreamId = (dimension: CountedDimension, window: string): string => `${dimension}-${window}`
