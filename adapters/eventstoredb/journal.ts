/** The journal on EventStoreDB: a stream of the server per stream, exact revisions, contents in the same append. */
import { randomUUID } from "node:crypto"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { Position } from "#domain/ids.ts"
import { bucketOf, type Scope, type StreamName } from "#domain/scope.ts"
import {
  type Append,
  type Appended,
  type AppendRejected,
  Journal,
  type LoadedStream,
  type StoredSnapshot
} from "#services/ports/journal.ts"
import type { JournalUnavailable } from "#services/ports/unavailable.ts"
import { Appender } from "./appender.ts"
import { attempt } from "./attempt.ts"
import { refusalOf } from "./connection.ts"
import { type ContentStores, contentMetadata } from "./contents.ts"
import { jsonBytes, noMetadata, Store, type StoreDriver } from "./driver.ts"
import { EventTypes } from "./event-types.ts"
import type { RawEvent } from "./read-calls.ts"
import { contentType, type ReadEvent, retiredType } from "./recorded-event.ts"
import { StoreRefused } from "./refusal.ts"
import { Snapshots } from "./snapshots.ts"
import { type RetiredMark, StreamHeads } from "./stream-heads.ts"
import { readStreamEvents, verifyChain } from "./stream-reader.ts"

export interface JournalOptions extends ContentStores {
  /** The id that the vault knows its journal by: a new log takes it, a log with another one is refused. Left out: one is made. */
  readonly journalId?: string
  /** The newest version of each event type that this release can read: a journal with newer ones is refused. */
  readonly eventTypes: Readonly<Record<string, number>>
  /** Largest append: its events' fields and its contents together. */
  readonly appendBytesMax?: number
  /** The server's own `MaxAppendSize`; what exceeds it lies beside the journal, as far as it is content. */
  readonly storeBytesMax?: number
}

const appendBytesMaxDefault = 8 * 1024 * 1024
const storeBytesMaxDefault = 1024 * 1024
export const identityStream = "tributary-journal"

/** What the ports on this journal share. */
export class OpenedJournal extends Context.Service<
  OpenedJournal,
  {
    readonly journalId: string
    readonly appender: Appender
    readonly contents: ContentStores
    /** Position of the newest event that this process wrote. */
    readonly newestOwn: () => Position | null
  }
>()("tributary/adapters/eventstoredb/OpenedJournal") {
  static readonly layer = (options: JournalOptions): Layer.Layer<OpenedJournal, StoreRefused, Store> =>
    Layer.effect(
      OpenedJournal,
      Effect.gen(function* () {
        const driver = yield* Store
        return yield* Effect.tryPromise({
          try: async () => {
            const types = new EventTypes(driver)
            await types.open(options.eventTypes)
            const contents = { keys: options.keys, large: options.large }
            const appender = new Appender(driver, new StreamHeads(driver.reads), types, contents, {
              appendBytesMax: options.appendBytesMax ?? appendBytesMaxDefault,
              storeBytesMax: options.storeBytesMax ?? storeBytesMaxDefault
            })
            const journalId = await identity(driver, options.journalId)
            return OpenedJournal.of({ journalId, appender, contents, newestOwn: () => appender.newestOwn })
          },
          catch: (cause) => refusalOf(cause) as StoreRefused
        })
      })
    )
}

/** Made once for the life of the log; of several first starts, one wins. */
const identity = async (driver: StoreDriver, known: string | undefined): Promise<string> => {
  for (;;) {
    const there = (await driver.reads.stream({ stream: identityStream, limit: 1 }))?.[0]
    if (there !== undefined) {
      const { journalId } = JSON.parse(Buffer.from(there.data).toString("utf8")) as { readonly journalId: string }
      if (known === undefined || known === journalId) return journalId
      throw new StoreRefused({
        kind: "WrongVault",
        reason: `The vault and the journal on EventStoreDB at ${driver.endpoint} belong to different installations. Nothing was changed. Give the URLs of one, or restore both from one backup.`
      })
    }
    const data = jsonBytes({ journalId: known ?? randomUUID() })
    await driver.append(identityStream, -1, [{ id: randomUUID(), type: "journal", json: true, data, metadata: noMetadata }])
  }
}

/** A caller asked for a stream that is not its scope's: a defect, never an answer. */
class ForeignStream extends Error {
  override readonly name = "ForeignStream"
  constructor(scope: Scope, stream: StreamName) {
    super(`${stream} does not belong to ${scope.key}. Nothing was read or written.`)
  }
}
const within = <A, E>(scope: Scope, stream: StreamName, effect: () => Effect.Effect<A, E>): Effect.Effect<A, E> =>
  stream.startsWith(`${bucketOf(scope.key)}/${scope.key}/`) ? effect() : Effect.die(new ForeignStream(scope, stream))

