/** The bus on a real nats-server that is wiped, killed and shared: the process goes on, and the sweeper's announcements repair the rest. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Stream from "effect/Stream"
import { afterAll, afterEach, assert, beforeAll, describe, it } from "vitest"
import * as MemoryOwnership from "#adapters/memory/ownership.ts"
import { type BusOptions, layer as busLayer } from "#adapters/nats/bus.ts"
import { Nats } from "#adapters/nats/connection.ts"
import * as NatsOwnership from "#adapters/nats/ownership.ts"
import { consumerName, lifeOf, workStreamName } from "#adapters/nats/work-stream.ts"
import type { TenantKey } from "#domain/ids.ts"
import { bucketOf, type TenantScope, tenantScope } from "#domain/scope.ts"
import { Bus, type Ticket } from "#services/ports/bus.ts"
import { Ownership } from "#services/ports/ownership.ts"
import { notVerified } from "../support/count-reporter.ts"
import { connectionTo, freshPrefix } from "../support/nats-layers.ts"
import { installedVersion, type NatsServer, startNatsServer } from "../support/nats-server.ts"
import { acme, space } from "./installation.ts"

const letters = "abcdefghijklmnopqrstuvwxyz234567"
const tenants = (count: number): ReadonlyArray<TenantScope> =>
  Array.from({ length: count }, (_, n) => {
    const key = `t${"x".repeat(15)}${[15, 10, 5, 0].map((shift) => letters[(n >> shift) & 31]).join("")}`
    return tenantScope(space.space, key as TenantKey)
  })
const keysOf = (scopes: ReadonlyArray<TenantScope>) => scopes.map(({ key }) => key as string)

describe.skipIf(installedVersion === undefined)(
  installedVersion === undefined ? `nats-server: ${notVerified}` : "the bus on nats-server",
  () => {
    let server: NatsServer
    const processes: Array<{ readonly dispose: () => Promise<void> }> = []
    beforeAll(async () => {
      server = await startNatsServer()
    })
    afterEach(async () => {
      for (const { dispose } of processes.splice(0)) await dispose()
    })
    afterAll(() => server.remove())

    /** A process with a bus; its worker does each ticket at once unless told otherwise. */
    const start = async (prefix: string, options: Partial<BusOptions> = {}, ownership: "all" | "shared" = "all") => {
      const connection = connectionTo(server.url)
      const owned = ownership === "all" ? MemoryOwnership.layer : NatsOwnership.layer({ prefix, leaseMillis: 120_000, listenMillis: 50 })
      const runtime = ManagedRuntime.make(
        busLayer({ prefix, leaseMillis: 400, ...options }).pipe(Layer.provideMerge(owned), Layer.provideMerge(connection))
      )
      processes.push(runtime)
      const bus = await runtime.runPromise(Bus)
      const stream = workStreamName(prefix)
      const taken: Array<Ticket> = []
      const waiting = new Set<() => void>()
      const take = (ticket: Ticket, isDone: boolean) =>
        Effect.andThen(
          isDone ? ticket.done : Effect.void,
          Effect.sync(() => {
            taken.push(ticket)
            for (const look of waiting) look()
          })
        )
      return {
        runtime,
        bus,
        taken,
        stream,
        nats: await runtime.runPromise(Nats),
        announce: (scopes: ReadonlyArray<TenantScope>) => runtime.runPromise(Effect.forEach(scopes, bus.announce, { discard: true })),
        pending: () => runtime.runPromise(bus.pending),
        work: (isDone = true) => runtime.runFork(Stream.runForEach(bus.work, (ticket) => take(ticket, isDone))),
        /** Resolves once each of these has come, since the beginning or since so many tickets. */
        served: (scopes: ReadonlyArray<TenantScope>, since = 0) =>
          new Promise<void>((resolve) => {
            const look = () => {
              const known = new Set(taken.slice(since).map(({ scope }) => scope.key as string))
              if (!keysOf(scopes).every((key) => known.has(key))) return
              waiting.delete(look)
              resolve()
            }
            waiting.add(look)
            look()
          }),
        has: async (size: number) => {
          const { changes } = await runtime.runPromise(Ownership)
          await runtime.runPromise(Stream.runHead(Stream.filter(changes, (buckets) => buckets.size === size)))
        }
      }
    }

    it("makes its stream again when it was wiped under load", async () => {
      const process = await start(freshPrefix())
      const all = tenants(500)
      process.work()
      for (let round = 0; round < 3; round++) {
        const announcing = process.announce(all)
        await process.nats.streams.streams.delete(process.stream)
        await announcing
        const since = process.taken.length
        // What the wipe took is announced again, as by the sweeper.
        await process.announce(all)
        await process.served(all, since)
      }
      assert.strictEqual(process.bus.figures().dropped, 0)
    })

    it("makes a consumer again that was deleted alone", async () => {
      const process = await start(freshPrefix())
      process.work()
      await process.announce([acme])
      await process.served([acme])
      const life = lifeOf(await process.nats.streams.streams.info(process.stream))
      await process.nats.streams.consumers.delete(process.stream, consumerName(bucketOf(acme.key), life))
      await process.announce([acme])
      await process.served([acme], 1)
    })

    it("keeps what was pending over a killed server", async () => {
      const process = await start(freshPrefix())
      const all = tenants(50)
      await process.announce(all)
      assert.strictEqual(await process.pending(), 50)
      await server.kill()
      await server.start()
      process.work()
      await process.served(all)
    })

    it("takes announcements while the server is away, and has them served when it is back with an empty store", async () => {
      const process = await start(freshPrefix())
      process.work()
      await process.announce([acme])
      await process.served([acme])
      await server.kill()
      server.wipe()
      const all = tenants(2_000)
      await process.announce(all)
      await process.announce(all)
      assert.strictEqual(await process.pending(), 2_000)
      await server.start()
      await process.served(all, 1)
      assert.isAtMost(process.taken.length, 4_001)
    })

    it("leaves announcements beyond its bound to the sweeper, and counts them", async () => {
      const process = await start(freshPrefix(), { pendingMax: 10 })
      await server.kill()
      await process.announce(tenants(15))
      assert.strictEqual(process.bus.figures().dropped, 5)
      await server.start()
      process.work()
      await process.served(tenants(10))
    })

    it("serves each bucket by the process that owns it, and by another at once when that one stops", async () => {
      const prefix = freshPrefix()
      const one = await start(prefix, {}, "shared")
      await one.has(256)
      const two = await start(prefix, {}, "shared")
      await Promise.all([one.has(128), two.has(128)])
      const all = tenants(300)
      one.work(false)
      two.work()
      await one.announce(all)
      const mine = await one.runtime.runPromise(Effect.map(Ownership, ({ owned }) => owned()))
      const [hers, others] = [all.filter(({ key }) => mine.has(bucketOf(key))), all.filter(({ key }) => !mine.has(bucketOf(key)))]
      await Promise.all([one.served(hers), two.served(others)])
      assert.isTrue(two.taken.every(({ scope }) => !mine.has(bucketOf(scope.key))))
      assert.isAtLeast(hers.length, 50)
      await one.runtime.dispose()
      await two.served(hers)
      while ((await two.pending()) > 0);
    })

    it("gives what a dead process held to another once the lease is over", async () => {
      const prefix = freshPrefix()
      const dying = await start(prefix)
      const all = tenants(20)
      dying.work(false)
      await dying.announce(all)
      await dying.served(all)
      await dying.nats.connection.close()
      const other = await start(prefix)
      other.work()
      await other.served(all)
      assert.isTrue(other.taken.every(({ attempt }) => attempt >= 2))
    })

    it("keeps two installations on one server apart", async () => {
      const [one, two] = [await start(freshPrefix()), await start(freshPrefix())]
      one.work()
      two.work()
      await one.announce([acme])
      await two.announce(tenants(1))
      await Promise.all([one.served([acme]), two.served(tenants(1))])
      assert.lengthOf([...one.taken, ...two.taken], 2)
    })
  }
)
