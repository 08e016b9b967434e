/** Positions in the whole log: commit and prepare position, both padded, so that the text sorts like the log. */
import type { Position } from "#domain/ids.ts"

const digits = 20
const shape = /^\d{20}\/\d{20}$/u

export interface LogPosition {
  readonly commit: string
  readonly prepare: string
}

export const positionText = (commit: string, prepare: string): Position =>
  `${commit.padStart(digits, "0")}/${prepare.padStart(digits, "0")}` as Position

/** Another journal's position is a defect of the caller. */
export const logPosition = (position: Position): LogPosition => {
  if (!shape.test(position)) throw new Error(`"${position}" is not a position of this journal.`)
  return { commit: withoutZeros(position.slice(0, digits)), prepare: withoutZeros(position.slice(digits + 1)) }
}

const withoutZeros = (text: string): string => text.replace(/^0+(?=\d)/u, "")

export const laterOf = (one: Position | null, two: Position | null): Position | null =>
  one === null ? two : two === null || one >= two ? one : two
