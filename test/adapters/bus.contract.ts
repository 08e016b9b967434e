/** What every `Bus` keeps: each announced scope comes to some worker, again until it is done. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { assert, describe, it } from "vitest"
import { bucketOf, type Scope as Owner } from "#domain/scope.ts"
import { Bus, type Ticket } from "#services/ports/bus.ts"
import { acme, other, tenant } from "./installation.ts"

/** How a bus's time passes. */
export interface BusTime {
  readonly leaseMillis: number
  /** After so much time without a ticket there is none on its way. */
  readonly settleMillis: number
  readonly elapse: (millis: number) => Effect.Effect<void>
  readonly clock: Layer.Layer<never>
}
/** Everybody that the contract announces. */
const everybody = ["a", "b", "c", "d", "e", "f"].map(tenant)
/** What a process has to own to serve them. */
export const bucketsOfAll: ReadonlySet<string> = new Set(everybody.map(({ key }) => bucketOf(key)))
export const leaseMillis = 10_000
export const virtualTime: BusTime = {
  leaseMillis,
  settleMillis: 1,
  elapse: TestClock.adjust,
  clock: TestClock.layer() as Layer.Layer<never>
}
export const realTime: BusTime = { leaseMillis: 400, settleMillis: 150, elapse: (millis) => Effect.sleep(millis), clock: Layer.empty }

export const announce = (...scopes: ReadonlyArray<Owner>) =>
  Effect.flatMap(Bus, (bus) => Effect.forEach(scopes, bus.announce, { discard: true }))
export const keys = (tickets: Iterable<Ticket>) => [...tickets].map(({ scope }) => scope.key)

/** A worker that takes what comes, for as long as the test. */
export const startWorker = Effect.gen(function* () {
  const bus = yield* Bus
  const tickets: Array<Ticket> = []
  const waiting = new Set<() => void>()
  const take = (ticket: Ticket) => {
    tickets.push(ticket)
    for (const look of waiting) look()
  }
  yield* Stream.runForEach(bus.work, (ticket) => Effect.sync(() => take(ticket))).pipe(Effect.forkScoped({ startImmediately: true }))
  /** Resolves once so many have come. */
  const until = (count: number) =>
    Effect.callback<ReadonlyArray<Ticket>>((resume) => {
      const look = () => {
        if (tickets.length < count) return
        waiting.delete(look)
        resume(Effect.succeed(tickets))
      }
      waiting.add(look)
      look()
    })
  return { tickets, until }
})

