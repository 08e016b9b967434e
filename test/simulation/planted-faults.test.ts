/** The checker finds planted faults: each breaks one rule, and must be noticed within the seeds of every change. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { assert, describe, it } from "vitest"
import type { Position } from "#domain/ids.ts"
import { type Append, type Appended, Journal } from "#services/ports/journal.ts"
import { CallFailed, Outbound, type OutboundRequest } from "#services/ports/outbound.ts"
import { violationsOf } from "./checker.ts"
import { type ExecutionOptions, execute, type Sabotage } from "./execution.ts"
import { manyFaultsOf } from "./seeded.ts"

/** As many as F3 plays with every change. */
const seeds = 500

const inJournal =
  (change: (append: Journal["Service"]["append"]) => Journal["Service"]["append"]): Sabotage =>
  (ports) =>
    Layer.effect(
      Journal,
      // One by one, so that each append is seen.
      Effect.map(Journal, (journal) => Journal.of({ ...journal, append: change(journal.append), appendTogether: null }))
    ).pipe(Layer.provideMerge(ports))
/** Of what is appended together, the last is answered and not written. */
const torn: Sabotage = (ports) =>
  Layer.effect(
    Journal,
    Effect.map(Journal, (journal) => {
      const together = journal.appendTogether
      if (together === null) return journal
      return Journal.of({
        ...journal,
        appendTogether: ([first, ...others]) => {
          const last = others.pop()
          return Effect.map(together([first, ...others]), (done) => (last === undefined ? done : [...done, pretended(last)]))
        }
      })
    })
  ).pipe(Layer.provideMerge(ports))
const inOutbound =
  (change: (call: Outbound["Service"]["call"]) => Outbound["Service"]["call"]): Sabotage =>
  (ports) =>
    Layer.effect(
      Outbound,
      Effect.map(Outbound, (outbound) => Outbound.of({ ...outbound, call: change(outbound.call) }))
    ).pipe(Layer.provideMerge(ports))

const pretended = ({ expected }: Append): Appended => ({ revision: expected, position: "" as Position, repeated: false })
/** Appends of one type of event alone are answered and not written. */
const swallowed = (type: string): Sabotage =>
  inJournal((append) => (given) => (given.events.every((event) => event.type === type) ? Effect.succeed(pretended(given)) : append(given)))

let calls = 0
const planted: ReadonlyArray<readonly [rule: string, break_: Partial<ExecutionOptions>]> = [
  ["appends fence (R4)", { defects: { ignoresRevisions: true } }],
  ["open work is derived from events (R24)", { defects: { forgetsWork: true } }],
  ["what is acknowledged is flushed", { defects: { flushesAfter: 3 } }],
  ["what goes together is written together", { sabotage: torn }],
  ["recovery says so first (R14)", { sabotage: swallowed("RunResumed") }],
  ["units are reserved before they are used (R31)", { sabotage: swallowed("UnitsReserved") }],
  [
    "an unknown outcome is not a success (R2)",
    {
      sabotage: inJournal(
        (append) => (given) =>
          Effect.catchTag(append(given), "JournalUnavailable", (error) =>
            error.written === "unknown"
              ? Effect.succeed({ ...pretended(given), revision: given.expected + given.events.length })
              : Effect.fail(error)
          )
      )
    }
  ],
  [
    "an intent is durable before its call (R11)",
    {
      sabotage: inJournal(
        (append) => (given) =>
          append({ ...given, events: given.events.filter(({ type }) => type !== "StepStarted") as unknown as Append["events"] })
      )
    }
  ],
  [
    "nobody calls when its time is over (R11)",
    {
      sabotage: inOutbound(
        (call) =>
          ({ sendBy: _, ...request }) =>
            call(request as OutboundRequest)
      ),
      freezes: [12_000, 60_000]
    }
  ],
  [
    "a generation keeps its key (R12)",
    {
      sabotage: inOutbound((call) => (request) => {
        const key = request.headers["idempotency-key"]
        return call(key === undefined ? request : { ...request, headers: { ...request.headers, "idempotency-key": `${key}${++calls}` } })
      })
    }
  ],
  [
    "what must not be repeated is not sent again by itself (R13)",
    {
      sabotage: inOutbound(
        (call) => (request) =>
          Effect.flatMap(call(request), (response) => (response.status < 400 ? Effect.succeed(response) : call(request)))
      )
    }
  ],
  [
    "a call without an answer may have been heard (R13)",
    {
      sabotage: inOutbound(
        (call) => (request) =>
          Effect.catchTag(call(request), "CallFailed", ({ kind, reason }) => Effect.fail(new CallFailed({ kind, reason, sent: "no" })))
      )
    }
  ]
]

/** The first seed at which something is wrong, with what it is. */
const firstFinding = (broken: Partial<ExecutionOptions>): readonly [seed: number, violation: string] | undefined => {
  for (let seed = 1; seed <= seeds; seed++) {
    const { fixture, options } = manyFaultsOf(seed)
    const [violation] = violationsOf(execute(fixture, { ...options, ...broken }))
    if (violation !== undefined) return [seed, violation]
  }
  return undefined
}

describe("the checker finds it when it is no longer true that", () => {
  for (const [rule, broken] of planted)
    it(rule, () => {
      const found = firstFinding(broken)
      assert.isDefined(found, `not within ${seeds} seeds`)
      console.log(`${rule}: found with seed ${found![0]}: ${found![1]}`)
    })
})
