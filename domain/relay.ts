/** The relay: how far the log was published outside, and by whom. Who appends here may publish; the others stand by (R4, R27). */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Aggregate } from "./decider.ts"
import { eventFamily } from "./event-family.ts"
import { Position } from "./ids.ts"

/** Up to where the log was read at a time: what is recorded later lies behind it. */
export interface Mark {
  /** Epoch milliseconds. */
  readonly at: number
  readonly position: Position | null
}
export interface Relay {
  /** Null: nobody's. */
  readonly member: string | null
  /** Rises with every change of hands: a member that was away cannot take itself for the holder. */
  readonly epoch: number
  readonly position: Position | null
  /** Identity of the log that position and marks are of; null before the first. */
  readonly journal: string | null
  /** Where messages were kept; null before the first. */
  readonly target: string | null
  /** The oldest first. */
  readonly marks: ReadonlyArray<Mark>
}

/** Marks are so far apart, and so many are kept: a little more than a week. */
export const markMillis = 3_600_000
export const marksMax = 200

const advanced = {
  member: Schema.String,
  epoch: Schema.Int,
  /** Everything up to here is published; null: nothing, it begins at the first event. */
  position: Schema.NullOr(Position),
  /** Identity of the log that the position is of: after a move it is another one. */
  journal: Schema.optionalKey(Schema.String),
  target: Schema.String,
  /** Messages since the event before. */
  messages: Schema.Int,
  /** Epoch milliseconds at which the log was read. */
  at: Schema.Int
}

export type RelayCommand = typeof RelayCommand.Type
export const RelayCommand = Schema.TaggedUnion({
  /** Epoch and position are what the taker has seen: who has moved since is alive. */
  TakeRelay: { member: Schema.String, epoch: Schema.Int, position: Schema.NullOr(Position) },
  AdvanceRelay: advanced,
  ReleaseRelay: { member: Schema.String, epoch: Schema.Int }
})
export type RelayEvent = typeof RelayEvent.Type
export const RelayEvent = Schema.TaggedUnion({
  RelayTaken: { member: Schema.String, epoch: Schema.Int },
  RelayAdvanced: advanced,
  RelayReleased: { member: Schema.String, epoch: Schema.Int }
})
const { RelayAdvanced, RelayReleased, RelayTaken } = RelayEvent.cases

/** Another member holds it by now: whoever reads this publishes no more. */
export class RelayNotYours extends Schema.TaggedError<RelayNotYours>()("RelayNotYours", {
  member: Schema.NullOr(Schema.String),
  epoch: Schema.Int
}) {
  override get message() {
    return `The relay is in other hands, epoch ${this.epoch}. Nothing was changed. Stand by.`
  }
}

const refuse = ({ member, epoch }: Relay) => Result.fail(new RelayNotYours({ member, epoch }))
const withMark = (marks: ReadonlyArray<Mark>, mark: Mark): ReadonlyArray<Mark> => {
  const last = marks.at(-1)
  return last !== undefined && mark.at - last.at < markMillis ? marks : [...marks.slice(1 - marksMax), mark]
}

/** Stream `relay-self` of the platform. */
export const relay: Aggregate<Relay, RelayCommand, RelayEvent, RelayNotYours> = {
  kind: "relay",
  version: 1,
  events: eventFamily(RelayEvent),
  initialState: { member: null, epoch: 0, position: null, journal: null, target: null, marks: [] },
  decide: (command, state) => {
    const isHolder = state.member === command.member && state.epoch === command.epoch
    switch (command._tag) {
      case "TakeRelay":
        return state.epoch === command.epoch && state.position === command.position
          ? Result.succeed([RelayTaken.make({ member: command.member, epoch: state.epoch + 1 })])
          : refuse(state)
      case "AdvanceRelay": {
        if (!isHolder) return refuse(state)
        const { _tag: _, ...fields } = command
        const isKnown = command.position === state.position && command.target === state.target
        return Result.succeed(isKnown ? [] : [RelayAdvanced.make(fields)])
      }
      case "ReleaseRelay":
        return Result.succeed(isHolder ? [RelayReleased.make({ member: command.member, epoch: command.epoch })] : [])
    }
  },
  evolve: (state, event) =>
    RelayEvent.match(event, {
      RelayTaken: ({ member, epoch }) => ({ ...state, member, epoch }),
      RelayAdvanced: ({ position, journal = null, target, at }) => {
        const marks = journal === state.journal ? state.marks : []
        return { ...state, position, journal, target, marks: withMark(marks, { at, position }) }
      },
      RelayReleased: () => ({ ...state, member: null })
    })
}

/** What is known of positions of this log: those of another one, which was moved here, are none. */
export const within = (state: Relay, journal: string): Relay =>
  state.journal === journal ? state : { ...state, journal, position: null, marks: [] }

/** From where everything recorded since a time is read again; null: from the first event. */
export const positionBefore = ({ marks }: Relay, at: number): Position | null => marks.findLast((mark) => mark.at <= at)?.position ?? null
