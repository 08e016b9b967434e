/**
 * `node bench/seed-events.ts <folder> <events> [<urls file>]`: fills a journal with copies of the deliveries and runs that it holds, under
 * new ids, until it has so many events; with a file of endpoints' URLs, for their tenants in turn. The journal's own writer writes them.
 */
import { randomBytes, randomUUID } from "node:crypto"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { written } from "#adapters/sqlite/journal-protocol.ts"
import { JournalQueries } from "#adapters/sqlite/journal-queries.ts"
import { openJournal } from "#adapters/sqlite/journal-schema.ts"
import { JournalWriter } from "#adapters/sqlite/journal-writer.ts"
import { openBatch, packOf, putAppend, writtenAppend } from "#adapters/sqlite/outgoing-batch.ts"
import { eventsOfCells } from "#adapters/sqlite/stored-event.ts"
import { VaultStore } from "#adapters/sqlite/vault-store.ts"
import type { EventId } from "#domain/ids.ts"
import { eventVersions } from "#domain/registry.ts"
import { type LocalName, localNameOf, type Scope, scopeOf, streamName } from "#domain/scope.ts"
import type { NewEvent } from "#services/ports/journal.ts"
import { MasterKey } from "#services/ports/master-key.ts"
import { dataFolderOf, masterKeyIn } from "./embedded.ts"

const [folder, wanted, urlsFile] = process.argv.slice(2) as [string, string, string | undefined]
const cacheKilobytes = 256 * 1024
/** Pages of the log between two checkpoints: fewer of them while nothing has to be durable. */
const checkpointPages = 32_768
const transactionAppends = 8_192
const transactionBytes = 32 * 1024 * 1024
const base32 = "abcdefghijklmnopqrstuvwxyz234567"
const newId = () => Array.from(randomBytes(26), (byte) => base32[byte & 31]).join("")

/** Whose copies are made: the scope, and the endpoint that its events came in by. */
interface Target {
  readonly scope: Scope
  readonly endpointId: string
}
/** A text with the names in it that differ between copies, which are every second part. */
type Template = ReadonlyArray<string>
/** One append of a delivery or a run, to be copied. */
interface Sample {
  readonly local: Template
  readonly expected: number
  readonly at: number
  readonly origin: Template
  readonly events: ReadonlyArray<{ readonly type: string; readonly version: number; readonly data: Template }>
  readonly contents: ReadonlyArray<{ readonly slot: string; readonly bytes: Template }>
}

/** Ids of deliveries and runs, keys of tenants, ids of endpoints. */
const names = /([a-z2-7]{36}|[a-z2-7]{26}|[a-z2-7]{20})/u
const templateOf = (text: string): Template => text.split(names)

const master = await Effect.runPromise(Effect.provide(MasterKey, masterKeyIn(folder)))
const { db, journalId } = openJournal(join(dataFolderOf(folder), "journal.db"), cacheKilobytes, eventVersions)
const vault = new VaultStore(join(dataFolderOf(folder), "vault.db"), journalId, Redacted.value(master.key), master.id)
const writer = new JournalWriter(db, vault.keys)
const queries = new JournalQueries(db, vault.keys, writer.names, writer.openWork)
const contentsOf = db.prepare("SELECT contents FROM appends WHERE position = ?")

const openSlots = (scope: Scope, stream: string, position: number) => {
  const { contents } = contentsOf.get(position) as { readonly contents: string | null }
  if (contents === null) return []
  return contents
    .slice(0, contents.lastIndexOf(";"))
    .split(",")
    .map((entry) => {
      const slot = entry.slice(0, entry.lastIndexOf("="))
      const opened = queries.openContents(scope.key, [stream], [slot])
      if (!("contents" in opened)) throw new Error(`The content ${slot} of ${stream} is ${opened.why}.`)
      return { slot, bytes: templateOf(Buffer.from(opened.contents[0]!).toString("utf8")) }
    })
}

