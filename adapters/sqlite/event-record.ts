/** What is hashed of an append: the stream's chain of hashes (R33), and the checksum of its row. Pinned: stored hashes depend on it. */
import { hash } from "node:crypto"
import { crc32 } from "node:zlib"

/** An event in the form that is stored: three lines. None of its parts holds a line break: ids and types are checked, data is JSON. */
export const eventLines = (id: string, type: string, version: number, data: string): string => `${id}\n${type}@${version}\n${data}`
export const linesPerEvent = 3

/**
 * The stored bytes of an append, as text; `events` are the lines of its events. No part before them holds a line break, so the
 * parts cannot be shifted against each other.
 */
export const recordText = (at: number, origin: string, contents: string | null, events: string): string =>
  `${at}\n${origin}\n${contents ?? ""}\n${events}`

/** The hash before a stream's first append: its name, so that no append fits into another stream. */
export const hashBeforeFirst = (stream: string): string => hash("sha256", stream)

/** SHA-256 over the stream's hash before the append and the append's record, hex. */
export const nextHash = (before: string, record: string): string => hash("sha256", `${before}\n${record}`)

/** Different for each place in the log: a change of one number alone always changes it, as odd factors lose nothing modulo 2^32. */
const seedOf = (position: number, streamId: number, revision: number, events: number): number =>
  (position ^ (position / 2 ** 32) ^ Math.imul(streamId, 0x9e3779b1) ^ Math.imul(revision, 0x85ebca77) ^ Math.imul(events, 0xc2b2ae3d)) >>>
  0

/** CRC-32 over everything in the row but the sealed contents, which carry an authentication tag. */
export const rowChecksum = (
  position: number,
  streamId: number,
  revision: number,
  events: number,
  appendHash: string,
  record: string
): number => crc32(record, crc32(appendHash, seedOf(position, streamId, revision, events)))
