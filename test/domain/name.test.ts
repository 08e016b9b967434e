import { describe, it } from "vitest"
import { NameCommand, NameEvent, NameTaken, name } from "#domain/name.ts"
import { given } from "../support/given.ts"
import { replays } from "../support/replays.ts"

const mine = { kind: "tenant", target: "t1" }
const claimed = NameEvent.cases.NameClaimed.make(mine)
const claim = NameCommand.cases.ClaimName.make

describe("a name", () => {
  it("belongs to who claims it first", () => given(name).when(claim(mine)).decides(claimed))
  it("stays with its bearer when claimed again", () => given(name, claimed).when(claim(mine)).decides())
  it("is refused to anybody else, and tells whose it is", () => {
    given(name, claimed)
      .when(claim({ kind: "tenant", target: "t2" }))
      .rejects(new NameTaken(mine))
    given(name, claimed)
      .when(claim({ kind: "space", target: "t1" }))
      .rejects(new NameTaken(mine))
  })
  replays(name, NameEvent)
})
