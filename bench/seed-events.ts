/** `node bench/seed-events.ts <folder> <events>`: fills a journal with copies of the deliveries and runs that it holds, under new ids. */
import { randomBytes, randomUUID } from "node:crypto"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as journal from "#adapters/sqlite/journal.ts"
import type { EventId } from "#domain/ids.ts"
import { eventVersions } from "#domain/registry.ts"
import { kindAndIdOf, type Scope, streamName } from "#domain/scope.ts"
import { Feed } from "#services/ports/feed.ts"
import { Journal, type NewEvent, type StoredEvent } from "#services/ports/journal.ts"
import { dataFolderOf, masterKeyIn } from "./embedded.ts"

const [folder, wanted] = process.argv.slice(2) as [string, string]
const pageEvents = 10_000
/** Enough to fill the journal's group commits. */
const atOnce = 1_024
const base32 = "abcdefghijklmnopqrstuvwxyz234567"
const newId = () => Array.from(randomBytes(26), (byte) => base32[byte & 31]).join("")

/** One delivery or run, to be copied. */
interface Sample {
  readonly kind: string
  readonly id: string
  readonly scope: Scope
  readonly events: Array<StoredEvent>
}

const samplesOf = (events: ReadonlyArray<StoredEvent>): ReadonlyArray<Sample> => {
  const samples = new Map<string, Sample>()
  for (const event of events) {
    const { kind, id } = kindAndIdOf(event.stream)
    if (kind !== "delivery" && kind !== "run") continue
    const sample = samples.get(event.stream) ?? { kind, id, scope: event.scope, events: [] }
    samples.set(event.stream, sample)
    sample.events.push(event)
  }
  return [...samples.values()]
}

/** The streams under new ids, which name each other as the old ones do. */
const copy = (samples: ReadonlyArray<Sample>) => {
  const ids = new Map(samples.map(({ id }) => [id, newId()]))
  const renamed = (text: string) => text.replace(/[a-z2-7]{26}/gu, (found) => ids.get(found) ?? found)
  return samples.map(({ kind, id, scope, events }) => ({
    scope,
    stream: streamName(scope, `${kind}-${ids.get(id)}`),
    expected: -1,
    events: events.map(
      ({ type, version, data }): NewEvent => ({ id: randomUUID() as EventId, type, version, data: renamed(JSON.stringify(data)) })
    ) as [NewEvent, ...Array<NewEvent>],
    contents: [],
    origin: events[0]!.origin,
    at: events[0]!.at,
    workDue: null
  }))
}

const seed = Effect.gen(function* () {
  const { append } = yield* Journal
  const { events } = yield* (yield* Feed).read({ after: null, limit: pageEvents })
  const samples = samplesOf(events)
  const perCopy = samples.reduce((sum, sample) => sum + sample.events.length, 0)
  if (perCopy === 0) return yield* Effect.die(new Error(`${folder} holds no delivery to copy.`))
  const copies = Math.ceil(Number(wanted) / perCopy)
  yield* Effect.forEach(
    Array.from({ length: copies }),
    () => Effect.forEach(copy(samples), append, { concurrency: "unbounded", discard: true }),
    { concurrency: Math.ceil(atOnce / samples.length), discard: true }
  )
})

const layer = journal
  .layer({
    journalFile: join(dataFolderOf(folder), "journal.db"),
    vaultFile: join(dataFolderOf(folder), "vault.db"),
    eventTypes: eventVersions
  })
  .pipe(Layer.provide(masterKeyIn(folder)))
await Effect.runPromise(Effect.scoped(Effect.provide(seed, layer)))
process.exit(0)
