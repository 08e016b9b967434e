/** What every `Bus` keeps: each announced scope comes to some worker, again until it is done. */
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { assert, describe, it } from "vitest"
import { Bus, type Ticket } from "#services/ports/bus.ts"
import { acme, other, tenant } from "./installation.ts"

export const leaseMillis = 10_000

export const busContract = (name: string, layer: () => Layer.Layer<Bus>) =>
  describe(`Bus: ${name}`, () => {
    const run = <A, E>(effect: Effect.Effect<A, E, Bus | Scope.Scope>) =>
      Effect.runPromise(Effect.scoped(effect).pipe(Effect.provide(layer()), Effect.provide(TestClock.layer())))
    const announce = (...scopes: ReadonlyArray<typeof acme>) =>
      Effect.flatMap(Bus, (bus) => Effect.forEach(scopes, bus.announce, { discard: true }))
    const take = (count: number) => Effect.flatMap(Bus, (bus) => Stream.runCollect(Stream.take(bus.work, count)))
    const keys = (tickets: Iterable<Ticket>) => [...tickets].map(({ scope }) => scope.key)
    /** What a worker gets while some time passes. */
    const takenDuring = Effect.fnUntraced(function* (millis: number) {
      const tickets: Array<Ticket> = []
      const bus = yield* Bus
      yield* Stream.runForEach(bus.work, (ticket) => Effect.sync(() => void tickets.push(ticket))).pipe(
        Effect.forkScoped({ startImmediately: true })
      )
      yield* TestClock.adjust(millis)
      return tickets
    })
    const pending = Effect.flatMap(Bus, (bus) => bus.pending)

    it("gives what was announced, first come first served, before and after the worker asked", () =>
      run(
        Effect.gen(function* () {
          yield* announce(acme, other)
          const tickets = yield* takenDuring(1)
          yield* announce(tenant("c"))
          yield* TestClock.adjust(1)
          assert.deepStrictEqual(keys(tickets), [acme.key, other.key, tenant("c").key])
          assert.deepStrictEqual(tickets[0]!.scope, acme)
          assert.strictEqual(tickets[0]!.attempt, 1)
        })
      ))

    it("merges announcements while one is pending", () =>
      run(
        Effect.gen(function* () {
          yield* announce(acme, acme, acme)
          assert.strictEqual(yield* pending, 1)
          assert.lengthOf(yield* takenDuring(1), 1)
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
          assert.strictEqual(yield* pending, 0)
          assert.lengthOf(yield* takenDuring(2 * leaseMillis), 0)
          yield* announce(acme)
          assert.strictEqual(yield* pending, 1)
        })
      ))

    it("comes once more when it was announced while a worker held it", () =>
      run(
        Effect.gen(function* () {
          yield* announce(acme)
          const [ticket] = yield* take(1)
          yield* announce(acme, acme)
          yield* ticket!.done
          const again = yield* takenDuring(1)
          assert.deepStrictEqual(keys(again), [acme.key])
          assert.strictEqual(again[0]!.attempt, 1)
          yield* again[0]!.done
          assert.strictEqual(yield* pending, 0)
        })
      ))

    it("comes again, with the next attempt, when its lease runs out", () =>
      run(
        Effect.gen(function* () {
          yield* announce(acme)
          yield* take(1)
          const later = yield* takenDuring(leaseMillis - 1)
          assert.lengthOf(later, 0)
          yield* TestClock.adjust(2)
          assert.deepStrictEqual(
            later.map(({ attempt }) => attempt),
            [2]
          )
        })
      ))

    it("lets a holder whose lease ran out settle nothing of the next holder's", () =>
      run(
        Effect.gen(function* () {
          yield* announce(acme)
          const [slow] = yield* take(1)
          const next = yield* takenDuring(leaseMillis)
          assert.lengthOf(next, 1)
          yield* slow!.done
          assert.strictEqual(yield* pending, 1)
          yield* slow!.later(1)
          yield* TestClock.adjust(10)
          assert.lengthOf(next, 1)
          yield* next[0]!.done
          assert.strictEqual(yield* pending, 0)
        })
      ))

    it("comes again after the time asked for, and others meanwhile", () =>
      run(
        Effect.gen(function* () {
          yield* announce(acme)
          const [ticket] = yield* take(1)
          yield* ticket!.later(5_000)
          yield* announce(other)
          const tickets = yield* takenDuring(4_999)
          assert.deepStrictEqual(keys(tickets), [other.key])
          yield* TestClock.adjust(1)
          assert.deepStrictEqual(keys(tickets), [other.key, acme.key])
          assert.strictEqual(tickets[1]!.attempt, 2)
        })
      ))

    it("does not let one scope that is announced for ever keep the others from their turn", () =>
      run(
        Effect.gen(function* () {
          const bus = yield* Bus
          yield* announce(acme, other)
          const served: Array<string> = []
          yield* Stream.runForEach(Stream.take(bus.work, 6), (ticket) =>
            Effect.gen(function* () {
              served.push(ticket.scope.key)
              yield* announce(acme, other)
              yield* ticket.done
            })
          )
          assert.deepStrictEqual(served, [acme.key, other.key, acme.key, other.key, acme.key, other.key])
        })
      ))

    it("gives each ticket to one of several workers", () =>
      run(
        Effect.gen(function* () {
          const [one, two] = [yield* takenDuring(1), yield* takenDuring(1)]
          yield* announce(...["a", "b", "c", "d", "e", "f"].map(tenant))
          yield* TestClock.adjust(1)
          assert.lengthOf(new Set([...keys(one), ...keys(two)]), 6)
          assert.strictEqual(one.length + two.length, 6)
        })
      ))
  })
