/** Compares what stores give with the history that they went through: every single read is right, or says that it is not. */
import { hashBeforeFirst, nextHash, recordText, rowChecksum } from "#adapters/sqlite/event-record.ts"
import { rowCells } from "#adapters/sqlite/journal-protocol.ts"
import { streamName } from "#domain/scope.ts"
import { type AppendIntent, eventTypes, type History, origin, snapshotVersion, tenantOf } from "./history.ts"
import type { OpenStores } from "./stores.ts"

export interface Verdict {
  /** Position of the newest event that the stores own up to. */
  readonly head: number
  readonly eventsSeen: number
  /** Reads that failed, by their reasons: damage that was not hidden. */
  readonly told: ReadonlyArray<unknown>
  /** Reads that gave something else than the history, without a word. */
  readonly silent: ReadonlyArray<string>
}

interface Event {
  readonly position: number
  readonly text: string
}
const originText = JSON.stringify(origin)

/** All that an event says, except its hash. */
const eventText = (fields: ReadonlyArray<string | number | null>): string => JSON.stringify(fields)
const eventsOfCells = (cells: ReadonlyArray<string | number | null>): ReadonlyArray<Event> =>
  Array.from({ length: cells.length / rowCells }, (_, row) => {
    const event = cells.slice(row * rowCells, (row + 1) * rowCells)
    return { position: event[0] as number, text: eventText(event.slice(1, -1)) }
  })

const streamOf = ({ tenant, local }: { readonly tenant: string; readonly local: AppendIntent["local"] }) =>
  streamName(tenantOf(tenant), local)
const eventsOfIntent = (intent: AppendIntent): ReadonlyArray<string> =>
  intent.events.map(({ id, type, data }, index) => {
    const { space, key } = tenantOf(intent.tenant)
    const revision = intent.expected + 1 + index
    return eventText([space, key, streamOf(intent), revision, id, type, eventTypes[type], intent.at, originText, data])
  })

/** What there should be, made once for many comparisons. */
export class Oracle {
  readonly history: History
  private readonly appends: ReadonlyArray<AppendIntent>
  private readonly textOf: ReadonlyMap<AppendIntent, ReadonlyArray<string>>
  private readonly knownTexts: ReadonlySet<string>
  private readonly byStream: ReadonlyMap<string, ReadonlyArray<AppendIntent>>
  /** Streams whose retirement was asked for, with the number of that intent. */
  private readonly retired: ReadonlyMap<string, number>

  constructor(history: History) {
    this.history = history
    this.appends = history.intents.filter((intent) => intent.is === "append")
    this.textOf = new Map(this.appends.map((intent) => [intent, eventsOfIntent(intent)]))
    this.knownTexts = new Set([...this.textOf.values()].flat())
    this.byStream = Map.groupBy(this.appends, streamOf)
    this.retired = new Map(history.intents.filter((intent) => intent.is === "retire").map((intent) => [streamOf(intent), intent.number]))
  }

  /** `acknowledged`: numbers of what must be there in any case. */
  compare(stores: OpenStores, acknowledged: ReadonlySet<number>): Verdict {
    const told: Array<unknown> = []
    const silent: Array<string> = []
    const looked = <A>(read: () => A): A | undefined => {
      try {
        return read()
      } catch (cause) {
        told.push(cause)
        return undefined
      }
    }
    const { head } = stores.writer
    const feed = looked(() => readFeed(stores))
    if (feed !== undefined) this.compareFeed(feed, head, acknowledged, silent)
    for (const [stream, appends] of this.byStream) {
      this.compareStream(stores, stream, appends, head, looked, silent)
      const isRetired = acknowledged.has(this.retired.get(stream) ?? -1)
      const rows = isRetired ? looked(() => stores.queries.readStream(tenantOf(appends[0]!.tenant).key, stream, 0, 1)) : undefined
      if (rows !== undefined && rows.length > 0) silent.push(`the retirement of ${stream} was acknowledged, and its events are there`)
    }
    this.compareContents(stores, head, looked, told, silent)
    this.compareSecrets(stores, acknowledged, looked, told, silent)
    looked(() => this.compareWork(stores, head, silent))
    return { head, eventsSeen: feed?.length ?? 0, told, silent }
  }

  /** Position of an append's last event, if it is known. */
  private positionOf(intent: AppendIntent, seen: ReadonlyMap<string, number>): number | undefined {
    return this.history.acknowledged.get(intent.number)?.value ?? seen.get(this.textOf.get(intent)!.at(-1)!)
  }

