/** Compares what was carried with what it was carried from: the whole log, the whole vault, and contents by opening them on both sides. */
import { type ContentStores, contentMetadata, openContent } from "#adapters/eventstoredb/contents.ts"
import type { RawEvent, ReadCalls } from "#adapters/eventstoredb/read-calls.ts"
import { contentType, DomainEvent, isDomainEvent, readEvent, retiredType } from "#adapters/eventstoredb/recorded-event.ts"
import type { RetiredMark } from "#adapters/eventstoredb/stream-heads.ts"
import type { VaultTarget } from "#adapters/mongodb/move-target.ts"
import { openSecret } from "#adapters/sealing/secrets.ts"
import type { MoveSource, StoredAppend } from "#adapters/sqlite/move-source.ts"
import type { Position } from "#domain/ids.ts"
import { MoveFailed } from "./failure.ts"
import { patiently } from "./patience.ts"
import type { Progress } from "./progress.ts"

export interface Compared {
  readonly streams: number
  readonly retired: number
  readonly events: number
  /** Appends that were read in their own streams too, and their contents opened on both sides. */
  readonly appendsReadBack: number
  readonly contentsOpened: number
  readonly keys: number
  readonly secrets: number
  readonly secretsOpened: number
}

/** Appends, and secrets, of a sample. */
const sampleMax = 1_000
const pageEvents = 1_000
const readBackAtOnce = 32

const differs = (where: string, what: string): MoveFailed =>
  new MoveFailed({
    reason: `What was carried is not what was there: ${where}: ${what}. Nothing starts on the servers. Empty them and move again, after: tributary move --back`
  })

/** Entries of the other log one after the other, the next page asked for while one is looked at. */
async function* entries(reads: ReadCalls): AsyncIterable<RawEvent> {
  const pageAfter = (after: Position | null) => patiently(() => reads.log({ after, limit: pageEvents }))
  let next = pageAfter(null)
  for (;;) {
    const page = await next
    const last = page.at(-1)
    if (last === undefined) return
    next = pageAfter(last.position)
    next.catch(() => undefined) // Heard of where it is awaited.
    yield* page
  }
}

const compareAppend = (stored: StoredAppend, raws: ReadonlyArray<RawEvent>): void => {
  const { stream, revision, scope, at, origin, hash, events, contents, workDue } = stored
  for (const [index, { id, type, version, data }] of events.entries()) {
    const where = `${stream}, revision ${revision - events.length + 1 + index}`
    const raw = raws[index]
    if (raw === undefined) throw differs(where, "it is missing")
    if (raw.stream !== stream || !isDomainEvent(raw)) throw differs(where, `in its place is an event of ${raw.stream}`)
    const { event, metadata } = readEvent(raw)
    const pairs: ReadonlyArray<readonly [string, unknown, unknown]> = [
      ["id", event.id, id],
      ["type", event.type, type],
      ["version", event.version, version],
      ["revision", event.revision, revision - events.length + 1 + index],
      ["scope", event.scope.key, scope.key],
      ["space", event.scope.space, scope.space],
      ["time", event.at, at],
      ["hash", event.hash, hash],
      ["origin", JSON.stringify(event.origin), JSON.stringify(origin)],
      ["fields", DomainEvent.textOf(event), data],
      ["contents", metadata.contents ?? null, index === 0 ? contents : null],
      ["open work", metadata.workDue ?? null, index === events.length - 1 ? workDue : null]
    ]
    for (const [what, there, here] of pairs) if (there !== here) throw differs(where, `another ${what}`)
  }
}

/** Reads an append in its own stream, with all contents before its events, and nothing behind it where the stream ends. */
const readBack = async (
  reads: ReadCalls,
  stores: ContentStores,
  source: MoveSource,
  stored: StoredAppend,
  firstRevision: number
): Promise<number> => {
  const { stream, revision, scope, events, contents, isLast } = stored
  const where = `${stream}, revision ${revision}`
  const opened = contents === null ? null : source.open(stored)
  const wanted = opened?.contents ?? []
  const from = firstRevision - wanted.length
  const raws = (await patiently(() => reads.stream({ stream, from, limit: wanted.length + events.length + 1 }))) ?? []
  const found = raws.slice(0, wanted.length + events.length)
  if (isLast && raws.length > found.length) throw differs(where, "the stream does not end there")
  for (const [index, { slot, bytes }] of wanted.entries()) {
    const raw = found[index]
    const metadata = raw?.type === contentType ? contentMetadata(raw) : null
    if (raw === undefined || metadata?.slot !== slot) throw differs(where, `the content ${slot} is missing`)
    const content = await openContent(stores, scope.key, raw, metadata)
    if (typeof content === "string") throw differs(where, `the content ${slot} does not open (${content})`)
    if (Buffer.compare(content, Buffer.from(bytes)) !== 0) throw differs(where, `another content ${slot}`)
  }
  compareAppend(stored, found.slice(wanted.length))
  return wanted.length
}

