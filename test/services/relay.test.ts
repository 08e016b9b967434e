/** The relay: what it says, that one alone says it, and that nothing is left out when it dies or its place is wiped. */
import * as Effect from "effect/Effect"
import { afterEach, assert, beforeEach, describe, it } from "vitest"
import { relay } from "#domain/relay.ts"
import { platformScope, streamName } from "#domain/scope.ts"
import { Journal } from "#services/ports/journal.ts"
import { type Message, PublisherUnavailable } from "#services/ports/publisher.ts"
import { Relay } from "#services/relay.ts"
import { envelopeBytesMax } from "#services/relay-messages.ts"
import { memoryPublisher, openWorld, type World } from "../support/relay-world.ts"

const said = ({ body }: Message) => JSON.parse(body) as Record<string, unknown>
const ids = (messages: ReadonlyArray<Message>) => messages.map(({ id }) => id)
/** Short times, so that a test waits for signals and not for them. */
const quick = { leaseMillis: 50, recordMillis: 5, lookMillis: 10 }

describe("the relay", () => {
  let world: World
  const started: Array<ReturnType<World["relay"]>> = []
  beforeEach(async () => {
    world = await openWorld()
  })
  afterEach(async () => {
    for (const runtime of started.splice(0)) await runtime.dispose()
    await world.remove()
  })
  const start = async (member: string, publisher: ReturnType<typeof memoryPublisher>, options = {}) => {
    const runtime = world.relay({ member, ...quick, ...options }, publisher.layer)
    started.push(runtime)
    const { figures } = await runtime.runPromise(Relay)
    return { runtime, figures }
  }
  const events = () =>
    world.run(Effect.flatMap(Journal, (journal) => journal.readStream(platformScope, streamName(platformScope, `${relay.kind}-self`))))
  /** Resolves once its stream accounts for so many messages; with the number of its events. */
  const untilAccounted = async (messages: number) => {
    while (true) {
      const found = await events()
      const accounted = found.reduce((sum, { data }) => sum + Number(data["messages"] ?? 0), 0)
      if (accounted === messages) return found.length
    }
  }
  /** Resolves once the relay's stream says so. */
  const untilRecorded = async (holds: (types: ReadonlyArray<string>) => boolean) => {
    while (!holds((await events()).map(({ type }) => type))) await new Promise((resolve) => setImmediate(resolve))
  }

  it("says a delivery with its body, and a run's fate without content, in the order of the log", async () => {
    const publisher = memoryPublisher()
    const deliveryId = await world.receive({ total: 12.5 })
    await world.fail(deliveryId)
    await start("one", publisher)
    await publisher.until((kept) => kept.length === 3)
    assert.deepStrictEqual(
      publisher.kept.map(({ topic }) => topic),
      [
        ["shop", "orders/create"],
        ["runs", "started"],
        ["runs", "failed"]
      ]
    )
    const [delivered, , failed] = publisher.kept.map(said)
    const { id, time, ...rest } = delivered!
    assert.strictEqual(id, publisher.kept[0]!.id)
    assert.match(String(time), /^\d{4}-\d\d-\d\dT/u)
    assert.deepStrictEqual(rest, {
      specversion: "1.0",
      source: `/tributary/${world.scope.space}/${world.scope.key}`,
      type: "tributary.event.shop.orders/create",
      subject: deliveryId,
      tenantid: "acme@example.com",
      correlationid: "cause-1",
      datacontenttype: "application/json",
      data: { total: 12.5 }
    })
    assert.strictEqual(failed!["type"], "tributary.run.failed")
    assert.deepStrictEqual(failed!["data"], {
      runId: deliveryId,
      flowId: "sync",
      version: 3,
      purpose: "route",
      deliveryId,
      error: { kind: "permanent", code: "http-400", message: "The vendor refused it." }
    })
  })

  it("leaves out a body that is too large or no JSON, and says so", async () => {
    const publisher = memoryPublisher(envelopeBytesMax + 20)
    await world.receive({ long: "x".repeat(30) })
    await world.receive("not json")
    await start("one", publisher)
    await publisher.until((kept) => kept.length === 2)
    assert.deepStrictEqual(
      publisher.kept.map((message) => [said(message)["dataomitted"], said(message)["data"]]),
      [
        ["too-large", undefined],
        ["not-json", undefined]
      ]
    )
  })

  it("goes on where it stopped, and repeats nothing that was recorded", async () => {
    const publisher = memoryPublisher()
    const first = await start("one", publisher)
    await world.receiveMany(20)
    await publisher.until((kept) => kept.length === 20)
    await first.runtime.dispose()
    await world.receiveMany(5)
    await start("two", publisher)
    await publisher.until((kept) => kept.length === 25)
    assert.lengthOf(new Set(ids(publisher.kept)), 25)
  })

  it("records its progress in few events, and none for its own record", async () => {
    const publisher = memoryPublisher()
    const { figures } = await start("one", publisher)
    await world.receiveMany(300)
    await publisher.until((kept) => kept.length === 300)
    const before = await untilAccounted(300)
    await world.receive({})
    await publisher.until((kept) => kept.length === 301)
    assert.strictEqual(await untilAccounted(301), before + 1)
    await new Promise((resolve) => setTimeout(resolve, 10 * quick.recordMillis))
    assert.lengthOf(await events(), before + 1)
    assert.isTrue(figures().holds)
    assert.isBelow(before, 60)
  })

  it("lets one of two publish, and the other when that one dies", async () => {
    const publisher = memoryPublisher()
    const dying = memoryPublisher()
    const one = await start("one", dying)
    await world.receive({ n: 1 })
    await dying.until((kept) => kept.length === 1)
    await untilRecorded((types) => types.filter((type) => type === "RelayAdvanced").length >= 2)
    const two = await start("two", publisher)
    await world.receiveMany(10)
    await dying.until((kept) => kept.length === 11)
    assert.isFalse(two.figures().holds)
    assert.lengthOf(publisher.kept, 0)
    dying.fate.publish = Effect.never
    await world.receiveMany(10)
    await publisher.until((kept) => kept.length >= 10)
    assert.isTrue(two.figures().holds)
    assert.strictEqual(new Set([...ids(dying.kept), ...ids(publisher.kept)]).size, 21)
    // The first one thaws, and learns that it was replaced.
    dying.fate.publish = Effect.void
    assert.isAtLeast((await events()).filter(({ type }) => type === "RelayTaken").length, 2)
    void one
  })

  it("says the whole window again, with the same ids, when what was kept is gone", async () => {
    const publisher = memoryPublisher()
    const { figures } = await start("one", publisher)
    await world.receiveMany(30)
    await publisher.until((kept) => kept.length === 30)
    const before = ids(publisher.kept)
    publisher.wipe()
    await publisher.until((kept) => kept.length >= 30)
    assert.deepStrictEqual(ids(publisher.kept), before)
    assert.strictEqual(figures().rewinds, 1)
  })

  it("waits while nothing can be published, and then says everything", async () => {
    const publisher = memoryPublisher()
    publisher.fate.publish = Effect.fail(new PublisherUnavailable({ reason: "the test says so" }))
    await start("one", publisher)
    await world.receiveMany(3)
    await untilRecorded((types) => types.includes("RelayTaken"))
    publisher.fate.publish = Effect.void
    await publisher.until((kept) => new Set(ids(kept)).size === 3)
  })
})
