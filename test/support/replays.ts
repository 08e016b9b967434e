/** Replay equals state: from the stored events, and from a snapshot at any place with the tail after it (R23). */
import * as Schema from "effect/Schema"
import { assert } from "vitest"
import { type Aggregate, fold } from "#domain/decider.ts"
import { property } from "./property.ts"

export const replays = <State, Command, Event extends { readonly _tag: string }, Rejection>(
  aggregate: Aggregate<State, Command, Event, Rejection>,
  events: Schema.Codec<Event, unknown>
) =>
  property("has the same state from stored events, with a snapshot anywhere between", Schema.Array(events), (past) => {
    const { versionOf, encode, decode } = aggregate.events
    const stored = past.map((event) => decode(event._tag, versionOf(event._tag), JSON.parse(encode(event))))
    const state = fold(aggregate, aggregate.initialState, stored)
    for (let length = 0; length <= stored.length; length++) {
      const before = fold(aggregate, aggregate.initialState, stored.slice(0, length))
      const snapshot = JSON.parse(JSON.stringify(before)) as State
      assert.deepStrictEqual(fold(aggregate, snapshot, stored.slice(length)), state)
    }
  })