/** `layer` gives a bus with nothing pending, whose lease is `time.leaseMillis`. */
export const busContract = (name: string, layer: () => Layer.Layer<Bus, unknown>, time: BusTime = virtualTime) =>
  describe(`Bus: ${name}`, () => {
    const { elapse, leaseMillis, settleMillis } = time
    const run = <A, E>(effect: Effect.Effect<A, E, Bus | Scope.Scope>) =>
      Effect.runPromise(Effect.scoped(effect).pipe(Effect.provide(layer()), Effect.provide(time.clock)))
    const take = (count: number) => Effect.flatMap(Bus, (bus) => Stream.runCollect(Stream.take(bus.work, count)))
    const pending = Effect.flatMap(Bus, (bus) => bus.pending)
    /** Settling is told to a server, which takes a moment. */
    const noneLeft = Effect.gen(function* () {
      while ((yield* pending) > 0) yield* elapse(1)
    })

    it("gives what was announced, before and after the worker asked", () =>
      run(
        Effect.gen(function* () {
          yield* announce(acme, other)
          const { until } = yield* startWorker
          const [one, two] = yield* until(2)
          yield* announce(tenant("c"))
          const [, , three] = yield* until(3)
          assert.sameMembers(keys([one!, two!]), [acme.key, other.key])
          assert.deepStrictEqual(three!.scope, tenant("c"))
          assert.strictEqual(three!.attempt, 1)
        })
      ))

    it("merges announcements while one is pending", () =>
      run(
        Effect.gen(function* () {
          yield* announce(acme, acme, acme)
          assert.strictEqual(yield* pending, 1)
          yield* announce(acme)
          assert.strictEqual(yield* pending, 1)
          const { tickets, until } = yield* startWorker
          yield* until(1)
          yield* elapse(settleMillis)
          assert.lengthOf(tickets, 1)
        })
      ))

    it("lets a done ticket go, and takes the scope's next announcement", () =>
      run(
        Effect.gen(function* () {
          yield* announce(acme)
          const [ticket] = yield* take(1)
          assert.strictEqual(yield* pending, 1)
          yield* ticket!.done
          yield* ticket!.done
          yield* noneLeft
          const { tickets, until } = yield* startWorker
          yield* elapse(2 * leaseMillis)
          assert.lengthOf(tickets, 0)
          yield* announce(acme)
          assert.deepStrictEqual(keys(yield* until(1)), [acme.key])
        })
      ))

    it("comes once more when it was announced while a worker held it", () =>
      run(
        Effect.gen(function* () {
          yield* announce(acme)
          const { tickets, until } = yield* startWorker
          const [first] = yield* until(1)
          yield* announce(acme, acme)
          yield* elapse(settleMillis)
          assert.lengthOf(tickets, 1)
          yield* first!.done
          const [, again] = yield* until(2)
          assert.strictEqual(again!.scope.key, acme.key)
          assert.strictEqual(again!.attempt, 1)
          yield* again!.done
          yield* noneLeft
        })
      ))

    it("comes again, with the next attempt, when its lease runs out", () =>
      run(
        Effect.gen(function* () {
          yield* announce(acme)
          yield* take(1)
          const { tickets, until } = yield* startWorker
          yield* elapse(leaseMillis / 2)
          assert.lengthOf(tickets, 0)
          yield* elapse(leaseMillis / 2 + 1)
          const [again] = yield* until(1)
          assert.strictEqual(again!.attempt, 2)
        })
      ))

    it("lets a holder whose lease ran out settle nothing of the next holder's", () =>
      run(
        Effect.gen(function* () {
          yield* announce(acme)
          const [slow] = yield* take(1)
          const { tickets, until } = yield* startWorker
          yield* elapse(leaseMillis)
          const [next] = yield* until(1)
          yield* slow!.done
          yield* slow!.later(1)
          yield* elapse(settleMillis)
          assert.strictEqual(yield* pending, 1)
          assert.lengthOf(tickets, 1)
          yield* next!.done
          yield* noneLeft
        })
      ))

    it("comes again after the time asked for, and others meanwhile", () =>
      run(
        Effect.gen(function* () {
          const pause = leaseMillis / 2
          yield* announce(acme)
          const [ticket] = yield* take(1)
          yield* ticket!.later(pause)
          yield* announce(other)
          const { tickets, until } = yield* startWorker
          yield* elapse(pause / 2)
          assert.deepStrictEqual(keys(yield* until(1)), [other.key])
          assert.lengthOf(tickets, 1)
          yield* elapse(pause / 2)
          const [, again] = yield* until(2)
          assert.strictEqual(again!.scope.key, acme.key)
          assert.strictEqual(again!.attempt, 2)
          yield* again!.done
          yield* tickets[0]!.done
          yield* noneLeft
        })
      ))

    it("gives up what was never done, counts it, and takes it when it is announced afresh", () =>
      run(
        Effect.gen(function* () {
          const bus = yield* Bus
          yield* announce(acme)
          const { tickets, until } = yield* startWorker
          for (let count = 1; count <= bus.facts.attemptsMax; count++) {
            while (tickets.length < count) yield* elapse(1)
            yield* tickets[count - 1]!.later(1)
          }
          yield* noneLeft
          assert.deepStrictEqual(bus.figures(), { dropped: 0, givenUp: 1 })
          assert.deepStrictEqual(
            tickets.map(({ attempt }) => attempt),
            tickets.map((_, index) => index + 1)
          )
          yield* announce(acme)
          assert.strictEqual((yield* until(bus.facts.attemptsMax + 1)).at(-1)!.attempt, 1)
        })
      ))

    it("does not let one scope that is announced for ever keep the others from their turn", () =>
      run(
        Effect.gen(function* () {
          const bus = yield* Bus
          yield* announce(acme, other)
          const served: Array<string> = []
          yield* Stream.runForEach(Stream.take(bus.work, 20), (ticket) =>
            Effect.gen(function* () {
              served.push(ticket.scope.key)
              yield* announce(acme, other)
              yield* ticket.done
            })
          )
          for (const { key } of [acme, other]) assert.isAtLeast(served.filter((each) => each === key).length, 5)
        })
      ))

    it("gives each ticket to one of several workers", () =>
      run(
        Effect.gen(function* () {
          const [one, two] = [yield* startWorker, yield* startWorker]
          yield* announce(...everybody)
          while (one.tickets.length + two.tickets.length < 6) yield* elapse(1)
          yield* elapse(settleMillis)
          assert.lengthOf(new Set([...keys(one.tickets), ...keys(two.tickets)]), 6)
          assert.strictEqual(one.tickets.length + two.tickets.length, 6)
        })
      ))

    it("keeps pending what no worker asked for", () =>
      run(
        Effect.gen(function* () {
          yield* announce(...everybody)
          const [first] = yield* take(1)
          yield* elapse(2 * leaseMillis)
          assert.strictEqual(yield* pending, 6)
          const { until } = yield* startWorker
          assert.sameMembers(keys(yield* until(6)), keys(everybody.map((scope) => ({ ...first!, scope }))))
        })
      ))
  })
