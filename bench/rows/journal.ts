/** Row `journal`: appends in batches of 1,000 events of 500 bytes through the embedded journal, against a loop of inserts with the same durability. */
import { randomBytes, randomUUID } from "node:crypto"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as journal from "#adapters/sqlite/journal.ts"
import type { EventId, SpaceKey, TenantKey } from "#domain/ids.ts"
import { systemActor } from "#domain/recorded.ts"
import { streamName, tenantScope } from "#domain/scope.ts"
import { type Append, Journal, type NewEvent } from "#services/ports/journal.ts"
import { dataFolderOf, masterKeyIn } from "../embedded.ts"
import { inRounds, type Settings } from "../rounds.ts"
import { type Measured, median, ratioAtLeast } from "../row.ts"
import { newFolder, removeFolder } from "../scratch.ts"

const eventsOfBatch = 1_000
const eventBytes = 500
/** One is written while the next is handed over; more would be written in one transaction, and the loop writes one for each. */
const appendsAtOnce = 2
const eventType = "BenchEventRecorded"

const base32 = "abcdefghijklmnopqrstuvwxyz234567"
const text = (length: number) => Array.from(randomBytes(length), (byte) => base32[byte & 31]).join("")

const event = (): NewEvent => ({
  id: randomUUID() as EventId,
  type: eventType,
  version: 1,
  data: JSON.stringify({ note: text(eventBytes - 11) })
})

/** The batches, made before the clock starts. */
const batches = (count: number) =>
  Array.from({ length: count }, () => Array.from({ length: eventsOfBatch }, event) as unknown as Append["events"])

/** Events a second: one row and one commit per batch, as little as a durable log can do. */
const rawInserts = (folder: string, input: ReadonlyArray<Append["events"]>): number => {
  const db = new DatabaseSync(join(folder, "raw.db"))
  db.exec(
    "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE events(position INTEGER PRIMARY KEY, id TEXT, type TEXT, data TEXT)"
  )
  const insert = db.prepare("INSERT INTO events(id, type, data) VALUES(?, ?, ?)")
  const began = performance.now()
  for (const batch of input) {
    db.exec("BEGIN IMMEDIATE")
    for (const { id, type, data } of batch) insert.run(id, type, data)
    db.exec("COMMIT")
  }
  const seconds = (performance.now() - began) / 1000
  db.close()
  return (input.length * eventsOfBatch) / seconds
}

/** Events a second through the port, one append per batch. */
const appends = (folder: string, input: ReadonlyArray<Append["events"]>): Promise<number> => {
  const scope = tenantScope(`s${text(19)}` as SpaceKey, `t${text(19)}` as TenantKey)
  const origin = { actor: systemActor("bench") }
  const layer = journal
    .layer({
      journalFile: join(dataFolderOf(folder), "journal.db"),
      vaultFile: join(dataFolderOf(folder), "vault.db"),
      eventTypes: { [eventType]: 1 }
    })
    .pipe(Layer.provide(masterKeyIn(folder)))
  const measured = Effect.gen(function* () {
    const { append } = yield* Journal
    // The stream's first event makes the tenant's keys: that is no part of an append.
    const append1 = (stream: string, expected: number, events: Append["events"]) =>
      append({ scope, stream: streamName(scope, `bench-${stream}`), expected, events, contents: [], origin, at: 1_760_000_000_000 })
    yield* append1("warm", -1, [event()])
    const began = performance.now()
    yield* Effect.forEach(input, (events, index) => append1("measured", index * eventsOfBatch - 1, events), {
      concurrency: appendsAtOnce,
      discard: true
    })
    return (input.length * eventsOfBatch) / ((performance.now() - began) / 1000)
  })
  return Effect.runPromise(Effect.scoped(Effect.provide(measured, layer)) as Effect.Effect<number, unknown>)
}

export const journalRow = async (settings: Settings): Promise<ReadonlyArray<Measured>> => {
  const count = settings.quick ? 50 : 150
  const rounds = await inRounds("journal", settings, async () => {
    const folder = newFolder()
    const input = batches(count)
    const reference = rawInserts(folder, input)
    const subject = await appends(folder, input)
    removeFolder(folder)
    return { reference, subject }
  })
  return [
    {
      name: "journal",
      value: median(rounds.map(({ subject }) => subject)),
      unit: "events/s",
      reference: median(rounds.map(({ reference }) => reference)),
      ratio: median(rounds.map(({ subject, reference }) => subject / reference)),
      targets: [ratioAtLeast(0.5)]
    }
  ]
}
