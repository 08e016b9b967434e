/** Why a move did not come to its end, in one line for whoever started it. */
import * as Data from "effect/Data"

export class MoveFailed extends Data.TaggedError("MoveFailed")<{ readonly reason: string; readonly cause?: unknown }> {
  override get message() {
    return this.reason
  }
}

/** What a move leaves behind when it ends early. */
export const kept = "The data folder is as it was. Run the same command to go on, or stay with: tributary move --back"
