import * as Schema from "effect/Schema"
import { assert, describe, it } from "vitest"
import type { SpaceKey, TenantKey } from "#domain/ids.ts"
import { type StreamName, streamName, type TenantScope, tenantScope } from "#domain/scope.ts"
import { type Item, type Turn, WorkQueue, type WorkQueueLimits } from "#services/work-queue.ts"
import { property } from "../support/property.ts"

const space = `s${"a".repeat(19)}` as SpaceKey
const tenantOf = (letter: string) => tenantScope(space, `t${letter.repeat(19)}` as TenantKey)
const [ana, ben, cleo] = [tenantOf("a"), tenantOf("b"), tenantOf("c")]

const delivery = (scope: TenantScope, id: string, recovered = false): Item => ({
  stream: streamName(scope, `delivery-${id}`),
  kind: "delivery",
  id,
  recovered
})
const run = (scope: TenantScope, id: string): Item => ({ stream: streamName(scope, `run-${id}`), kind: "run", id, recovered: false })
const ids = (items: ReadonlyArray<Item> | undefined) => items?.map(({ id }) => id)

/** A queue in which everything from before was found already. */
const given = (limits: Partial<WorkQueueLimits> = {}) => {
  const queue = new WorkQueue({ ready: 100, inFlight: 100, quantum: 2, ...limits })
  queue.lookedThrough(true)
  return queue
}
const offerAll = (queue: WorkQueue, scope: TenantScope, names: string) => [...names].map((id) => queue.offer(scope, delivery(scope, id)))
const finish = (queue: WorkQueue, { tenant, others, deliveries }: Turn) => {
  if (deliveries.length > 0) queue.routed(tenant)
  for (const item of [...others, ...deliveries]) queue.release(tenant, item)
  queue.settle(tenant)
}

