import { assert, describe, it } from "vitest"
import { fold } from "#domain/decider.ts"
import type { Position } from "#domain/ids.ts"
import { markMillis, marksMax, positionBefore, RelayCommand, RelayEvent, relay, within } from "#domain/relay.ts"
import { given } from "../support/given.ts"
import { replays } from "../support/replays.ts"

const { AdvanceRelay, ReleaseRelay, TakeRelay } = RelayCommand.cases
const { RelayAdvanced, RelayReleased, RelayTaken } = RelayEvent.cases
const at = (number: number) => String(number).padStart(16, "0") as Position
const taken = RelayTaken.make({ member: "one", epoch: 1 })
const step = { member: "one", epoch: 1, position: at(10), target: "stream@1", messages: 4, at: 1_000 }
const advanced = RelayAdvanced.make(step)

describe("relay", () => {
  it("is taken by whoever comes first", () =>
    given(relay)
      .when(TakeRelay.make({ member: "one", epoch: 0, position: null }))
      .decides(taken))
  it("is refused to who comes second with the same knowledge", () =>
    given(relay, taken)
      .when(TakeRelay.make({ member: "two", epoch: 0, position: null }))
      .rejects("RelayNotYours"))
  it("records how far its holder is", () => given(relay, taken).when(AdvanceRelay.make(step)).decides(advanced))
  it("records nothing when nothing moved", () => given(relay, taken, advanced).when(AdvanceRelay.make(step)).decides())
  it("records the way back to the start of the window after a wipe", () => {
    const back = { ...step, position: null, target: "stream@2", messages: 0 }
    given(relay, taken, advanced).when(AdvanceRelay.make(back)).decides(RelayAdvanced.make(back))
  })
  it("changes hands when its holder has not moved", () =>
    given(relay, taken, advanced)
      .when(TakeRelay.make({ member: "two", epoch: 1, position: at(10) }))
      .decides(RelayTaken.make({ member: "two", epoch: 2 })))
  it("does not change hands when its holder has moved meanwhile", () =>
    given(relay, taken, advanced)
      .when(TakeRelay.make({ member: "two", epoch: 1, position: null }))
      .rejects("RelayNotYours"))
  it("stops a holder that was replaced", () =>
    given(relay, taken, RelayTaken.make({ member: "two", epoch: 2 }))
      .when(AdvanceRelay.make(step))
      .rejects("RelayNotYours"))
  it("stops a holder that was replaced by a later life of itself", () =>
    given(relay, taken, RelayTaken.make({ member: "one", epoch: 2 }))
      .when(AdvanceRelay.make(step))
      .rejects("RelayNotYours"))
  it("is handed back by its holder alone", () => {
    given(relay, taken)
      .when(ReleaseRelay.make({ member: "one", epoch: 1 }))
      .decides(RelayReleased.make({ member: "one", epoch: 1 }))
    given(relay, taken)
      .when(ReleaseRelay.make({ member: "two", epoch: 1 }))
      .decides()
  })
  it("knows from where a window begins, and begins at the first event where it does not", () => {
    const hours = Array.from({ length: 300 }, (_, hour) => RelayAdvanced.make({ ...step, position: at(hour), at: hour * markMillis }))
    const state = fold(relay, relay.initialState, [
      taken,
      ...hours,
      RelayAdvanced.make({ ...step, position: at(999), at: 299 * markMillis + 1 })
    ])
    assert.lengthOf(state.marks, marksMax)
    assert.strictEqual(positionBefore(state, 250 * markMillis + 5), at(250))
    assert.strictEqual(positionBefore(state, 299 * markMillis + 5), at(299))
    assert.strictEqual(positionBefore(state, 50 * markMillis), null)
  })
  replays(relay, RelayEvent)
  it("knows no position of a log that it was moved from, and keeps the marks of its own alone", () => {
    const here = fold(relay, relay.initialState, [taken, RelayAdvanced.make({ ...step, journal: "here" })])
    assert.deepInclude(within(here, "there"), { position: null, marks: [], epoch: 1 })
    assert.strictEqual(within(here, "here"), here)
    const there = fold(relay, relay.initialState, [
      taken,
      RelayAdvanced.make({ ...step, journal: "here" }),
      RelayAdvanced.make({ ...step, journal: "there", position: at(2) })
    ])
    assert.deepStrictEqual(there.marks, [{ at: 1_000, position: at(2) }])
  })
})
