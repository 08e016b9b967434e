/** Contents of appends: each sealed on its own, as an event of the same append, or beside it when it is too large for one. */
import { createHash } from "node:crypto"
import { RecentMap } from "#adapters/memory/recent-map.ts"
import { contentsText, slotEntry } from "#adapters/sealing/append-contents.ts"
import type { LargeContents } from "#adapters/sealing/large-contents.ts"
import type { ScopeKeys } from "#adapters/sealing/scope-keys.ts"
import { keyedHash, seal, unseal } from "#adapters/sealing/sealing.ts"
import type { Append } from "#services/ports/journal.ts"
import type { ProposedEvent } from "./append-calls.ts"
import { jsonBytes } from "./driver.ts"
import type { RawEvent } from "./read-calls.ts"
import { contentType } from "./recorded-event.ts"

/** Contents whose place in their stream is held in memory; about 150 bytes each. */
const placesMax = 32_768

/** Larger ones lie beside the journal. */
const inlineBytesMax = 256 * 1024

export interface ContentMetadata {
  readonly slot: string
  readonly keyVersion: number
  /** The revision of the append's last event. */
  readonly revision: number
  /** Where it lies beside the journal; then the event holds no data. */
  readonly large?: string
}
export interface SealedContents {
  readonly events: ReadonlyArray<ProposedEvent>
  /** Slots, lengths and the keyed hash of all of them behind each other: a part of the stream's hash. */
  readonly text: string
  /** Made durable beside the journal; of no use when the append is refused. */
  readonly largeIds: ReadonlyArray<string>
}

/** The same for each try of the same append: the store recognises a repeat by ids. */
const contentEventId = (firstEvent: string, slot: string): string => {
  const digest = createHash("sha256").update(`content\n${firstEvent}\n${slot}`).digest("hex")
  return `${digest.slice(0, 8)}-${digest.slice(8, 12)}-8${digest.slice(13, 16)}-a${digest.slice(17, 20)}-${digest.slice(20, 32)}`
}

const contentContext = (stream: string, revision: number, slot: string, keyVersion: number): string =>
  `content\n${keyVersion}\n${stream}\n${revision}\n${slot}`

export interface ContentStores {
  readonly keys: ScopeKeys
  readonly large: LargeContents
}

/** The server's revision of contents that this process wrote or found lately. */
export class ContentPlaces {
  private readonly places = new RecentMap<string, number>(placesMax)

  get(stream: string, slot: string): number | undefined {
    return this.places.get(`${stream}#${slot}`)
  }

  set(stream: string, slot: string, serverRevision: number): void {
    this.places.set(`${stream}#${slot}`, serverRevision)
  }
}

/** Seals them for an append that ends at `revision`; `room` is what the append still takes. Large ones are durable when it is done. */
export const sealContents = async (
  { keys, large }: ContentStores,
  { scope, stream, events, contents }: Append,
  revision: number,
  room: number
): Promise<SealedContents> => {
  const key = await keys.toSeal(scope.key, "log")
  const plain = contents.map(({ bytes }) => (typeof bytes === "string" ? Buffer.from(bytes, "utf8") : bytes))
  const slots = contents.map(({ slot }, index) => slotEntry(slot, plain[index]!.length)).join(",")
  const text = contentsText(slots, keyedHash(key.hashKey, Buffer.concat(plain)))
  const proposed: Array<ProposedEvent> = []
  const largeIds: Array<string> = []
  let left = room
  for (const [index, { slot }] of contents.entries()) {
    const id = contentEventId(events[0].id, slot)
    const sealed = seal(key.key, contentContext(stream, revision, slot, key.version), plain[index]!)
    const inline: ContentMetadata = { slot, keyVersion: key.version, revision }
    const bytes = sealed.length + contentOverhead(slot)
    if (sealed.length <= inlineBytesMax && bytes <= left) {
      left -= bytes
      proposed.push({ id, type: contentType, json: false, data: new Uint8Array(sealed), metadata: jsonBytes(inline) })
      continue
    }
    const beside = `${stream}#${slot}#${id}`
    await large.put(beside, sealed)
    largeIds.push(beside)
    const metadata: ContentMetadata = { ...inline, large: beside }
    proposed.push({ id, type: contentType, json: false, data: new Uint8Array(), metadata: jsonBytes(metadata) })
  }
  return { events: proposed, text, largeIds }
}

/** More than a content's event needs beside its data. */
const contentOverhead = (slot: string): number => 160 + slot.length

export const contentMetadata = (raw: RawEvent): ContentMetadata | null => {
  try {
    return JSON.parse(Buffer.from(raw.metadata).toString("utf8")) as ContentMetadata
  } catch {
    return null
  }
}

export const openContent = async (
  { keys, large }: ContentStores,
  scope: string,
  raw: RawEvent,
  { slot, keyVersion, revision, large: beside }: ContentMetadata
): Promise<Uint8Array | "absent" | "damaged"> => {
  const sealed = beside === undefined ? raw.data : await large.get(beside)
  if (sealed === undefined) return "damaged"
  const key = await keys.toOpen(scope, "log", keyVersion)
  if (key === undefined) return "absent"
  return unseal(key.key, contentContext(raw.stream, revision, slot, keyVersion), sealed) ?? "damaged"
}
