import { assert, describe, it } from "vitest"
import { RetentionCommand, RetentionEvent, retention, retentionStreamId, retiredIds } from "#domain/retention.ts"
import { given } from "../support/given.ts"
import { replays } from "../support/replays.ts"

const batch = { streams: [{ stream: "run-a", hash: "00" }, { stream: "delivery-b.1" }], olderThan: 5 }
const retired = RetentionEvent.cases.StreamsRetired.make(batch)

describe("retention", () => {
  it("records what was removed, with the last hash of each", () =>
    given(retention).when(RetentionCommand.cases.RecordRetired.make(batch)).decides(retired))
  it("records nothing when nothing was", () =>
    given(retention)
      .when(RetentionCommand.cases.RecordRetired.make({ ...batch, streams: [] }))
      .decides())
  it("tells each view its own rows", () => {
    assert.deepStrictEqual(retiredIds(retired, "run"), ["a"])
    assert.deepStrictEqual(retiredIds(retired, "delivery"), ["b.1"])
    assert.deepStrictEqual(retiredIds(retired, "flow"), [])
  })
  it("keeps a stream per UTC day", () => assert.strictEqual(retentionStreamId(Date.UTC(2026, 10, 20, 23, 59)), "20261120"))
  replays(retention, RetentionEvent)
})
