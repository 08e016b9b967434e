import { describe, it } from "vitest"
import { ApiKeyId, SpaceKey } from "#domain/ids.ts"
import { SpaceCommand, SpaceEvent, SpaceNotFound, space } from "#domain/space.ts"
import { given } from "../support/given.ts"
import { replays } from "../support/replays.ts"

const { CreateSpace, RecordAdminKey, RenameSpace } = SpaceCommand.cases
const { AdminKeyIssued, SpaceCreated, SpaceRenamed } = SpaceEvent.cases
const fields = { spaceKey: SpaceKey.make("saaaabbbbccccddddeee"), name: "Acme" }
const created = SpaceCreated.make(fields)
const keyId = ApiKeyId.make("aaaabbbbcccc")

describe("a space", () => {
  it("is created once; a repeat at the next start changes nothing", () => {
    given(space).when(CreateSpace.make(fields)).decides(created)
    given(space, created)
      .when(CreateSpace.make({ ...fields, name: "Other" }))
      .decides()
  })
  it("is renamed", () => {
    given(space, created)
      .when(RenameSpace.make({ name: "Other" }))
      .decides(SpaceRenamed.make({ name: "Other" }))
    given(space, created)
      .when(RenameSpace.make({ name: "Acme" }))
      .decides()
  })
  it("knows the administrator key that was issued last", () => {
    const issued = AdminKeyIssued.make({ keyId })
    given(space, created).when(RecordAdminKey.make({ keyId })).decides(issued)
    given(space, created, issued).when(RecordAdminKey.make({ keyId })).decides()
  })
  it("cannot be changed before it exists", () => {
    given(space)
      .when(RenameSpace.make({ name: "Other" }))
      .rejects(new SpaceNotFound())
    given(space).when(RecordAdminKey.make({ keyId })).rejects(new SpaceNotFound())
  })
  replays(space, SpaceEvent)
})
