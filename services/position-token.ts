/** Read-your-writes tokens: what a caller has seen, as `<journal id>:<position>`, so that positions of two journals are never compared (R22). */
import * as Data from "effect/Data"
import * as Result from "effect/Result"
import type { Position } from "#domain/ids.ts"

/** 400: it is none of our tokens. */
export class PositionMalformed extends Data.TaggedError("PositionMalformed")<{ readonly token: string }> {
  override get message() {
    return "This is not a position: it must be the x-position of an earlier answer, unchanged. Nothing was read."
  }
}
/** 409: it was given out by another installation, or before this one's journal was replaced. */
export class PositionForeign extends Data.TaggedError("PositionForeign")<{ readonly journalId: string }> {
  override get message() {
    return `The position is of another journal than this one (${this.journalId}). Nothing was read. Leave it out, and read anew.`
  }
}

const pattern = /^([0-9a-zA-Z-]{1,64}):([0-9A-Za-z/_-]{1,64})$/u

export const writePositionToken = (journalId: string, position: Position): string => `${journalId}:${position}`

export const readPositionToken = (journalId: string, token: string): Result.Result<Position, PositionMalformed | PositionForeign> => {
  const found = pattern.exec(token)
  if (found === null) return Result.fail(new PositionMalformed({ token: token.slice(0, 64) }))
  return found[1] === journalId ? Result.succeed(found[2] as Position) : Result.fail(new PositionForeign({ journalId }))
}
