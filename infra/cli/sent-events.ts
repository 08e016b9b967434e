/** Reads server-sent events out of a stream of text. */

export interface SentEvent {
  /** Resumes after it, as `Last-Event-ID`. */
  readonly id?: string
  readonly event: string
  readonly data: string
}

/** Takes text in pieces that may end anywhere, and hands over each event when it is complete. */
export const sentEventsReader = (take: (event: SentEvent) => void): ((text: string) => void) => {
  let rest = ""
  return (text) => {
    // A carriage return at the end may be half of a line's end.
    rest += text
    const held = rest.endsWith("\r") ? 1 : 0
    const blocks = rest
      .slice(0, rest.length - held)
      .replace(/\r\n?/gu, "\n")
      .split("\n\n")
    rest = `${blocks.pop()!}${held === 1 ? "\r" : ""}`
    for (const block of blocks) {
      const event = eventOf(block)
      if (event !== undefined) take(event)
    }
  }
}

/** Undefined for comments, which only keep the connection open. */
const eventOf = (block: string): SentEvent | undefined => {
  let id: string | undefined
  let event = "message"
  const data: Array<string> = []
  for (const line of block.split("\n")) {
    const colon = line.indexOf(":")
    if (colon === 0) continue
    const name = colon === -1 ? line : line.slice(0, colon)
    const value = colon === -1 ? "" : line.slice(colon + 1).replace(/^ /u, "")
    if (name === "id") id = value
    else if (name === "event") event = value
    else if (name === "data") data.push(value)
  }
  if (data.length === 0) return undefined
  return { ...(id === undefined ? {} : { id }), event, data: data.join("\n") }
}