export const journal: Layer.Layer<Journal, never, Store | OpenedJournal> = Layer.effect(
  Journal,
  Effect.gen(function* () {
    const driver = yield* Store
    const { journalId, appender, contents } = yield* OpenedJournal
    const snapshots = new Snapshots(driver, contents.keys)
    const streams = new Streams(driver, appender, contents, snapshots)
    return Journal.of({
      facts: { maxAppendBytes: appender.bytesMax, durable: "server", soleWriter: false },
      journalId,
      append: (append) => within(append.scope, append.stream, () => appended(appender, append)),
      appendTogether: null,
      load: (scope, stream, version) => within(scope, stream, () => attempt(() => streams.load(scope, stream, version))),
      readStream: (scope, stream, options) =>
        within(scope, stream, () => attempt(() => streams.read(stream, options?.from ?? 0, options?.limit ?? Number.POSITIVE_INFINITY))),
      saveSnapshot: (scope, stream, version, snapshot) =>
        within(scope, stream, () => attempt(() => streams.saveSnapshot(scope, stream, version, snapshot))),
      retire: (scope, stream, revision) => within(scope, stream, () => attempt(() => streams.retire(scope, stream, revision)))
    })
  })
)

const appended = (appender: Appender, append: Append): Effect.Effect<Appended, AppendRejected | JournalUnavailable> =>
  Effect.flatMap(
    attempt(() => appender.append(append)),
    (answer) => ("_tag" in answer ? Effect.fail(answer) : Effect.succeed(answer))
  )

/** What is read of streams, and the little that is written to them beside appends. */
class Streams {
  private readonly driver: StoreDriver
  private readonly appender: Appender
  private readonly contents: ContentStores
  private readonly snapshots: Snapshots

  constructor(driver: StoreDriver, appender: Appender, contents: ContentStores, snapshots: Snapshots) {
    this.driver = driver
    this.appender = appender
    this.contents = contents
    this.snapshots = snapshots
  }

  async load(scope: Scope, stream: StreamName, version: number): Promise<LoadedStream> {
    const snapshot = await this.snapshots.newest(scope.key, stream, version)
    const { events, retired } =
      snapshot === null
        ? await readStreamEvents(this.driver.reads, stream, 0, Number.POSITIVE_INFINITY)
        : await readStreamEvents(this.driver.reads, stream, snapshot.revision, Number.POSITIVE_INFINITY, snapshot.serverRevision)
    if (retired) return { snapshot: null, events: [], retired: true }
    // The event that the snapshot was made at must be there: a snapshot ahead of its stream is none.
    if (snapshot !== null && events[0]?.event.revision !== snapshot.revision) return this.loadWhole(stream)
    this.keepHead(stream, events.at(-1))
    return {
      snapshot: snapshot === null ? null : { revision: snapshot.revision, state: snapshot.state },
      events: events.slice(snapshot === null ? 0 : 1).map(({ event }) => event),
      retired: false
    }
  }

  async read(stream: StreamName, from: number, limit: number) {
    const { events } = await readStreamEvents(this.driver.reads, stream, from, limit)
    if (from <= 0 && limit === Number.POSITIVE_INFINITY) verifyChain(stream, events)
    return events.map(({ event }) => event)
  }

  async saveSnapshot(scope: Scope, stream: StreamName, version: number, { revision, state }: StoredSnapshot): Promise<void> {
    const head = this.appender.heads.known(stream) ?? (await this.appender.heads.refresh(stream))
    if (head.retired || head.revision < revision) return
    // Contents only push events behind: this revision of the server lies at or before the event.
    const serverRevision = head.revision === revision ? head.serverRevision : revision
    await this.snapshots.save(scope.key, stream, version, { revision, serverRevision, state })
  }

  /** Each step can be repeated: a marker first, then the events go, then what lies beside. */
  retire(scope: Scope, stream: StreamName, revision: number): Promise<boolean> {
    return this.appender.inOrder(stream, async () => {
      const head = await this.appender.heads.refresh(stream)
      if (head.revision !== revision) return false
      const large = head.retired ? [] : await this.largeIds(stream)
      if (!head.retired) {
        const mark: RetiredMark = { revision, hash: head.hash, at: Date.now(), space: scope.space }
        const event = { id: randomUUID(), type: retiredType, json: true, data: jsonBytes(mark), metadata: noMetadata }
        const answer = await this.driver.append(stream, head.serverRevision, [event])
        this.appender.heads.forget(stream)
        if (answer.is !== "written") return false
      }
      await this.driver.keepNewest(stream, 1)
      await this.snapshots.drop(stream)
      if (large.length > 0) await this.contents.large.remove(large)
      return true
    })
  }

  private async loadWhole(stream: StreamName): Promise<LoadedStream> {
    const { events, retired } = await readStreamEvents(this.driver.reads, stream, 0, Number.POSITIVE_INFINITY)
    return { snapshot: null, events: events.map(({ event }) => event), retired }
  }

  private keepHead(stream: StreamName, last: ReadEvent | undefined): void {
    const known = this.appender.heads.known(stream)
    if (last === undefined || (known !== undefined && known.revision >= last.event.revision)) return
    const { event, serverRevision } = last
    this.appender.heads.keep(stream, { revision: event.revision, serverRevision, hash: event.hash, retired: false })
  }

  private async largeIds(stream: StreamName): Promise<ReadonlyArray<string>> {
    const raws: ReadonlyArray<RawEvent> = (await this.driver.reads.stream({ stream, limit: Number.MAX_SAFE_INTEGER })) ?? []
    return raws.flatMap((raw) => (raw.type === contentType ? (contentMetadata(raw)?.large ?? []) : []))
  }
}
