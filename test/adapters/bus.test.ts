/** The bus within the process: the contract, and its bound. */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { assert, describe, it } from "vitest"
import { layerWith } from "#adapters/memory/bus.ts"
import { Bus } from "#services/ports/bus.ts"
import { busContract, leaseMillis } from "./bus.contract.ts"
import { tenant } from "./installation.ts"

busContract("in process", () => layerWith({ leaseMillis }))

describe("the bus within the process", () => {
  it("keeps no more scopes than its bound, and takes others when some are done", () =>
    Effect.runPromise(
      Effect.gen(function* () {
        const bus = yield* Bus
        for (const letter of ["a", "b", "c"]) yield* bus.announce(tenant(letter))
        assert.strictEqual(yield* bus.pending, 2)
        const [ticket] = yield* Stream.runCollect(Stream.take(bus.work, 1))
        yield* ticket!.done
        yield* bus.announce(tenant("c"))
        assert.strictEqual(yield* bus.pending, 2)
      }).pipe(Effect.provide(layerWith({ pendingMax: 2 })))
    ))
})
