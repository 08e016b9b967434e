/** The contents of one append: packed behind each other and sealed as one; where each lies stands in the append's row. */

/** `<slot>=<bytes>` of each content, in their order: bound by the seal. */
export const slotEntry = (slot: string, bytes: number): string => `${slot}=${bytes}`

/** What the append's row says of its contents: their slots, then the keyed hash of the whole pack. */
export const contentsText = (slots: string, hash: string): string => `${slots};${hash}`

/** What the seal of an append's contents is bound to; the stream's name holds its scope. */
export const contentsContext = (stream: string, revision: number, slots: string, keyVersion: number): string =>
  `contents\n${keyVersion}\n${stream}\n${revision}\n${slots}`

export interface ContentPlace {
  /** As they were sealed. */
  readonly slots: string
  readonly hash: string
  readonly start: number
  readonly end: number
}

/** Where a slot lies in the pack of an append, or null when it is not there. */
export const placeOf = (contents: string, slot: string): ContentPlace | null => {
  const border = contents.lastIndexOf(";")
  const slots = contents.slice(0, border)
  let start = 0
  for (const entry of slots.split(",")) {
    const equals = entry.lastIndexOf("=")
    const end = start + Number(entry.slice(equals + 1))
    if (entry.slice(0, equals) === slot) return { slots, hash: contents.slice(border + 1), start, end }
    start = end
  }
  return null
}