describe("the work queue", () => {
  it("gives each tenant its turn, and takes so many from it", () => {
    const queue = given()
    offerAll(queue, ana, "123")
    offerAll(queue, ben, "4")
    assert.deepStrictEqual(ids(queue.next()?.deliveries), ["1", "2"])
    assert.deepStrictEqual(ids(queue.next()?.deliveries), ["4"])
    assert.isUndefined(queue.next(), "the first tenant's next deliveries wait until these are routed")
  })
  it("has no more of a tenant in hand than it may, and goes on when something ends", () => {
    const queue = given()
    for (const id of "123") queue.offer(ana, run(ana, id))
    const turn = queue.next()!
    assert.deepStrictEqual(ids(turn.others), ["1", "2"])
    assert.isUndefined(queue.next())
    queue.release(turn.tenant, turn.others[0]!)
    queue.settle(turn.tenant)
    assert.deepStrictEqual(ids(queue.next()?.others), ["3"])
  })
  it("has no more in hand than the process may", () => {
    const queue = given({ inFlight: 3 })
    offerAll(queue, ana, "12")
    offerAll(queue, ben, "34")
    assert.deepStrictEqual(ids(queue.next()?.deliveries), ["1", "2"])
    assert.deepStrictEqual(ids(queue.next()?.deliveries), ["3"])
    assert.isUndefined(queue.next())
  })
  it("launches nothing past those that wait, nor what somebody has", () => {
    const queue = given()
    assert.isTrue(queue.hasRoom(ana, 2))
    assert.isNotNull(queue.launch(ana, run(ana, "1").stream))
    assert.isNull(queue.launch(ana, run(ana, "1").stream))
    queue.launch(ana, run(ana, "2").stream)
    assert.isFalse(queue.hasRoom(ana, 2), "it has as many as it may")
    assert.isTrue(queue.hasRoom(ana, 3))
    queue.offer(ana, delivery(ana, "3"))
    assert.isFalse(queue.hasRoom(ana, 3), "another waits")
  })
  it("looks again at what was offered while it was in hand, and once only", () => {
    const queue = given()
    queue.offer(ana, run(ana, "1"))
    const { tenant, others } = queue.next()!
    queue.offer(ana, run(ana, "1"))
    queue.offer(ana, run(ana, "1"))
    assert.isUndefined(queue.next())
    assert.isTrue(queue.release(tenant, others[0]!))
    queue.offer(ana, run(ana, "1"))
    assert.isFalse(queue.release(queue.next()!.tenant, others[0]!))
  })
  it("counts what waits for its turn alone, and not what waits for its tenant's runs", () => {
    const queue = given()
    offerAll(queue, ana, "1234")
    assert.strictEqual(queue.takeable, 4)
    const turn = queue.next()!
    assert.strictEqual(queue.takeable, 0, "the tenant has as many in hand as it may: two")
    queue.limit(turn.tenant, 3)
    assert.strictEqual(queue.takeable, 2)
    queue.limit(turn.tenant, 2)
    offerAll(queue, ben, "5")
    assert.strictEqual(queue.takeable, 1)
  })
  it("leaves room for those who come later: whoever is alone gets half", () => {
    const queue = given({ ready: 8 })
    assert.deepStrictEqual(offerAll(queue, ana, "12345"), [true, true, true, true, false])
    assert.deepStrictEqual(offerAll(queue, ben, "123"), [true, true, false])
    assert.deepStrictEqual(offerAll(queue, cleo, "12"), [true, false])
    assert.strictEqual(queue.ready, 7)
  })
  it("asks for what it had no room for once little of it waits, and lets nothing pass it until then", () => {
    const queue = given({ ready: 40, quantum: 2 })
    const many = Array.from({ length: 21 }, (_, index) => `${index}`)
    assert.strictEqual(many.filter((id) => !queue.offer(ana, delivery(ana, id))).join(), "20")
    assert.deepStrictEqual(queue.short(), [], "there is enough of it")
    for (let turns = 0; turns < 7; turns++) finish(queue, queue.next()!)
    assert.isFalse(queue.offer(ana, delivery(ana, "21")), "the one before it has waited for longer")
    const [tenant] = queue.short()
    assert.strictEqual(tenant!.scope, ana)
    assert.deepStrictEqual(queue.short(), [], "it is being asked for")
    assert.isTrue(queue.offer(ana, delivery(ana, "20")))
    assert.isTrue(queue.offer(ana, delivery(ana, "21")))
    queue.filled(tenant!, true)
    assert.deepStrictEqual(queue.short(), [])
    for (let turn = queue.next(); turn !== undefined; turn = queue.next()) finish(queue, turn)
    assert.strictEqual(queue.tenants, 0)
  })
  it("asks again where the index could not be read", () => {
    const queue = given({ ready: 2 })
    offerAll(queue, ana, "12")
    finish(queue, queue.next()!)
    const [tenant] = queue.short()
    queue.filled(tenant!, false)
    assert.deepStrictEqual(queue.short(), [tenant!])
  })
  it("takes what it had no room for itself for what it is, and what may be older for what a death has left (R14)", () => {
    const queue = given({ ready: 2 })
    assert.isTrue(queue.isRecovered(ana), "whatever is found of a tenant that nothing is known of")
    offerAll(queue, ana, "12")
    assert.isFalse(queue.isRecovered(ana))
    queue.offer(ana, delivery(ana, "3", true))
    assert.isTrue(queue.isRecovered(ana))
    queue.lookedThrough(false)
    offerAll(queue, ben, "12")
    assert.isTrue(queue.isRecovered(ben), "it is not known yet what is left from before")
  })
  it("lets go of another's tenants, but for what is in hand", () => {
    const queue = given({ ready: 6 })
    offerAll(queue, ana, "1234")
    offerAll(queue, ben, "1")
    const turn = queue.next()!
    queue.letGo(({ key }) => key === ben.key)
    assert.strictEqual(queue.ready, 1)
    assert.isFalse(queue.isHeld(delivery(ana, "3").stream))
    assert.isTrue(queue.isInHand(delivery(ana, "1").stream))
    finish(queue, turn)
    finish(queue, queue.next()!)
    assert.deepInclude({ ready: queue.ready, inFlight: queue.inFlight, tenants: queue.tenants }, { ready: 0, inFlight: 0, tenants: 0 })
  })
  it("takes nothing once it is stopped, and is idle when what is in hand has ended", () => {
    const queue = given({ ready: 4 })
    offerAll(queue, ana, "123")
    const turn = queue.next()!
    let isIdle = false
    queue.stop()
    queue.whenIdle(() => {
      isIdle = true
    })
    offerAll(queue, ben, "1")
    assert.isUndefined(queue.next())
    assert.isFalse(isIdle)
    finish(queue, turn)
    assert.isTrue(isIdle)
  })

  const Step = Schema.Union([
    Schema.Struct({ _tag: Schema.Literal("Come"), tenant: Schema.Literals([0, 1, 2]) }),
    Schema.Struct({ _tag: Schema.Literal("Take") }),
    Schema.Struct({ _tag: Schema.Literal("End") }),
    Schema.Struct({ _tag: Schema.Literal("Fill") })
  ])
  property(
    "takes everything once, each tenant's in the order in which it came, however little room there is",
    Schema.Array(Step),
    (steps) => {
      const limits = { ready: 5, inFlight: 3, quantum: 2 }
      const queue = given(limits)
      const scopes = [ana, ben, cleo]
      /** What the index holds, oldest first; and what was taken. */
      const open = new Map<StreamName, { readonly scope: TenantScope; readonly item: Item }>()
      const taken: Array<string> = []
      const turns: Array<Turn> = []
      let came = 0
      const take = () => {
        const turn = queue.next()
        if (turn === undefined) return false
        turns.push(turn)
        for (const { stream, id } of turn.deliveries) {
          assert.isTrue(open.delete(stream), `${id} was taken before`)
          taken.push(id)
        }
        assert.isAtMost(turn.tenant.inFlight, limits.quantum)
        assert.isAtMost(queue.inFlight, limits.inFlight)
        return true
      }
      const end = () => {
        const turn = turns.shift()
        if (turn !== undefined) finish(queue, turn)
        return turn !== undefined
      }
      const fill = () => {
        const short = queue.short()
        for (const tenant of short) {
          const mine = [...open.values()].filter(({ scope, item }) => scope.key === tenant.scope.key && !queue.isHeld(item.stream))
          const refused = mine.findIndex(({ scope, item }) => !queue.offer(scope, item))
          assert.isAbove(mine.length === 0 ? 1 : refused === -1 ? mine.length : refused, 0, "there was room for none")
          queue.filled(tenant, true)
        }
        return short.length > 0
      }
      const act = { Take: take, End: end, Fill: fill }
      for (const step of steps) {
        if (step._tag === "Come") {
          const scope = scopes[step.tenant]!
          const item = delivery(scope, `${step.tenant}-${++came}`)
          open.set(item.stream, { scope, item })
          queue.offer(scope, item)
        } else act[step._tag]()
        assert.isBelow(queue.ready, limits.ready, "somebody else would find no room")
      }
      while (take() || end() || fill());
      assert.strictEqual(open.size, 0)
      assert.strictEqual(queue.tenants, 0)
      for (const tenant of ["0", "1", "2"]) {
        const numbers = taken.filter((id) => id.startsWith(tenant)).map((id) => Number(id.slice(2)))
        assert.deepStrictEqual(
          numbers,
          [...numbers].sort((left, right) => left - right)
        )
      }
    }
  )
})
