import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import { assert, describe, it } from "vitest"
import { Suspects } from "#services/suspects.ts"

const run = <A>(test: Effect.Effect<A, unknown, Suspects>) =>
  Effect.runPromise(Effect.provide(test, [Suspects.layer, TestClock.layer()]) as Effect.Effect<A, unknown>)

describe("suspects", () => {
  it("go on one after the other, the one with the fewest deaths first, each when the one before is done or survived", () =>
    run(
      Effect.gen(function* () {
        const { alone } = yield* Suspects
        const begun: Array<string> = []
        const work = (name: string, millis: number) =>
          Effect.andThen(
            Effect.sync(() => begun.push(name)),
            Effect.sleep(millis)
          )
        const fibers = yield* Effect.forEach(
          [
            ["thrice", 3, 10],
            ["slow", 1, 10_000],
            ["twice", 2, 10]
          ] as const,
          ([name, deaths, millis]) => Effect.forkChild(alone(deaths, work(name, millis)), { startImmediately: true })
        )
        assert.deepStrictEqual(begun, [])
        yield* TestClock.adjust(20)
        assert.deepStrictEqual(begun, ["slow"])
        yield* TestClock.adjust(249)
        assert.deepStrictEqual(begun, ["slow"])
        yield* TestClock.adjust(1)
        assert.deepStrictEqual(begun, ["slow", "twice"])
        yield* TestClock.adjust(10)
        assert.deepStrictEqual(begun, ["slow", "twice", "thrice"])
        yield* TestClock.adjust(10_000)
        yield* Fiber.joinAll(fibers)
      })
    ))
  it("give the turn on when one fails", () =>
    run(
      Effect.gen(function* () {
        const { alone } = yield* Suspects
        const failing = yield* Effect.forkChild(Effect.result(alone(1, Effect.fail("deadly"))), { startImmediately: true })
        const well = yield* Effect.forkChild(alone(1, Effect.succeed("well")), { startImmediately: true })
        yield* TestClock.adjust(1_000)
        assert.strictEqual(yield* Fiber.join(well), "well")
        yield* Fiber.join(failing)
      })
    ))
})
