/** The demo's proof: it has to notice when something is lost, doubled or under the wrong credential. */
import { assert, describe, it } from "vitest"
import type { LedgerEntry } from "#infra/demo/messages.ts"
import { type Evidence, prove } from "#infra/demo/proof.ts"

const crash = { killedAt: 100, backAt: 200, inHand: 1, restarted: true }
const booked = (order: string, tenant: string): LedgerEntry => ({ kind: "booked", key: `k${order}`, tenant, order, bodyHash: "h", at: 1 })
const runOf = (id: string, startedAt: number, finishedAt: number, status = "succeeded") =>
  ({ id, status, startedAt, finishedAt, steps: [] }) as unknown as Evidence["records"][number]["runs"][number]
const deliveryOf = (id: string, runId: string) =>
  ({ id, repeats: 0, receivedAt: 50, runs: [{ runId }] }) as unknown as Evidence["records"][number]["deliveries"][number]
const sentOrder = (orderId: number, tenant: string) => ({ tenant, orderId, webhookId: `w${orderId}`, bytes: 2000, tries: 1, status: 200 })

const good: Evidence = {
  sent: { orders: [sentOrder(1, "a"), sentOrder(2, "b")], duplicates: [], forged: { status: 401, said: "" } },
  records: [
    { tenant: "a", deliveries: [deliveryOf("d1", "r1")], runs: [runOf("r1", 60, 70)] },
    { tenant: "b", deliveries: [deliveryOf("d2", "r2")], runs: [runOf("r2", 90, 250)] }
  ],
  ledger: [booked("1", "a"), booked("2", "b")],
  crash
}
const denied = (evidence: Evidence): ReadonlyArray<string> => prove(evidence).flatMap(({ claim, holds }) => (holds ? [] : [claim]))

describe("the proof", () => {
  it("holds when all books agree", () => assert.deepStrictEqual(denied(good), []))
  it("notices an order that the ERP never got", () =>
    assert.includeMembers([...denied({ ...good, ledger: [booked("1", "a")] })], ["Nothing was lost, says the ERP's ledger"]))
  it("notices an order that was booked twice, even under another key", () => {
    const ledger: ReadonlyArray<LedgerEntry> = [...good.ledger, { ...booked("2", "b"), key: "other" } as LedgerEntry]
    assert.deepStrictEqual(denied({ ...good, ledger }), ["Nothing was done twice, says the ERP's ledger"])
  })
  it("notices another tenant's credential", () =>
    assert.deepStrictEqual(denied({ ...good, ledger: [booked("1", "b"), booked("2", "b")] }), ["Each with its own tenant's credential"]))
  it("notices an event that nobody sent, and a forgery that was let in", () => {
    const claim = "Every order is recorded once, the forged one is not"
    const [first, second] = good.records
    const extra = { ...first!, deliveries: [...first!.deliveries, deliveryOf("d3", "r3")] }
    assert.deepStrictEqual(denied({ ...good, records: [extra, second!] }), [claim])
    assert.deepStrictEqual(denied({ ...good, sent: { ...good.sent, forged: { status: 200, said: "" } } }), [claim])
  })
  it("notices a run that did not succeed", () => {
    const records = [good.records[0]!, { ...good.records[1]!, runs: [runOf("r2", 90, 250, "failed")] }]
    assert.deepStrictEqual(denied({ ...good, records }), ["Every order ran once and succeeded"])
  })
  it("admits when the crash hit nothing", () =>
    assert.deepStrictEqual(denied({ ...good, crash: { ...crash, killedAt: 300 } }), ["The crash hit work that was under way"]))
})
