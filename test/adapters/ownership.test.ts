/** Buckets shared among workers: even, never two at a time, and on the move when a worker comes, goes or dies. */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Stream from "effect/Stream"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import * as MemoryOwnership from "#adapters/memory/ownership.ts"
import { Nats } from "#adapters/nats/connection.ts"
import { decodeBuckets, encodeBuckets, Membership, type Word } from "#adapters/nats/membership.ts"
import * as NatsOwnership from "#adapters/nats/ownership.ts"
import { assign } from "#adapters/nats/rendezvous.ts"
import { bucketOf } from "#domain/scope.ts"
import { allBuckets, type Buckets, Ownership } from "#services/ports/ownership.ts"
import { notVerified } from "../support/count-reporter.ts"
import { connectionTo, freshPrefix } from "../support/nats-layers.ts"
import { installedVersion, type NatsServer, startNatsServer } from "../support/nats-server.ts"
import { acme } from "./installation.ts"

const sizes = (shares: ReadonlyMap<string, Buckets>) => [...shares.values()].map(({ size }) => size)

describe("sharing out", () => {
  it("gives every bucket to one member, evenly", () => {
    for (let count = 1; count <= 12; count++) {
      const shares = assign(
        Array.from({ length: count }, (_, index) => `member-${index}`),
        allBuckets
      )
      assert.strictEqual(new Set([...shares.values()].flatMap((share) => [...share])).size, 256)
      assert.strictEqual(
        sizes(shares).reduce((sum, size) => sum + size),
        256
      )
      assert.isAtMost(Math.max(...sizes(shares)), Math.ceil(256 / count))
    }
  })
  it("gives the same answer in whatever order the members are named", () =>
    assert.deepStrictEqual(assign(["a", "b", "c"], allBuckets), assign(["c", "a", "b"], allBuckets)))
  it("moves few buckets but those of the member that comes or goes", () => {
    const before = assign(["a", "b", "c"], allBuckets)
    const after = assign(["a", "b", "c", "d"], allBuckets)
    const kept = ["a", "b", "c"].flatMap((member) => [...after.get(member)!].filter((bucket) => before.get(member)!.has(bucket)))
    assert.isAtLeast(kept.length, 150)
  })
  it("knows the bucket of every scope", () => assert.include(allBuckets, bucketOf(acme.key)))
})

describe("what a worker knows of the others", () => {
  const said = (membership: Membership) => membership.say("holds")
  it("writes a set of buckets in 64 characters and reads it back", () => {
    for (const buckets of [new Set<string>(), new Set(allBuckets), new Set(["00", "0a", "7f", "ff"])]) {
      assert.lengthOf(encodeBuckets(buckets), 64)
      assert.deepStrictEqual(decodeBuckets(encodeBuckets(buckets)), buckets)
    }
  })
  it("waits for a bucket until its holder has let it go", () => {
    const [old, young] = [new Membership("old", 100), new Membership("young", 100)]
    old.settle(0)
    young.hear(said(old), 0)
    assert.isFalse(young.settle(0))
    assert.strictEqual(young.owned.size, 0)
    assert.isTrue(old.hear(young.say("joins"), 0))
    assert.isTrue(old.settle(0))
    assert.strictEqual(old.owned.size, 128)
    young.hear(said(old), 0)
    assert.isTrue(young.settle(0))
    assert.strictEqual(young.owned.size, 128)
  })
  it("replaces one that was not heard for a lease, and no sooner", () => {
    const [alive, dead] = [new Membership("alive", 100), new Membership("dead", 100)]
    dead.settle(0)
    alive.hear(said(dead), 0)
    assert.isFalse(alive.settle(99))
    assert.isTrue(alive.settle(100))
    assert.strictEqual(alive.owned.size, 256)
  })
  it("takes nobody for dead because of a time without a connection", () => {
    const [alive, silent] = [new Membership("alive", 100), new Membership("silent", 100)]
    silent.settle(0)
    alive.hear(said(silent), 0)
    alive.forgive(500)
    assert.isFalse(alive.settle(599))
    assert.isTrue(alive.settle(600))
  })
  it("gives way when two hold the same: the one that should not have it lets go", () => {
    const [one, two] = [new Membership("one", 100), new Membership("two", 100)]
    one.settle(0)
    two.settle(0)
    const [first, second] = [said(one), said(two)]
    one.hear(second, 0)
    two.hear(first, 0)
    one.settle(0)
    two.settle(0)
    assert.strictEqual(one.owned.size + two.owned.size, 256)
    assert.isTrue([...one.owned].every((bucket) => !two.owned.has(bucket)))
  })
})

