import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import * as TestClock from "effect/testing/TestClock"
import { assert, describe, it } from "vitest"
import type { SpaceKey, TenantKey } from "#domain/ids.ts"
import { type StreamName, streamName, type TenantScope, tenantScope } from "#domain/scope.ts"
import { WorkTimers } from "#services/work-timers.ts"

const tenantOf = (letter: string) => tenantScope(`s${"a".repeat(19)}` as SpaceKey, `t${letter.repeat(19)}` as TenantKey)
const [ana, ben] = [tenantOf("a"), tenantOf("b")]
const run = (scope: TenantScope, id: string) => ({ scope, stream: streamName(scope, `run-${id}`) })

describe("the timers of due work", () => {
  it("fire in time, and leave room for other tenants", () =>
    Effect.runPromise(
      Effect.gen(function* () {
        const clock = yield* Clock.Clock
        const due: Array<StreamName> = []
        const timers = new WorkTimers<ReturnType<typeof run>>({
          max: 4,
          now: () => clock.currentTimeMillisUnsafe(),
          fork: yield* FiberSet.makeRuntime<never, void, never>(),
          due: ({ stream }) => due.push(stream)
        })
        timers.add(2_000, run(ana, "1"))
        timers.add(1_000, run(ana, "2"))
        timers.add(1_000, run(ana, "3"))
        timers.add(3_000, run(ben, "1"))
        assert.strictEqual(timers.size, 3, "whoever is alone has half, and its third is left to the index")
        yield* TestClock.setTime(1_000)
        assert.deepStrictEqual(due, [run(ana, "2").stream])
        timers.add(1_500, run(ana, "3"))
        yield* TestClock.setTime(3_000)
        assert.deepStrictEqual(due.slice(1), [run(ana, "3").stream, run(ana, "1").stream, run(ben, "1").stream])
        assert.strictEqual(timers.size, 0)
      }).pipe(Effect.scoped, Effect.provide(TestClock.layer()))
    ))
})