  private compareFeed(feed: ReadonlyArray<Event>, head: number, acknowledged: ReadonlySet<number>, silent: Array<string>): void {
    const seen = new Map(feed.map(({ position, text }) => [text, position]))
    for (const { position, text } of feed)
      if (!this.knownTexts.has(text)) silent.push(`the feed gives what nobody wrote, at ${position}: ${text}`)
    if (seen.size !== feed.length) silent.push(`the feed gives ${feed.length - seen.size} events twice`)
    if (feed.some(({ position }, index) => index > 0 && position <= feed[index - 1]!.position)) silent.push("the feed is out of order")
    for (const intent of this.appends) {
      const texts = this.textOf.get(intent)!
      const there = texts.filter((text) => seen.has(text)).length
      const retirement = this.retired.get(streamOf(intent))
      const position = this.positionOf(intent, seen)
      if (there > 0 && there < texts.length) silent.push(`append ${intent.number} is there by ${there} of ${texts.length} events`)
      if (there === texts.length && position !== undefined && seen.get(texts.at(-1)!) !== position)
        silent.push(`append ${intent.number} is at ${seen.get(texts.at(-1)!)}, not at ${position}`)
      if (there > 0 || retirement !== undefined || position === undefined) continue
      if (acknowledged.has(intent.number)) silent.push(`append ${intent.number} at ${position} was acknowledged and is not in the feed`)
      else if (position <= head) silent.push(`append ${intent.number} at ${position} is missing in the feed before the head at ${head}`)
    }
  }

  private compareStream(
    stores: OpenStores,
    stream: string,
    appends: ReadonlyArray<AppendIntent>,
    head: number,
    looked: <A>(read: () => A) => A | undefined,
    silent: Array<string>
  ): void {
    const scope = tenantOf(appends[0]!.tenant).key
    const wanted = appends.filter(({ number }) => (this.history.acknowledged.get(number)?.value ?? Number.POSITIVE_INFINITY) <= head)
    const known = appends.flatMap((intent) => this.textOf.get(intent)!)
    const expected = wanted.flatMap((intent) => this.textOf.get(intent)!)
    const judge = (given: ReadonlyArray<string>, from: number, how: string) => {
      if (given.length === 0 && this.retired.has(stream)) return
      if (given.length + from < expected.length)
        silent.push(`${how} of ${stream} gives ${given.length + from} of ${expected.length} events`)
      else if (given.some((text, index) => text !== known[index + from]))
        silent.push(`${how} of ${stream} gives events that are not its own`)
    }
    const texts = looked(() => eventsOfCells(stores.queries.readStream(scope, stream, 0, -1)).map(({ text }) => text))
    if (texts !== undefined) judge(texts, 0, "reading")
    const loaded = looked(() => stores.queries.load(scope, stream, snapshotVersion))
    if (loaded === undefined || loaded.retired) {
      if (loaded !== undefined && !this.retired.has(stream)) silent.push(`${stream} is said to be retired`)
      return
    }
    if (loaded.snapshot !== null && !this.isSnapshotOf(stream, loaded.snapshot)) silent.push(`${stream} has a snapshot that nobody saved`)
    judge(
      eventsOfCells(loaded.events).map(({ text }) => text),
      (loaded.snapshot?.revision ?? -1) + 1,
      "loading"
    )
  }

  private isSnapshotOf(stream: string, { revision, state }: { readonly revision: number; readonly state: string }): boolean {
    return this.history.intents.some(
      (intent) => intent.is === "snapshot" && intent.revision === revision && intent.state === state && streamOf(intent) === stream
    )
  }

  private compareContents(
    stores: OpenStores,
    head: number,
    looked: <A>(read: () => A) => A | undefined,
    told: Array<unknown>,
    silent: Array<string>
  ): void {
    for (const intent of this.appends) {
      const position = this.history.acknowledged.get(intent.number)?.value
      if (position === undefined || position > head || this.retired.has(streamOf(intent))) continue
      for (const { slot, text } of intent.contents) {
        const reply = looked(() => stores.queries.openContents(tenantOf(intent.tenant).key, [streamOf(intent)], [slot]))
        if (reply === undefined) continue
        if ("gone" in reply) told.push(`content ${reply.why}`)
        else if (Buffer.from(reply.contents[0]!).toString() !== text) silent.push(`the content ${slot} is another`)
      }
    }
  }

  private compareSecrets(
    stores: OpenStores,
    acknowledged: ReadonlySet<number>,
    looked: <A>(read: () => A) => A | undefined,
    told: Array<unknown>,
    silent: Array<string>
  ): void {
    for (const intent of this.history.intents) {
      if (intent.is !== "secret") continue
      const version = this.history.acknowledged.get(intent.number)?.value
      const opened = looked(() => stores.vault.get(tenantOf(intent.tenant).key, intent.owner, intent.field, version ?? 1))
      if (opened === undefined) continue
      if ("secret" in opened) {
        if (opened.secret !== intent.secret) silent.push(`the secret ${intent.field} is another`)
      } else if (acknowledged.has(intent.number)) silent.push(`the secret ${intent.field} was acknowledged and is ${opened.gone}`)
      else if (opened.gone === "damaged") told.push("secret damaged")
    }
  }

