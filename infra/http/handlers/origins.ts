/** Origins of requests that give more than one command. */
import type { Origin } from "#domain/recorded.ts"

/** Two commands of one request on one stream: each is remembered by an id of its own, else the second would pass for a repeat. */
export const partOf = (origin: Origin, part: string): Origin =>
  origin.commandId === undefined ? origin : { ...origin, commandId: `${origin.commandId}.${part}` }
