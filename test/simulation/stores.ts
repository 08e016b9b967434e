/** Journal, feed, open work, payloads and vault over what outlives the processes: one I/O for each call. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import { ownerOf, slotOf } from "#domain/content.ts"
import type { Position } from "#domain/ids.ts"
import { bucketOf, kindAndIdOf, localNameOf, type Scope, type ScopeKey, type StreamName, streamName } from "#domain/scope.ts"
import { Feed, type FeedPage, type FeedQuery } from "#services/ports/feed.ts"
import {
  type Append,
  type Appended,
  type AppendRejected,
  AppendTooLarge,
  Journal,
  type LoadedStream,
  RevisionConflict,
  type StoredEvent,
  StreamRetired
} from "#services/ports/journal.ts"
import { OpenWork } from "#services/ports/open-work.ts"
import type { Buckets } from "#services/ports/ownership.ts"
import { ContentGone, Payloads } from "#services/ports/payloads.ts"
import { JournalUnavailable, VaultUnavailable } from "#services/ports/unavailable.ts"
import { SecretGone, type SecretRef, Vault } from "#services/ports/vault.ts"
import type { DurableLog, Written } from "./durable-log.ts"
import type { DurableVault, Opened } from "./durable-vault.ts"
import type { Gate, Port } from "./gate.ts"

export const appendBytesMaxUsual = 16 * 1024 * 1024
const reason = "a simulated fault"
/** Until a client gives up waiting for its store. */
const storeTimeoutMillis = 5_000

const journalDown = () => Exit.fail(new JournalUnavailable({ written: "no", reason }))
const journalUnknown = () => Exit.fail(new JournalUnavailable({ written: "unknown", reason }))
const vaultDown = () => Exit.fail(new VaultUnavailable({ written: "no", reason }))
const vaultUnknown = () => Exit.fail(new VaultUnavailable({ written: "unknown", reason }))

const ownsStream = (scope: Scope, stream: StreamName): boolean => streamName(scope, localNameOf(stream)) === stream
const bytesOf = (content: Uint8Array | string): Uint8Array =>
  typeof content === "string" ? Buffer.from(content) : Uint8Array.from(content)

export interface Stored {
  readonly log: DurableLog
  readonly vault: DurableVault
  /** Epoch milliseconds in truth: whatever the processes' clocks say. */
  readonly now: () => number
  /** Where several processes share the buckets, each knows the open work of its own alone. */
  readonly owned?: () => Buckets
  readonly takenOver?: Stream.Stream<unknown>
}

/** Asking the journal's store something that changes nothing. */
const reading =
  (gate: Gate) =>
  <A, E>(port: Port, what: string, perform: () => Exit.Exit<A, E>): Effect.Effect<A, E | JournalUnavailable> =>
    gate.io<A, E | JournalUnavailable>({ port, what, perform, refused: journalDown, timeoutMillis: storeTimeoutMillis })