describe("ownership within one process", () => {
  it("is of all buckets, or of none where the process does no work", async () => {
    const first = Effect.flatMap(Ownership, ({ changes }) => Stream.runHead(changes))
    const [all, none] = await Promise.all(
      [MemoryOwnership.layer, MemoryOwnership.layerNone].map((layer) => Effect.runPromise(Effect.provide(first, layer)))
    )
    assert.strictEqual(all!._tag === "Some" ? all!.value.size : 0, 256)
    assert.strictEqual(none!._tag === "Some" ? none!.value.size : 1, 0)
  })
})

describe.skipIf(installedVersion === undefined)(
  installedVersion === undefined ? `nats-server: ${notVerified}` : "workers on nats-server",
  () => {
    let server: NatsServer
    beforeAll(async () => {
      server = await startNatsServer()
    })
    afterAll(() => server.remove())

    /** Longer than the test may take: what happens then does not wait for it. */
    const never = 120_000
    const start = async (prefix: string, leaseMillis = never) => {
      const layer = NatsOwnership.layer({ prefix, leaseMillis, listenMillis: 50 }).pipe(Layer.provideMerge(connectionTo(server.url)))
      const runtime = ManagedRuntime.make(layer)
      const ownership = await runtime.runPromise(Ownership)
      /** Resolves once the worker has so many. */
      const has = (least: number, most = least) =>
        runtime.runPromise(
          ownership.changes.pipe(
            Stream.filter(({ size }) => size >= least && size <= most),
            Stream.runHead,
            Effect.asVoid
          )
        )
      return { runtime, ownership, has }
    }
    const disjoint = (...sets: ReadonlyArray<Buckets>) =>
      new Set(sets.flatMap((set) => [...set])).size === sets.reduce((sum, { size }) => sum + size, 0)

    it("share evenly as they come, and take over at once from one that stops", async () => {
      const prefix = freshPrefix()
      const one = await start(prefix)
      await one.has(256)
      const two = await start(prefix)
      await Promise.all([one.has(128), two.has(128)])
      assert.isTrue(disjoint(one.ownership.owned(), two.ownership.owned()))
      assert.lengthOf(one.ownership.members(), 2)
      await Promise.all([one.runtime.dispose(), two.has(256)])
      await two.runtime.dispose()
    })

    it("take over from one that died once its lease is over", async () => {
      const prefix = freshPrefix()
      const one = await start(prefix, 600)
      await one.has(256)
      const two = await start(prefix, 600)
      await Promise.all([one.has(128), two.has(128)])
      const { connection } = await one.runtime.runPromise(Nats)
      await connection.close()
      await two.has(256)
      await Promise.all([one.runtime.dispose(), two.runtime.dispose()])
    })

    it("take nobody for dead because they stood still themselves", async () => {
      const prefix = freshPrefix()
      const [one, two] = [await start(prefix, 1_500), await start(prefix, 1_500)]
      await Promise.all([one.has(128), two.has(128)])
      const { connection } = await one.runtime.runPromise(Nats)
      await connection.flush()
      const held: Array<number> = []
      connection.subscribe(`${prefix}.members`, {
        callback: (_, message) => void held.push(decodeBuckets(message.json<Word>().holds).size)
      })
      await connection.flush()
      // Both are in this process, which does nothing for two leases.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 3_000)
      const three = await start(prefix, 1_500)
      await three.has(80, 90)
      assert.isTrue(held.every((size) => size <= 128))
      await Promise.all([one, two, three].map(({ runtime }) => runtime.dispose()))
    })

    it("keep what they have while the server is away, and share on when it is back", async () => {
      const prefix = freshPrefix()
      const [one, two] = [await start(prefix), await start(prefix)]
      await Promise.all([one.has(128), two.has(128)])
      const changes: Array<Buckets> = []
      const watching = one.runtime.runFork(
        Stream.runForEach(one.ownership.changes, (buckets) => Effect.sync(() => void changes.push(buckets)))
      )
      await server.kill()
      await server.start()
      const three = await start(prefix)
      // A third, give or take what the members' random names make of it.
      await three.has(80, 90)
      assert.isTrue(changes.every(({ size }) => size <= 128))
      await Effect.runPromise(Fiber.interrupt(watching))
      await Promise.all([one, two, three].map(({ runtime }) => runtime.dispose()))
    })
  }
)
