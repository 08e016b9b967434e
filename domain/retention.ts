/** Retention: which finished streams were removed on a day, with the last hash of each. */
import * as DateTime from "effect/DateTime"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Aggregate } from "./decider.ts"
import { eventFamily } from "./event-family.ts"

/** Streams of one recorded batch at most. */
export const retiredPerBatch = 200

export type RetiredStream = typeof RetiredStream.Type
export const RetiredStream = Schema.Struct({
  /** `run-<id>` or `delivery-<id>`, within the same scope. */
  stream: Schema.String,
  /** The stream's last hash, hex; absent when a crash came between removing and recording: the journal itself still has it. */
  hash: Schema.optionalKey(Schema.String)
})
const batch = { streams: Schema.Array(RetiredStream), olderThan: Schema.Int }

export type RetentionCommand = typeof RetentionCommand.Type
export const RetentionCommand = Schema.TaggedUnion({ RecordRetired: batch })
export type RetentionEvent = typeof RetentionEvent.Type
export const RetentionEvent = Schema.TaggedUnion({
  /** Their events and content are gone. `olderThan`: the policy's limit then, epoch milliseconds. */
  StreamsRetired: batch
})

/** Streams retired on this day so far. */
export interface Retention {
  readonly retired: number
}

/** Stream `retention-<yyyymmdd>` of the tenant, by the UTC day of the sweep. */
export const retention: Aggregate<Retention, RetentionCommand, RetentionEvent, never> = {
  kind: "retention",
  version: 1,
  events: eventFamily(RetentionEvent),
  initialState: { retired: 0 },
  decide: ({ streams, olderThan }) =>
    Result.succeed(streams.length === 0 ? [] : [RetentionEvent.cases.StreamsRetired.make({ streams, olderThan })]),
  evolve: ({ retired }, { streams }) => ({ retired: retired + streams.length })
}

export const retentionStreamId = (at: number): string => DateTime.formatIsoDateUtc(DateTime.makeUnsafe(at)).replaceAll("-", "")

/** Ids of the retired streams of one kind: the rows that a view of that kind drops. */
export const retiredIds = (event: RetentionEvent, kind: string): ReadonlyArray<string> =>
  event.streams.flatMap(({ stream }) => (stream.startsWith(`${kind}-`) ? [stream.slice(kind.length + 1)] : []))
