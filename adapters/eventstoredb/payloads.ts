/** Contents on EventStoreDB: found in the stream that owns them, newest first, or beside the journal. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { type ContentRef, ownerOf, slotOf } from "#domain/content.ts"
import { type LocalName, type SpaceScope, streamName, type TenantScope } from "#domain/scope.ts"
import { ContentGone, Payloads } from "#services/ports/payloads.ts"
import type { JournalUnavailable } from "#services/ports/unavailable.ts"
import { attempt } from "./attempt.ts"
import { type ContentPlaces, type ContentStores, contentMetadata, openContent } from "./contents.ts"
import { Store } from "./driver.ts"
import { OpenedJournal } from "./journal.ts"
import type { RawEvent, ReadCalls } from "./read-calls.ts"
import { contentType, retiredType } from "./recorded-event.ts"

/** Events of one read backwards: an append's contents lie together. */
const pageMax = 32
/** Streams that are read at the same time. */
const streamsAtOnce = 16

export const layer: Layer.Layer<Payloads, never, Store | OpenedJournal> = Layer.effect(
  Payloads,
  Effect.gen(function* () {
    const { reads } = yield* Store
    const { appender, contents } = yield* OpenedJournal
    const owned = new OwnedContents(reads, contents, appender.places)
    return Payloads.of({ open: (scope, refs) => openAll(owned, scope, refs) })
  })
)

const openAll = (
  owned: OwnedContents,
  scope: SpaceScope | TenantScope,
  refs: ReadonlyArray<ContentRef>
): Effect.Effect<ReadonlyArray<Uint8Array>, ContentGone | JournalUnavailable> => {
  const owners = new Map<LocalName, Set<string>>()
  for (const ref of refs) {
    const slots = owners.get(ownerOf(ref))
    if (slots === undefined) owners.set(ownerOf(ref), new Set([slotOf(ref)]))
    else slots.add(slotOf(ref))
  }
  return Effect.gen(function* () {
    const found = yield* Effect.forEach(owners, ([owner, slots]) => attempt(() => owned.open(scope.key, streamName(scope, owner), slots)), {
      concurrency: streamsAtOnce
    })
    const byOwner = new Map([...owners.keys()].map((owner, index) => [owner, found[index]!] as const))
    const opened: Array<Uint8Array> = []
    for (const ref of refs) {
      const content = byOwner.get(ownerOf(ref))!(slotOf(ref))
      if (typeof content === "string") return yield* new ContentGone({ ref, why: content })
      opened.push(content)
    }
    return opened
  })
}

type Opened = Uint8Array | "retired" | "absent" | "damaged"

/** The contents of one stream after the other. */
class OwnedContents {
  private readonly reads: ReadCalls
  private readonly contents: ContentStores
  private readonly places: ContentPlaces

  constructor(reads: ReadCalls, contents: ContentStores, places: ContentPlaces) {
    this.reads = reads
    this.contents = contents
    this.places = places
  }

  async open(scope: string, stream: string, wanted: ReadonlySet<string>): Promise<(slot: string) => Opened> {
    const opened = new Map<string, Opened>()
    await Promise.all(
      Array.from(wanted, async (slot) => {
        const content = await this.openAtPlace(scope, stream, slot)
        if (content !== null) opened.set(slot, content)
      })
    )
    return opened.size === wanted.size ? (slot) => opened.get(slot)! : this.search(scope, stream, wanted, opened)
  }

  /** Null: its place is not known, or it is not there any more. */
  private async openAtPlace(scope: string, stream: string, slot: string): Promise<Opened | null> {
    const from = this.places.get(stream, slot)
    const raw = from === undefined ? undefined : (await this.reads.stream({ stream, from, limit: 1 }))?.[0]
    if (raw === undefined || raw.serverRevision !== from || raw.type !== contentType) return null
    const metadata = contentMetadata(raw)
    return metadata?.slot === slot ? openContent(this.contents, scope, raw, metadata) : null
  }

  /** Looks from the newest event backwards until every slot was found. */
  private async search(
    scope: string,
    stream: string,
    wanted: ReadonlySet<string>,
    opened: Map<string, Opened>
  ): Promise<(slot: string) => Opened> {
    let from: number | undefined
    while (opened.size < wanted.size) {
      const page: ReadonlyArray<RawEvent> | null = await this.reads.stream({
        stream,
        backwards: true,
        limit: pageMax,
        ...(from === undefined ? {} : { from })
      })
      if (page === null || page.length === 0) break
      if (page[0]!.type === retiredType) return () => "retired"
      for (const raw of page) {
        const metadata = raw.type === contentType ? contentMetadata(raw) : null
        if (metadata === null || !wanted.has(metadata.slot) || opened.has(metadata.slot)) continue
        this.places.set(stream, metadata.slot, raw.serverRevision)
        opened.set(metadata.slot, await openContent(this.contents, scope, raw, metadata))
      }
      const oldest = page.at(-1)!.serverRevision
      if (oldest === 0) break
      from = oldest - 1
    }
    return (slot) => opened.get(slot) ?? "absent"
  }
}
