/** Given past events, when a command comes, then these events, or that rejection. */
import * as Result from "effect/Result"
import { assert } from "vitest"
import { type Decider, fold } from "#domain/decider.ts"

export const given = <State, Command, Event, Rejection>(
  decider: Pick<Decider<State, Command, Event, Rejection>, "initialState" | "decide" | "evolve">,
  ...past: ReadonlyArray<Event>
) => {
  const state = fold(decider, decider.initialState, past)
  return {
    state,
    when: (command: Command) => {
      const decided = decider.decide(command, state)
      return {
        /** Asserts the very events, in order; none means: already so. */
        decides: (...expected: ReadonlyArray<Event>) => {
          if (Result.isFailure(decided)) assert.fail(`It was rejected: ${String(decided.failure)}`)
          assert.deepStrictEqual(decided.success, expected)
        },
        /** Asserts the rejection by its tag or by value. */
        rejects: (expected: string | Rejection) => {
          if (Result.isSuccess(decided)) assert.fail(`It was accepted: ${JSON.stringify(decided.success)}`)
          if (typeof expected === "string") assert.strictEqual((decided.failure as { _tag: string })._tag, expected)
          else assert.deepStrictEqual(decided.failure, expected)
        },
        events: Result.getOrElse(decided, () => [] as ReadonlyArray<Event>),
        state: Result.isSuccess(decided) ? fold(decider, state, decided.success) : state
      }
    }
  }
}
