/** A claimed name: who appends first to the stream named by the name's digest has it (DESIGN 3). */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Aggregate } from "./decider.ts"
import { eventFamily } from "./event-family.ts"

const claim = {
  /** What bears the name: `tenant`, `space`. */
  kind: Schema.String,
  /** The key or id of what bears it. */
  target: Schema.String
}
export type NameCommand = typeof NameCommand.Type
export const NameCommand = Schema.TaggedUnion({ ClaimName: claim })
export type NameEvent = typeof NameEvent.Type
export const NameEvent = Schema.TaggedUnion({ NameClaimed: claim })

/** Null: free. */
export type Name = { readonly kind: string; readonly target: string } | null

export class NameTaken extends Schema.TaggedError<NameTaken>()("NameTaken", claim) {
  override get message() {
    return `This name belongs to another ${this.kind} already. Nothing was changed. Choose another name.`
  }
}

/** Stream `name-<digest>` of the scope in which the name is unique. A claim is never given back. */
export const name: Aggregate<Name, NameCommand, NameEvent, NameTaken> = {
  kind: "name",
  version: 1,
  events: eventFamily(NameEvent),
  initialState: null,
  decide: ({ kind, target }, state) => {
    if (state === null) return Result.succeed([NameEvent.cases.NameClaimed.make({ kind, target })])
    return state.kind === kind && state.target === target ? Result.succeed([]) : Result.fail(new NameTaken(state))
  },
  evolve: (_state, { kind, target }) => ({ kind, target })
}