const journalOver = ({ log, now, owned }: Stored, gate: Gate, appendBytesMax: number): Journal["Service"] => {
  const read = reading(gate)
  const within = <A, E>(scope: Scope, stream: StreamName, effect: () => Effect.Effect<A, E>): Effect.Effect<A, E> =>
    ownsStream(scope, stream) ? Effect.suspend(effect) : Effect.die(new Error(`${stream} does not belong to ${scope.key}.`))

  const refused = ({ expected, stream }: Append, outcome: Exclude<Written, { readonly _tag: "Written" }>) =>
    Exit.fail(
      outcome._tag === "Retired" ? new StreamRetired({ stream }) : new RevisionConflict({ stream, expected, actual: outcome.actual })
    )
  const written = (append: Append, contents: ReadonlyArray<Uint8Array>): Exit.Exit<Appended, AppendRejected> => {
    const outcome = log.append(append, contents, gate.writer, now())
    return outcome._tag === "Written"
      ? Exit.succeed({ revision: outcome.revision, position: outcome.position, repeated: outcome.repeated })
      : refused(append, outcome)
  }
  const appendAll = (appends: ReadonlyArray<Append>): Effect.Effect<ReadonlyArray<Appended>, AppendRejected | JournalUnavailable> => {
    const contents = appends.map((append) => append.contents.map(({ bytes }) => bytesOf(bytes)))
    let bytes = 0
    for (const { events } of appends) for (const { data } of events) bytes += Buffer.byteLength(data)
    for (const content of contents.flat()) bytes += content.length
    if (bytes > appendBytesMax) return Effect.fail(new AppendTooLarge({ bytes, limitBytes: appendBytesMax }))
    const names = appends.map(({ events, expected, stream }) => `${stream}@${expected} ${events.map(({ type }) => type).join(",")}`)
    return gate.io<ReadonlyArray<Appended>, AppendRejected | JournalUnavailable>({
      port: "journal",
      what: `append ${names.join(" + ")}`,
      perform: () => {
        // Looked at first: all of them are written, or none.
        for (const append of appends.length > 1 ? appends : []) {
          const refusal = log.refusalOf(append)
          if (refusal !== undefined) return refused(append, refusal)
        }
        const done: Array<Appended> = []
        for (const [index, append] of appends.entries()) {
          const outcome = written(append, contents[index]!)
          if (Exit.isFailure(outcome)) return Exit.failCause(outcome.cause)
          done.push(outcome.value)
        }
        return Exit.succeed(done)
      },
      refused: journalDown,
      unknown: journalUnknown,
      timeoutMillis: storeTimeoutMillis
    })
  }
  const load = (stream: StreamName, version: number): LoadedStream => {
    const found = log.streams.get(stream)
    if (found === undefined) return { snapshot: null, events: [], retired: false }
    if (found.retired) return { snapshot: null, events: [], retired: true }
    const stored = found.snapshots.get(version)
    const snapshot = stored !== undefined && stored.revision <= found.revision ? stored : null
    return { snapshot, events: found.events.slice(snapshot === null ? 0 : snapshot.revision + 1), retired: false }
  }
  return Journal.of({
    facts: { maxAppendBytes: appendBytesMax, durable: "fsync", soleWriter: owned === undefined },
    journalId: log.journalId,
    append: (given) => within(given.scope, given.stream, () => Effect.map(appendAll([given]), ([appended]) => appended!)),
    // As the real stores: where several processes share the journal, it cannot.
    appendTogether: owned === undefined ? appendAll : null,
    load: (scope, stream, version) =>
      within(scope, stream, () => read("journal", `load ${stream}`, () => Exit.succeed(load(stream, version)))),
    readStream: (scope, stream, { from = 0, limit = Number.POSITIVE_INFINITY } = {}) =>
      within(scope, stream, () =>
        read("journal", `readStream ${stream}`, () => Exit.succeed(log.streams.get(stream)?.events.slice(from, from + limit) ?? []))
      ),
    saveSnapshot: (scope, stream, version, snapshot) =>
      within(scope, stream, () =>
        read("journal", `saveSnapshot ${stream}`, () => {
          const snapshots = log.streams.get(stream)?.snapshots
          if (snapshots !== undefined && (snapshots.get(version)?.revision ?? -1) < snapshot.revision) snapshots.set(version, snapshot)
          return Exit.void
        })
      ),
    retire: (scope, stream, revision) =>
      within(scope, stream, () => read("journal", `retire ${stream}`, () => Exit.succeed(log.retire(stream, revision))))
  })
}

const feedOver = ({ log }: Stored, gate: Gate): Feed["Service"] => {
  const pageOf = ({ after, limit, streamPrefixes, kinds }: FeedQuery): FeedPage => {
    const from = after === null ? 0 : Number(after)
    const seen = log.all.slice(from, from + limit)
    const wanted = ({ stream }: StoredEvent) =>
      (streamPrefixes === undefined || streamPrefixes.some((prefix) => stream.startsWith(prefix))) &&
      (kinds === undefined || kinds.includes(kindAndIdOf(stream).kind))
    const end = from + seen.length
    return {
      events: seen.filter((event) => event !== undefined).filter(wanted),
      position: seen.length === 0 ? after : (String(end).padStart(16, "0") as Position),
      atHead: end >= log.all.length
    }
  }
  const read = (query: FeedQuery) => reading(gate)("feed", "read", () => Exit.succeed(pageOf(query)))
  const follow = (query: FeedQuery): Stream.Stream<FeedPage, JournalUnavailable> =>
    Stream.paginate({ after: query.after, wait: false }, ({ after, wait }) =>
      Effect.gen(function* () {
        while (wait && (after ?? "") >= (log.head ?? "")) yield* gate.changed((wake) => log.onAppend(wake))
        const page = yield* read({ ...query, after })
        return [[page], Option.some({ after: page.position, wait: page.atHead })] as const
      })
    )
  return Feed.of({ read, head: Effect.suspend(() => reading(gate)("feed", "head", () => Exit.succeed(log.head))), follow })
}

