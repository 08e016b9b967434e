/** What is hashed of an event: the stream's chain of hashes (R33), and the checksum of its row. Pinned: stored hashes depend on it. */
import { hash } from "node:crypto"
import { crc32 } from "node:zlib"

/**
 * The stored bytes of an event, as text. None of the parts before the data holds a line break (ids and types are checked, JSON
 * text is written without), so the parts cannot be shifted against each other.
 */
export const recordText = (
  id: string,
  type: string,
  version: number,
  at: number,
  origin: string,
  contents: string | null,
  data: string
): string => `${id}\n${type}@${version}\n${at}\n${origin}\n${contents ?? ""}\n${data}`

/** The hash before a stream's first event: its name, so that no event fits into another stream. */
export const hashBeforeFirst = (stream: string): string => hash("sha256", stream)

/** SHA-256 over the stream's hash before the event and the event's record, hex. */
export const nextHash = (before: string, record: string): string => hash("sha256", `${before}\n${record}`)

/** Different for each place in the log: a change of one number alone always changes it, as odd factors lose nothing modulo 2^32. */
const seedOf = (position: number, streamId: number, revision: number): number =>
  (position ^ (position / 2 ** 32) ^ Math.imul(streamId, 0x9e3779b1) ^ Math.imul(revision, 0x85ebca77)) >>> 0

/** CRC-32 over everything in the row. */
export const rowChecksum = (position: number, streamId: number, revision: number, eventHash: string, record: string): number =>
  crc32(record, crc32(eventHash, seedOf(position, streamId, revision)))