export const compareLog = async (
  source: MoveSource,
  reads: ReadCalls,
  stores: ContentStores,
  options: { readonly all: boolean; readonly appends: number; readonly progress: Progress }
): Promise<Pick<Compared, "streams" | "retired" | "events" | "appendsReadBack" | "contentsOpened">> => {
  const found = { streams: 0, retired: 0, events: 0, appendsReadBack: 0, contentsOpened: 0 }
  const log = entries(reads)[Symbol.asyncIterator]()
  const next = async () => {
    const { value, done } = await log.next()
    return done === true ? undefined : (value as RawEvent)
  }
  for (const { stream, scope, revision, hash } of source.retired(0)) {
    const raw = await next()
    if (raw?.type !== retiredType || raw.stream !== stream) throw differs(stream, "its marker as a retired stream is missing")
    const mark = JSON.parse(Buffer.from(raw.data).toString("utf8")) as RetiredMark
    if (mark.revision !== revision || mark.hash !== hash || mark.space !== scope.space)
      throw differs(stream, "another last revision or hash")
    found.retired++
    found.streams++
  }
  const every = options.all ? 1 : Math.max(1, Math.ceil(options.appends / sampleMax))
  const underWay = new Set<Promise<void>>()
  let failure: unknown
  let count = 0
  for (const stored of source.appends(0)) {
    const raws: Array<RawEvent> = []
    while (raws.length < stored.events.length) {
      const raw = await next()
      if (raw === undefined) break
      raws.push(raw)
    }
    compareAppend(stored, raws)
    if (stored.revision === stored.events.length - 1) found.streams++
    found.events += raws.length
    options.progress.add(raws.length)
    if (count++ % every !== 0) continue
    if (underWay.size >= readBackAtOnce) await Promise.race(underWay)
    if (failure !== undefined) throw failure
    const reading: Promise<void> = readBack(reads, stores, source, stored, raws[0]!.serverRevision).then(
      (opened) => {
        found.appendsReadBack++
        found.contentsOpened += opened
        underWay.delete(reading)
      },
      (cause) => {
        failure ??= cause
        underWay.delete(reading)
      }
    )
    underWay.add(reading)
  }
  await Promise.all(underWay)
  if (failure !== undefined) throw failure
  const more = await next()
  if (more !== undefined) throw differs(more.stream, "it goes on behind the end of this installation's log")
  return found
}

const isSame = (one: Uint8Array | null | undefined, two: Uint8Array | null | undefined): boolean =>
  one === null || one === undefined || two === null || two === undefined ? (one ?? null) === (two ?? null) : Buffer.compare(one, two) === 0

export const compareVault = async (
  source: MoveSource,
  vault: VaultTarget,
  options: { readonly all: boolean; readonly keys: number; readonly secrets: number }
): Promise<Pick<Compared, "keys" | "secrets" | "secretsOpened">> => {
  const found = { keys: 0, secrets: 0, secretsOpened: 0 }
  for await (const key of vault.allKeys()) {
    const where = `the ${key.purpose} key ${key.version} of ${key.scope}`
    if (!isSame(source.wrappedKey(key), key.wrapped)) throw differs(where, "it is another one")
    found.keys++
  }
  const every = options.all ? 1 : Math.max(1, Math.ceil(options.secrets / sampleMax))
  for await (const there of vault.allSecrets()) {
    const where = `the secret ${there.owner}/${there.field} of ${there.scope}`
    const here = source.secret(there)
    if (here === undefined || here.version !== there.version || here.keyVersion !== there.keyVersion)
      throw differs(where, "another version")
    if (!isSame(here.salt, there.salt) || !isSame(here.sealed, there.sealed)) throw differs(where, "it is another one")
    if (found.secrets++ % every !== 0 || there.keyVersion === null || there.salt === null || there.sealed === null) continue
    const key = await vault.keys.toOpen(there.scope, "vault", there.keyVersion)
    const opened = openSecret(key, there, there.version, { keyVersion: there.keyVersion, salt: there.salt, sealed: there.sealed })
    if (JSON.stringify(opened) !== JSON.stringify(source.openSecret(here))) throw differs(where, "it does not open to the same")
    found.secretsOpened++
  }
  if (found.keys !== options.keys) throw differs("the keys", `${found.keys} instead of ${options.keys}`)
  if (found.secrets !== options.secrets) throw differs("the secrets", `${found.secrets} instead of ${options.secrets}`)
  return found
}