const openWorkOver = ({ log, owned, takenOver = Stream.succeed(undefined) }: Stored, gate: Gate): OpenWork["Service"] => {
  const read = reading(gate)
  const isOwned = (key: ScopeKey) => owned === undefined || owned().has(bucketOf(key))
  return OpenWork.of({
    takenOver: Stream.map(takenOver, () => undefined),
    due: ({ before, limit, key, after }) =>
      read("open-work", `due ${key ?? "all"}`, () =>
        Exit.succeed(log.due(before, limit, ({ key: of }) => (key === undefined || key === of) && isOwned(of), after))
      ),
    summary: Effect.suspend(() =>
      read("open-work", "summary", () => {
        const [first] = log.due(Number.POSITIVE_INFINITY, 1, ({ key }) => isOwned(key), undefined)
        return Exit.succeed({ open: log.open.size, earliestDueAt: first?.dueAt ?? null })
      })
    )
  })
}

const payloadsOver = ({ log }: Stored, gate: Gate): Payloads["Service"] =>
  Payloads.of({
    open: (scope, refs) =>
      reading(gate)("payloads", `open ${refs.join(" ")}`, () => {
        const contents: Array<Uint8Array> = []
        for (const ref of refs) {
          const stream = log.streams.get(streamName(scope, ownerOf(ref)))
          const bytes = stream?.contents.get(slotOf(ref))
          if (bytes === undefined) return Exit.fail(new ContentGone({ ref, why: stream?.retired ? "retired" : "absent" }))
          contents.push(bytes)
        }
        return Exit.succeed(contents)
      })
  })

const vaultOver = ({ vault }: Stored, gate: Gate): Vault["Service"] => {
  const ask = <A, E = never>(what: string, perform: () => Exit.Exit<A, E>, changes = false): Effect.Effect<A, E | VaultUnavailable> =>
    gate.io<A, E | VaultUnavailable>({
      port: "vault",
      what,
      perform,
      refused: vaultDown,
      timeoutMillis: storeTimeoutMillis,
      ...(changes ? { unknown: vaultUnknown } : {})
    })
  const opened = (ref: SecretRef, found: Opened): Exit.Exit<string, SecretGone> =>
    "secret" in found ? Exit.succeed(found.secret) : Exit.fail(new SecretGone({ ...ref, why: found.gone }))
  return Vault.of({
    put: ({ key }, ref, secret) => ask(`put ${ref.field}`, () => Exit.succeed(vault.put(key, ref, Redacted.value(secret))), true),
    get: ({ key }, ref, atLeast) => ask(`get ${ref.field}`, () => Exit.map(opened(ref, vault.get(key, ref, atLeast)), Redacted.make)),
    remove: ({ key }, ref) => ask(`remove ${ref.field}`, () => Exit.succeed(vault.remove(key, ref)), true),
    nameDigest: ({ key }, kind, text) => ask(`nameDigest ${kind}`, () => Exit.succeed(vault.nameDigest(key, kind, text))),
    sealField: ({ key }, field, text) => ask(`sealField ${field}`, () => Exit.succeed(vault.sealField(key, field, text))),
    openField: ({ key }, field, sealed) =>
      ask(`openField ${field}`, () => opened({ owner: key, field }, vault.openField(key, field, sealed)))
  })
}

export const storesLayer = (stored: Stored, gate: Gate, appendBytesMax = appendBytesMaxUsual) =>
  Layer.mergeAll(
    Layer.succeed(Journal, journalOver(stored, gate, appendBytesMax)),
    Layer.succeed(Feed, feedOver(stored, gate)),
    Layer.succeed(OpenWork, openWorkOver(stored, gate)),
    Layer.succeed(Payloads, payloadsOver(stored, gate)),
    Layer.succeed(Vault, vaultOver(stored, gate))
  )
