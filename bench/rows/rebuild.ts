/** Row `rebuild`: the runs view made anew from 500-byte events, three per run, against a raw scan of the same table with `JSON.parse`. */
import "effect/schema/SchemaJITCompiler/enable"
import { randomUUID } from "node:crypto"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { eventLines, hashBeforeFirst, nextHash, recordText, rowChecksum } from "#adapters/sqlite/event-record.ts"
import * as journalReader from "#adapters/sqlite/journal-reader.ts"
import { inTransaction, openJournal } from "#adapters/sqlite/journal-schema.ts"
import * as readModels from "#adapters/sqlite/read-models.ts"
import { nameNumber } from "#adapters/sqlite/stream-names.ts"
import type { SpaceKey, TenantKey } from "#domain/ids.ts"
import { allEvents } from "#domain/registry.ts"
import { bucketOf, streamName, tenantScope } from "#domain/scope.ts"
import { runs } from "#projections/runs.ts"
import { makeEngine } from "#services/projection-engine.ts"
import { inRounds, type Settings } from "../rounds.ts"
import { type Measured, median, ratioAtLeast } from "../row.ts"
import { newFolder, removeFolder } from "../scratch.ts"

const runsCount = 40_000
const tenantsCount = 20
const eventBytes = 500

const base32 = "abcdefghijklmnopqrstuvwxyz234567"
/** Not secret, only spread: ids of runs come in no order. */
let state = 42
const random = (length: number): string => {
  let text = ""
  while (text.length < length) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    text += base32[state >>> 27]
  }
  return text
}

/** The fields of an event with more short ones, up to 500 bytes of JSON: fields of a newer release look like this. */
const sized = (fields: Record<string, unknown>): string => {
  const all: Record<string, unknown> = { ...fields }
  for (let bytes = JSON.stringify(fields).length, more = 0; bytes < eventBytes - 24; bytes += 24) all[`more${1000 + more++}`] = random(12)
  return JSON.stringify(all)
}

/** The three events of one run. */
const eventsOfRun = (runId: string): ReadonlyArray<readonly [type: string, data: string]> => {
  return [
    [
      "RunStarted",
      sized({
        runId,
        flowId: "orders-to-erp",
        version: 3,
        purpose: "route",
        deliveryId: random(26),
        trigger: `delivery-${runId}#body`,
        steps: [
          { id: "order", kind: "transform" },
          { id: "send", kind: "action" }
        ]
      })
    ],
    [
      "StepSucceeded",
      sized({
        step: "send",
        attempt: 1,
        input: `run-${runId}#send.1.in`,
        output: `run-${runId}#send.1.out`,
        durationMillis: 31.5,
        status: 200
      })
    ],
    ["RunSucceeded", sized({ durationMillis: 44 })]
  ]
}

/** A journal as the writer leaves it; runs of several tenants follow each other. */
const fillJournal = (file: string): string => {
  const { db, journalId } = openJournal(file, 4096, { RunStarted: 1, StepSucceeded: 1, RunSucceeded: 1 })
  const space = `s${random(19)}`
  const origin = JSON.stringify({ actor: { kind: "system", id: "runner" }, correlationId: random(26) })
  const keys = Array.from({ length: tenantsCount }, () => `t${random(19)}`)
  const addScope = db.prepare("INSERT INTO scopes(id, space, key, bucket) VALUES(?, ?, ?, ?)")
  const addStream = db.prepare("INSERT INTO streams(id, scope_id, local, number) VALUES(?, ?, ?, ?)")
  const addType = db.prepare("INSERT INTO event_types(type, version) VALUES(?, 1)")
  const addAppend = db.prepare("INSERT INTO appends VALUES(?, ?, ?, 1, ?, ?, NULL, ?, NULL, ?, ?, NULL)")
  const types = ["RunStarted", "StepSucceeded", "RunSucceeded"]
  inTransaction(db, () => {
    for (const type of types) addType.run(type)
    for (const [index, key] of keys.entries()) addScope.run(index + 1, space, key, bucketOf(key as TenantKey))
    let position = 0
    for (let stream = 1; stream <= runsCount; stream++) {
      const runId = random(26)
      const scope = stream % tenantsCount
      const name = streamName(tenantScope(space as SpaceKey, keys[scope] as TenantKey), `run-${runId}`)
      let hash = hashBeforeFirst(name)
      addStream.run(stream, 1 + scope, `run-${runId}`, nameNumber(hash))
      for (const [revision, [type, data]] of eventsOfRun(runId).entries()) {
        position++
        const at = 1_760_000_000_000 + position
        const events = eventLines(randomUUID(), type, 1, data)
        const record = recordText(at, origin, null, events)
        hash = nextHash(hash, record)
        addAppend.run(position, stream, revision, at, rowChecksum(position, stream, revision, 1, hash, record), hash, origin, events)
      }
    }
  })
  db.exec("PRAGMA wal_checkpoint(TRUNCATE)")
  db.close()
  return journalId
}

/** Events per second of the raw loop. */
const rawScan = (file: string): number => {
  const db = new DatabaseSync(file, { readOnly: true })
  const began = performance.now()
  let events = 0
  for (const row of db.prepare("SELECT * FROM appends ORDER BY position").iterate()) {
    JSON.parse((row["events"] as string).split("\n")[2]!)
    events++
  }
  const seconds = (performance.now() - began) / 1000
  db.close()
  return events / seconds
}

/** Events per second of the engine, from the first event until the new view serves. */
const engineRebuild = (folder: string, journalFile: string, journalId: string, round: number): Promise<number> => {
  const began = performance.now()
  const engine = Effect.gen(function* () {
    const { views } = yield* makeEngine([runs], allEvents)
    while ((yield* views.projections)[0]!.serving === null) yield* Effect.sleep(10)
    const [status] = yield* views.projections
    const seconds = (performance.now() - began) / 1000
    if (status!.serving!.rows !== runsCount)
      return yield* Effect.die(new Error(`The rebuild made ${status!.serving!.rows} rows of ${runsCount} runs.`))
    return (runsCount * 3) / seconds
  })
  const layers = Layer.mergeAll(
    journalReader.layer({ file: journalFile }),
    readModels.layer({ file: join(folder, `views-${round}.db`), journalId })
  )
  return Effect.runPromise(Effect.scoped(engine).pipe(Effect.provide(layers)))
}

export const rebuild = async (settings: Settings): Promise<ReadonlyArray<Measured>> => {
  const folder = newFolder()
  const journalFile = join(folder, "journal.db")
  const journalId = fillJournal(journalFile)
  const rounds = await inRounds("rebuild", settings, async (round) => ({
    reference: rawScan(journalFile),
    subject: await engineRebuild(folder, journalFile, journalId, round)
  }))
  removeFolder(folder)
  return [
    {
      name: "rebuild",
      value: median(rounds.map(({ subject }) => subject)),
      unit: "events/s",
      reference: median(rounds.map(({ reference }) => reference)),
      ratio: median(rounds.map(({ subject, reference }) => subject / reference)),
      targets: [ratioAtLeast(0.2)]
    }
  ]
}