/** Every append of the deliveries and runs that the journal ends with, and the names that tell them and their tenant apart. */
const samplesOf = () => {
  const newest = eventsOfCells(queries.readFeed(Math.max(0, writer.head - 5_000), 5_000, null).events)
  const ofOrders = newest.filter(({ stream }) => /\/(?:delivery|run)-[a-z2-7]{26}$/u.test(stream))
  const scope = ofOrders[0]?.scope
  const begun = new Set(ofOrders.filter(({ revision }) => revision === 0).map(({ stream }) => stream))
  const chosen = ofOrders.filter((event) => event.scope.key === scope?.key && begun.has(event.stream))
  if (scope === undefined || chosen.length === 0) throw new Error(`${folder} holds no delivery to copy.`)
  const appends = Map.groupBy(chosen, ({ stream, hash }) => `${stream} ${hash}`)
  const samples = [...appends.values()].map((events): Sample => {
    const [first] = events
    return {
      local: templateOf(localNameOf(first!.stream)),
      expected: first!.revision - 1,
      at: first!.at,
      origin: templateOf(JSON.stringify(first!.origin)),
      events: events.map(({ type, version, data }) => ({ type, version, data: templateOf(JSON.stringify(data)) })),
      contents: openSlots(scope, first!.stream, Number(events.at(-1)!.position))
    }
  })
  const ids = [...new Set(chosen.map(({ stream }) => stream.slice(-26)))]
  const endpointIds = chosen.flatMap(({ data }) => (typeof data["endpointId"] === "string" ? [data["endpointId"]] : []))
  return { scope, samples, ids, endpointId: endpointIds[0]!, events: chosen.length }
}

/** Each has the name of its tenant in front; the sample's own tenant when no file was given. */
const targetsOf = (sample: Target): ReadonlyArray<Target> =>
  urlsFile === undefined
    ? [sample]
    : readFileSync(urlsFile, "utf8")
        .trim()
        .split("\n")
        .map((url) => {
          const endpointId = url.slice(url.lastIndexOf("/") + 1)
          return { scope: scopeOf(sample.scope.space, endpointId.slice(0, sample.scope.key.length)), endpointId }
        })

let batch = openBatch()
const flush = () => {
  const { outcomes, failures } = writer.write([{ cells: batch.cells, newTypes: batch.newTypes, pack: packOf(batch) }], [])
  for (let at = 0; at < outcomes.length; at += 3)
    if (outcomes[at] !== written) throw new Error(`An append ended with ${outcomes[at]}: ${failures[0]?.reason}.`)
  batch = openBatch()
}

const { scope, samples, ids, endpointId, events } = samplesOf()
const targets = targetsOf({ scope, endpointId })
const copy = (target: Target) => {
  const renamed = new Map(ids.map((id) => [id, newId()]))
  renamed.set(endpointId, target.endpointId).set(scope.key, target.scope.key)
  const textOf = (template: Template): string => {
    let text = template[0]!
    for (let part = 1; part < template.length; part += 2) text += (renamed.get(template[part]!) ?? template[part]!) + template[part + 1]!
    return text
  }
  for (const sample of samples) {
    const append = {
      scope: target.scope,
      stream: streamName(target.scope, textOf(sample.local) as LocalName),
      expected: sample.expected,
      events: sample.events.map(
        ({ type, version, data }): NewEvent => ({ id: randomUUID() as EventId, type, version, data: textOf(data) })
      ) as [NewEvent, ...Array<NewEvent>],
      contents: sample.contents.map(({ slot, bytes }) => ({ slot, bytes: textOf(bytes) })),
      origin: JSON.parse(textOf(sample.origin)),
      at: sample.at,
      workDue: null // Of what is finished nothing is open.
    }
    const text = writtenAppend(append)
    if (text instanceof Error) throw text
    putAppend(batch, { append, resume: () => {} }, text)
  }
}

db.exec(`PRAGMA synchronous=OFF; PRAGMA wal_autocheckpoint=${checkpointPages}`)
const copies = Math.max(0, Math.ceil((Number(wanted) - writer.head) / events))
for (let made = 0; made < copies; made++) {
  copy(targets[made % targets.length]!)
  if (batch.waiting.length >= transactionAppends || batch.bytes >= transactionBytes) flush()
}
if (batch.waiting.length > 0) flush()
db.exec("PRAGMA synchronous=FULL; PRAGMA wal_checkpoint(TRUNCATE)")
db.close()
vault.close()
process.exit(0)
