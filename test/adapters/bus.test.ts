/** The buses: the contract on each, and what is particular to the one within the process. */
import { NatsContainer } from "@testcontainers/nats"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { layerWith } from "#adapters/memory/bus.ts"
import { layerOf } from "#adapters/memory/ownership.ts"
import { Bus } from "#services/ports/bus.ts"
import { containerRow, serverRow } from "../support/containers.ts"
import { notVerified } from "../support/count-reporter.ts"
import { natsBus } from "../support/nats-layers.ts"
import { installedVersion, type NatsServer, startNatsServer } from "../support/nats-server.ts"
import { announce, bucketsOfAll, busContract, keys, leaseMillis, realTime, startWorker } from "./bus.contract.ts"
import { acme, other, tenant } from "./installation.ts"

busContract("in process", () => layerWith({ leaseMillis }))

const onNats = (name: string, url: () => string) =>
  busContract(name, () => natsBus(url(), { leaseMillis: realTime.leaseMillis }, layerOf(bucketsOfAll)), realTime)
describe.skipIf(installedVersion === undefined)(installedVersion === undefined ? `nats-server: ${notVerified}` : "on this machine", () => {
  let server: NatsServer
  beforeAll(async () => {
    server = await startNatsServer()
  })
  afterAll(() => server.remove())
  onNats(`nats-server ${installedVersion}`, () => server.url)
})
serverRow("NATS", "TEST_NATS_URL", (url) => onNats("NATS", url))
const startContainer = async () => {
  const started = await new NatsContainer("nats:2.11-alpine").withJetStream().start()
  const { servers, user, pass } = started.getConnectionOptions()
  return { url: `nats://${user}:${pass}@${String(servers).replace(/^nats:\/\//u, "")}`, stop: () => started.stop() }
}
await containerRow("NATS", startContainer, (url) => onNats("NATS", url))

describe("the bus within the process", () => {
  const run = <A, E>(effect: Effect.Effect<A, E, Bus>) => Effect.runPromise(effect.pipe(Effect.provide(layerWith({ pendingMax: 2 }))))

  it("gives first what was announced first", () =>
    run(
      Effect.gen(function* () {
        const bus = yield* Bus
        yield* announce(other, acme)
        assert.deepStrictEqual(keys(yield* Stream.runCollect(Stream.take(bus.work, 2))), [other.key, acme.key])
      })
    ))

  it("keeps no more scopes than its bound, and takes others when some are done", () =>
    run(
      Effect.gen(function* () {
        const bus = yield* Bus
        yield* announce(...["a", "b", "c"].map(tenant))
        assert.strictEqual(yield* bus.pending, 2)
        assert.strictEqual(bus.figures().dropped, 1)
        const [ticket] = yield* Stream.runCollect(Stream.take(bus.work, 1))
        yield* ticket!.done
        yield* bus.announce(tenant("c"))
        assert.strictEqual(yield* bus.pending, 2)
      })
    ))

  /** On a wall clock that is set while time passes as before. */
  const withWallClock = <A, E>(test: (jump: (millis: number) => void) => Effect.Effect<A, E, Bus | Scope.Scope>) =>
    Effect.gen(function* () {
      const clock = yield* Clock.Clock
      let ahead = 0
      const set: Clock.Clock = {
        ...clock,
        currentTimeMillisUnsafe: () => clock.currentTimeMillisUnsafe() + ahead,
        currentTimeMillis: Effect.map(clock.currentTimeMillis, (now) => now + ahead)
      }
      const jump = (millis: number) => {
        ahead += millis
      }
      yield* Effect.scoped(test(jump)).pipe(Effect.provide(layerWith({ leaseMillis })), Effect.provideService(Clock.Clock, set))
    }).pipe(Effect.provide(TestClock.layer()), Effect.runPromise)
  const hour = 3_600_000

  it("does not give a held ticket twice when the wall clock is set forward", () =>
    withWallClock((jump) =>
      Effect.gen(function* () {
        yield* announce(acme)
        const { until } = yield* startWorker
        yield* until(1)
        jump(hour)
        yield* announce(other)
        assert.deepStrictEqual(keys(yield* until(2)), [acme.key, other.key])
        yield* announce(tenant("c"))
        assert.deepStrictEqual(keys(yield* until(3)), [acme.key, other.key, tenant("c").key])
      })
    ))

  for (const [how, millis] of [
    ["back", -hour],
    ["forward", hour]
  ] as const)
    it(`gives a ticket again after its lease, and a delayed one after its delay, when the wall clock is set ${how}`, () =>
      withWallClock((jump) =>
        Effect.gen(function* () {
          yield* announce(acme, other)
          const { until } = yield* startWorker
          const [, delayed] = yield* until(2)
          yield* delayed!.later(leaseMillis / 2)
          jump(millis)
          yield* TestClock.adjust(leaseMillis / 2)
          assert.strictEqual((yield* until(3))[2]!.scope.key, other.key)
          yield* TestClock.adjust(leaseMillis / 2)
          const again = (yield* until(4))[3]!
          assert.deepStrictEqual([again.scope.key, again.attempt], [acme.key, 2])
        })
      ))
})
