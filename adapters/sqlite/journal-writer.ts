/** Writes appends into the embedded journal: many in one transaction, each accepted or refused on its own. */
import type { DatabaseSync } from "node:sqlite"
import { nextHash, recordText, rowChecksum } from "./event-record.ts"
import {
  type AppendBatch,
  appendCells,
  type Cell,
  conflict,
  contentCells,
  eventCells,
  type Failure,
  failed,
  repeated,
  retired,
  workKeep,
  workNone,
  written
} from "./journal-protocol.ts"
import { readMeta, writeMeta } from "./journal-schema.ts"
import { prepareStatements, type Statements } from "./journal-statements.ts"
import type { KeyRing } from "./key-ring.ts"
import { OpenWorkIndex } from "./open-work-index.ts"
import { contentEntry, contentsPerAppendMax, payloadId } from "./payload-rows.ts"
import { keyedHash, sealBytes, sealInto } from "./sealing.ts"
import { type Head, StreamHeads } from "./stream-heads.ts"
import { failureOf, messageOf } from "./write-failure.ts"

export interface WriteAnswer {
  readonly outcomes: Array<number>
  readonly hashes: Array<string>
  readonly failures: Array<Failure>
}
/** Something else that is written in the same transaction. */
export interface Change {
  readonly run: () => void
  readonly settle: (failure: Failure | null) => void
}

export const contentContext = (stream: string, slot: string, keyVersion: number): string => `content\n${keyVersion}\n${stream}\n${slot}`

export class JournalWriter {
  /** Position of the newest committed event; 0 on an empty log. */
  head: number
  readonly openWork: OpenWorkIndex
  private readonly keys: KeyRing
  private readonly db: DatabaseSync
  private position: number
  private readonly heads: StreamHeads
  private scratch = Buffer.allocUnsafeSlow(64 * 1024)
  private readonly sql: Statements

  constructor(db: DatabaseSync, keys: KeyRing) {
    this.db = db
    this.keys = keys
    this.sql = prepareStatements(db)
    this.openWork = new OpenWorkIndex(db)
    this.heads = new StreamHeads(this.sql)
    this.head = this.position = this.readPosition()
  }

  /** One transaction for everything; when one append breaks a rule of the tables, one for each, so that it fails alone. */
  write(batches: ReadonlyArray<AppendBatch>, changes: ReadonlyArray<Change>): WriteAnswer {
    const answer: WriteAnswer = { outcomes: [], hashes: [], failures: [] }
    const appends = batches.map(offsetsOf)
    const failure =
      this.prepareKeys(batches, appends) ??
      this.transaction(() => {
        for (let batch = 0; batch < batches.length; batch++)
          for (const offset of appends[batch]!) this.append(batches[batch]!, offset, answer)
        for (const change of changes) change.run()
      })
    if (failure === null) {
      for (const change of changes) change.settle(null)
      return answer
    }
    const single = appends.reduce((sum, offsets) => sum + offsets.length, changes.length) === 1
    if (failure.defect && !single) return this.writeOneByOne(batches, appends, changes)
    const failures: WriteAnswer = { outcomes: [], hashes: [], failures: [failure] }
    for (const offsets of appends) for (const _ of offsets) failures.outcomes.push(failed, 0, 0)
    for (const change of changes) change.settle(failure)
    return failures
  }

  /** Removes a stream's events, content and snapshot; keeps its name, last revision and last hash. */
  retire(scope: string, stream: string): void {
    const head = this.heads.find(scope, stream)
    if (head === undefined || head.retired) return
    this.sql.retireStream.run(head.revision, head.hash, head.id)
    const withContents = this.sql.positionsWithContents.all(head.id) as unknown as ReadonlyArray<{ position: number }>
    for (const { position } of withContents) this.sql.deletePayloads.run(payloadId(position, 0), payloadId(position + 1, 0))
    this.sql.deleteEvents.run(head.id)
    this.sql.deleteSnapshot.run(head.id)
    this.indexWork(head, workNone)
    // The newest position must not be given again when its event is gone.
    writeMeta(this.db, "lastPosition", String(this.position))
    head.retired = true
  }