  /** Open work is what the newest append said that said anything. */
  private compareWork(stores: OpenStores, head: number, silent: Array<string>): void {
    const { items } = stores.queries.workDue(Number.MAX_SAFE_INTEGER, 100_000, null, null)
    const given = new Map(
      Array.from({ length: items.length / 4 }, (_, row) => [items[row * 4 + 2] as string, items[row * 4 + 3] as number])
    )
    for (const [stream, appends] of this.byStream) {
      if (this.retired.has(stream)) {
        given.delete(stream)
        continue
      }
      const dueAfter = (intents: ReadonlyArray<AppendIntent>) =>
        intents.findLast(({ workDue }) => workDue !== undefined)?.workDue ?? undefined
      const there = appends.filter(({ number }) => (this.history.acknowledged.get(number)?.value ?? Number.POSITIVE_INFINITY) <= head)
      const possible = appends.map((_, count) => dueAfter(appends.slice(0, count + 1))).slice(Math.max(0, there.length - 1))
      if (there.length === 0) possible.push(undefined)
      if (!possible.includes(given.get(stream))) silent.push(`the open work of ${stream} is ${given.get(stream)}, not ${possible[0]}`)
      given.delete(stream)
    }
    for (const [stream, due] of given) silent.push(`${stream} has open work at ${due} that nobody gave it`)
  }
}

const readFeed = (stores: OpenStores): ReadonlyArray<Event> => {
  const events: Array<Event> = []
  for (let after = 0; ; ) {
    const page = stores.queries.readFeed(after, 500, null)
    events.push(...eventsOfCells(page.events))
    if (page.atHead) return events
    if (page.position <= after) throw new Error(`The feed does not go on behind ${after}.`)
    after = page.position
  }
}

const everyAppend = `
SELECT a.position, a.stream_id, a.revision, a.count, a.at, a.hash, a.checksum, a.contents, a.origin, a.events,
  c.bucket || '/' || c.key || '/' || s.local AS stream
FROM appends a LEFT JOIN streams s ON s.id = a.stream_id LEFT JOIN scopes c ON c.id = s.scope_id ORDER BY a.stream_id, a.revision`

/** The first stream that the index of names should have and has not: no structure says so. */
const unnamedStreams = `
SELECT min(s.id) AS unnamed FROM streams s LEFT JOIN stream_names n ON n.number = s.number AND n.stream_id = s.id
WHERE n.stream_id IS NULL AND s.id <= coalesce((SELECT CAST(value AS INTEGER) FROM meta WHERE name = 'namesIndexedTo'), 0)`

interface AppendRow {
  readonly position: number
  readonly stream_id: number
  readonly revision: number
  readonly count: number
  readonly at: number
  readonly hash: string
  readonly checksum: number
  readonly contents: string | null
  readonly origin: string
  readonly events: string
  /** Null: the stream or its scope is not stored. */
  readonly stream: string | null
}

/** The first thing that is wrong with a file's structure, its rows' checksums or its streams' chains of hashes; reads everything. */
export const damageOnClosestLook = ({ db }: OpenStores): string | undefined => {
  const [first] = db.prepare("PRAGMA integrity_check(1)").all() as unknown as ReadonlyArray<{ readonly integrity_check: string }>
  if (first?.integrity_check !== "ok") return first?.integrity_check
  let before = { stream: "", revision: -1, hash: "" }
  for (const row of db.prepare(everyAppend).iterate() as unknown as Iterable<AppendRow>) {
    const { position, stream_id, revision, count, at, hash, checksum, contents, origin, events, stream } = row
    if (stream === null) return `the stream ${stream_id} is not stored, or its scope is not`
    if (stream !== before.stream) before = { stream, revision: -1, hash: hashBeforeFirst(stream) }
    const record = recordText(at, origin, contents, events)
    if (rowChecksum(position, stream_id, revision, count, hash, record) !== checksum) return `the checksum at ${position}`
    if (revision - count !== before.revision) return `${stream} jumps from revision ${before.revision} to ${revision}`
    if (nextHash(before.hash, record) !== hash) return `the chain of hashes of ${stream}, at ${position}`
    before = { stream, revision, hash }
  }
  const { unnamed } = db.prepare(unnamedStreams).get() as { readonly unnamed: number | null }
  return unnamed === null ? undefined : `the stream ${unnamed} is not found by its name`
}
