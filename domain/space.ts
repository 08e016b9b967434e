/** A space: one software company's project, which owns connectors, flows and tenants. */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Aggregate } from "./decider.ts"
import { eventFamily } from "./event-family.ts"
import { ApiKeyId, SpaceKey } from "./ids.ts"

export type SpaceName = typeof SpaceName.Type
export const SpaceName = Schema.Trimmed.check(Schema.isMinLength(1), Schema.isMaxLength(100))

export type SpaceCommand = typeof SpaceCommand.Type
export const SpaceCommand = Schema.TaggedUnion({
  CreateSpace: { spaceKey: SpaceKey, name: SpaceName },
  RenameSpace: { name: SpaceName },
  /** The key that the installation itself gave out, as the first one or in place of a lost one. */
  RecordAdminKey: { keyId: ApiKeyId }
})
export type SpaceEvent = typeof SpaceEvent.Type
export const SpaceEvent = Schema.TaggedUnion({
  SpaceCreated: { spaceKey: SpaceKey, name: SpaceName },
  SpaceRenamed: { name: SpaceName },
  AdminKeyIssued: { keyId: ApiKeyId }
})
const { AdminKeyIssued, SpaceCreated, SpaceRenamed } = SpaceEvent.cases

/** Null: never created. */
export type SpaceState = { readonly name: string; readonly adminKeyId: ApiKeyId | null } | null

export class SpaceNotFound extends Schema.TaggedError<SpaceNotFound>()("SpaceNotFound", {}) {
  override get message() {
    return "There is no such space. Nothing was changed. Check the space of the API key."
  }
}

const whenThere = (state: SpaceState, decide: (space: NonNullable<SpaceState>) => ReadonlyArray<SpaceEvent>) =>
  state === null ? Result.fail(new SpaceNotFound()) : Result.succeed(decide(state))

/** Stream `space-self` of the space. */
export const space: Aggregate<SpaceState, SpaceCommand, SpaceEvent, SpaceNotFound> = {
  kind: "space",
  version: 1,
  events: eventFamily(SpaceEvent),
  initialState: null,
  decide: (command, state) =>
    SpaceCommand.match(command, {
      CreateSpace: ({ spaceKey, name }) => Result.succeed(state === null ? [SpaceCreated.make({ spaceKey, name })] : []),
      RenameSpace: ({ name }) => whenThere(state, (space) => (space.name === name ? [] : [SpaceRenamed.make({ name })])),
      RecordAdminKey: ({ keyId }) => whenThere(state, (space) => (space.adminKeyId === keyId ? [] : [AdminKeyIssued.make({ keyId })]))
    }),
  evolve: (state, event) =>
    SpaceEvent.match(event, {
      SpaceCreated: ({ name }): SpaceState => ({ name, adminKeyId: null }),
      SpaceRenamed: ({ name }) => state && { ...state, name },
      AdminKeyIssued: ({ keyId }) => state && { ...state, adminKeyId: keyId }
    })
}