  saveSnapshot(scope: string, stream: string, version: number, revision: number, state: string): void {
    const head = this.heads.find(scope, stream)
    if (head === undefined || head.retired || head.revision < revision) return
    const key = this.keys.toSeal(scope, "log", this.position)
    const plain = Buffer.from(state, "utf8")
    const bytes = this.sealIntoScratch(key.key, snapshotContext(stream, version, revision, key.version), plain)
    this.sql.saveSnapshot.run(head.id, version, revision, key.version, bytes)
  }

  private append(batch: AppendBatch, offset: number, answer: WriteAnswer): void {
    const cells = batch.cells
    const scope = cells[offset + 1] as string
    const stream = cells[offset + 2] as string
    const expected = cells[offset + 3] as number
    // What is expected to be absent mostly is: it is created without looking first.
    const created = expected === -1 ? this.heads.create(cells[offset] as string, scope, stream) : undefined
    const head = created ?? this.heads.find(scope, stream)
    if (head === undefined) answer.outcomes.push(conflict, -1, 0)
    else if (head.retired) answer.outcomes.push(retired, head.revision, 0)
    else if (head.revision === expected) this.insert(batch, offset, head, answer)
    else this.answerOther(cells, offset, head, answer)
  }

  /** Not at the expected revision: a repeat of what is there, or a conflict. */
  private answerOther(cells: ReadonlyArray<Cell>, offset: number, head: Head, answer: WriteAnswer): void {
    const expected = cells[offset + 3] as number
    const count = cells[offset + 7] as number
    const last = expected + count
    if (expected >= -1 && last <= head.revision) {
      const there = this.sql.idsBetween.all(head.id, expected + 1, last) as unknown as ReadonlyArray<{ id: string; position: number }>
      const first = offset + appendCells
      if (there.length === count && there.every(({ id }, index) => id === cells[first + index * eventCells])) {
        answer.outcomes.push(repeated, last, there[count - 1]!.position)
        return
      }
    }
    answer.outcomes.push(conflict, head.revision, 0)
  }

  private insert(batch: AppendBatch, offset: number, head: Head, answer: WriteAnswer): void {
    const cells = batch.cells
    const at = cells[offset + 4] as number
    const origin = cells[offset + 5] as string
    const events = cells[offset + 7] as number
    let contents = this.insertContents(batch, offset)
    let cell = offset + appendCells
    for (let index = 0; index < events; index++, cell += eventCells) {
      const id = cells[cell] as string
      const type = cells[cell + 1] as string
      const version = cells[cell + 2] as number
      const data = cells[cell + 3] as string
      const record = recordText(id, type, version, at, origin, contents, data)
      const position = ++this.position
      const revision = ++head.revision
      head.hash = nextHash(head.hash, record)
      const checksum = rowChecksum(position, head.id, revision, head.hash, record)
      this.sql.insertEvent.run(
        position,
        head.id,
        revision,
        this.heads.typeId(type, version),
        at,
        id,
        head.hash,
        checksum,
        contents,
        origin,
        data
      )
      answer.hashes.push(head.hash)
      contents = null
    }
    this.indexWork(head, cells[offset + 6] as number)
    answer.outcomes.push(written, head.revision, this.position)
  }

  /** Seals and stores the contents; returns slots and keyed hashes for the first event's row. */
  private insertContents(batch: AppendBatch, offset: number): string | null {
    const cells = batch.cells
    const count = cells[offset + 8] as number
    if (count === 0) return null
    if (count > contentsPerAppendMax) throw new Error(`an append carries ${count} contents, more than ${contentsPerAppendMax}`)
    const stream = cells[offset + 2] as string
    const key = this.keys.toSeal(cells[offset + 1] as string, "log", this.position)
    let hashes = ""
    let cell = offset + appendCells + (cells[offset + 7] as number) * eventCells
    for (let index = 0; index < count; index++, cell += contentCells) {
      const slot = cells[cell] as string
      const plain = Buffer.from(batch.pack!, cells[cell + 1] as number, cells[cell + 2] as number)
      const entry = contentEntry(slot, keyedHash(key.hashKey, plain))
      hashes = index === 0 ? entry : `${hashes},${entry}`
      const sealed = this.sealIntoScratch(key.key, contentContext(stream, slot, key.version), plain)
      this.sql.insertPayload.run(payloadId(this.position + 1, index), key.version, sealed)
    }
    return hashes
  }

  private sealIntoScratch(key: Parameters<typeof sealInto>[1], context: string, plain: Uint8Array): Buffer {
    if (plain.length + sealBytes > this.scratch.length) this.scratch = Buffer.allocUnsafeSlow((plain.length + sealBytes) * 2)
    return this.scratch.subarray(0, sealInto(this.scratch, key, context, plain))
  }

  private indexWork(head: Head, workDue: number): void {
    if (workDue === workKeep) return
    const next = workDue === workNone ? null : workDue
    if (next === head.workDue) return
    if (head.workDue !== null) this.openWork.remove(head.scopeId, head.workDue, head.id)
    if (next === null) this.sql.deleteWork.run(head.id)
    else {
      this.sql.setWork.run(head.id, head.scopeId, next)
      this.openWork.add(head.scopeId, next, head.id)
    }
    head.workDue = next
  }

  /** Keys are durable in the vault before anything sealed with them is committed here. */
  private prepareKeys(batches: ReadonlyArray<AppendBatch>, appends: ReadonlyArray<ReadonlyArray<number>>): Failure | null {
    const scopes = new Set<string>()
    for (let batch = 0; batch < batches.length; batch++) {
      if (batches[batch]!.pack === null) continue
      const cells = batches[batch]!.cells
      for (const offset of appends[batch]!) if (cells[offset + 8] !== 0) scopes.add(cells[offset + 1] as string)
    }
    try {
      if (scopes.size > 0) this.keys.prepareLogKeys(scopes, this.position)
      return null
    } catch (cause) {
      return { written: "no", reason: `the vault could not store a key (${messageOf(cause)})`, defect: false }
    }
  }

  private transaction(work: () => void): Failure | null {
    let committing = false
    try {
      this.sql.begin.run()
      work()
      committing = true
      this.sql.commit.run()
      this.head = this.position
      return null
    } catch (cause) {
      this.rollBack()
      return failureOf(cause, committing)
    }
  }

  private rollBack(): void {
    if (this.db.isTransaction) this.sql.rollback.run()
    this.heads.forget()
    this.openWork.reload()
    this.head = this.position = this.readPosition()
  }

  private writeOneByOne(
    batches: ReadonlyArray<AppendBatch>,
    appends: ReadonlyArray<ReadonlyArray<number>>,
    changes: ReadonlyArray<Change>
  ): WriteAnswer {
    const answer: WriteAnswer = { outcomes: [], hashes: [], failures: [] }
    for (let batch = 0; batch < batches.length; batch++)
      for (const offset of appends[batch]!) {
        const alone: WriteAnswer = { outcomes: [], hashes: [], failures: [] }
        const failure = this.transaction(() => this.append(batches[batch]!, offset, alone))
        if (failure === null) {
          answer.outcomes.push(...alone.outcomes)
          answer.hashes.push(...alone.hashes)
        } else answer.outcomes.push(failed, answer.failures.push(failure) - 1, 0)
      }
    for (const change of changes) change.settle(this.transaction(change.run))
    return answer
  }

  /** The newest position that was ever given: its event may be retired. */
  private readPosition(): number {
    const { position } = this.sql.newestPosition.get() as { position: number }
    return Math.max(position, Number(readMeta(this.db, "lastPosition") ?? 0))
  }
}

export const snapshotContext = (stream: string, version: number, revision: number, keyVersion: number): string =>
  `snapshot\n${keyVersion}\n${version}\n${revision}\n${stream}`

const offsetsOf = (batch: AppendBatch): ReadonlyArray<number> => {
  const offsets: Array<number> = []
  let offset = 0
  for (let index = 0; index < batch.count; index++) {
    offsets.push(offset)
    offset += appendCells + (batch.cells[offset + 7] as number) * eventCells + (batch.cells[offset + 8] as number) * contentCells
  }
  return offsets
}
