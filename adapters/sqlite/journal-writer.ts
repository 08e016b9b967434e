/** Writes appends into the embedded journal: many in one transaction, each accepted or refused on its own. */
import type { DatabaseSync } from "node:sqlite"
import { contentsContext, contentsText } from "#adapters/sealing/append-contents.ts"
import { keyedHash, sealBytes, sealInto } from "#adapters/sealing/sealing.ts"
import { linesPerEvent, nextHash, recordText, rowChecksum } from "./event-record.ts"
import {
  type AppendBatch,
  appendCells,
  type Cell,
  conflict,
  type Failure,
  failed,
  repeated,
  retired,
  withheld,
  workKeep,
  workNone,
  written
} from "./journal-protocol.ts"
import { readMeta, writeMeta } from "./journal-schema.ts"
import { prepareStatements, type Statements } from "./journal-statements.ts"
import type { KeyRing } from "./key-ring.ts"
import { OpenWorkIndex } from "./open-work-index.ts"
import { type Head, StreamHeads } from "./stream-heads.ts"
import type { StreamNames } from "./stream-names.ts"
import { failureOf, messageOf } from "./write-failure.ts"

export interface WriteAnswer {
  readonly outcomes: Array<number>
  hashes: string
  readonly failures: Array<Failure>
}
/** Something else that is written in the same transaction. */
export interface Change {
  readonly run: () => void
  readonly settle: (failure: Failure | null) => void
}

/** The contents of an append as they go into its row. */
interface SealedContents {
  readonly keyVersion: number
  readonly text: string
  readonly bytes: Uint8Array
}

export class JournalWriter {
  /** Position of the newest committed event; 0 on an empty log. */
  head: number
  readonly openWork: OpenWorkIndex
  readonly names: StreamNames
  private readonly keys: KeyRing
  private readonly db: DatabaseSync
  private position: number
  private readonly heads: StreamHeads
  private scratch = Buffer.allocUnsafeSlow(64 * 1024)
  private readonly sql: Statements
  /** Types of events that were announced and are not stored yet: type and version, in turns. */
  private newTypes: ReadonlyArray<Cell> = []

  constructor(db: DatabaseSync, keys: KeyRing) {
    this.db = db
    this.keys = keys
    this.sql = prepareStatements(db)
    this.openWork = new OpenWorkIndex(db)
    this.heads = new StreamHeads(this.sql)
    this.names = this.heads.names
    this.head = this.position = this.readPosition()
  }

  /** One transaction for everything; when one append breaks a rule of the tables, one for each, so that it fails alone. */
  write(batches: ReadonlyArray<AppendBatch>, changes: ReadonlyArray<Change>): WriteAnswer {
    const answer: WriteAnswer = { outcomes: [], hashes: "", failures: [] }
    for (const { newTypes } of batches) if (newTypes.length > 0) this.newTypes = this.newTypes.concat(newTypes)
    const failure =
      this.prepareKeys(batches) ??
      this.transaction(() => {
        for (const batch of batches) for (const cell of beginnings(batch)) this.appendAll(batch, cell, answer)
        for (const change of changes) change.run()
      })
    if (failure === null) {
      for (const change of changes) change.settle(null)
      return answer
    }
    const appends = batches.reduce((sum, { cells }) => sum + cells.length / appendCells, 0)
    if (failure.defect && appends + changes.length > 1) return this.writeOneByOne(batches, changes)
    const failures: WriteAnswer = { outcomes: [], hashes: "", failures: [failure] }
    for (let append = 0; append < appends; append++) failures.outcomes.push(failed, 0, 0)
    for (const change of changes) change.settle(failure)
    return failures
  }

  /** Removes a stream's events, content and snapshot; keeps its name, last revision and last hash. False: it is further on. */
  retire(scope: string, stream: string, revision: number): boolean {
    const head = this.heads.find(scope, stream)
    if (head === undefined || head.revision !== revision) return false
    if (head.retired) return true
    this.sql.retireStream.run(head.revision, head.hash, head.id)
    this.sql.deleteAppends.run(head.id)
    this.sql.deleteSnapshot.run(head.id)
    this.indexWork(head, workNone)
    // The newest position must not be given again when its event is gone.
    writeMeta(this.db, "lastPosition", String(this.position))
    head.retired = true
    return true
  }

  saveSnapshot(scope: string, stream: string, version: number, revision: number, state: string): void {
    const head = this.heads.find(scope, stream)
    if (head === undefined || head.retired || head.revision < revision) return
    const key = this.keys.toSeal(scope, "log", this.position)
    const plain = Buffer.from(state, "utf8")
    const bytes = this.sealIntoScratch(key.key, snapshotContext(stream, version, revision, key.version), plain)
    this.sql.saveSnapshot.run(head.id, version, revision, key.version, bytes)
  }

  /** One append, or those that are written together or not at all. */
  private appendAll(batch: AppendBatch, first: number, answer: WriteAnswer): void {
    const together = togetherFrom(batch, first)
    if (together === 1) {
      this.append(batch, first, false, answer)
      return
    }
    const end = first + together * appendCells
    const found: Array<number> = []
    for (let cell = first; cell < end; cell += appendCells) found.push(this.outlook(batch.cells, cell))
    if (found.every((outcome) => outcome === written))
      for (let cell = first; cell < end; cell += appendCells) this.append(batch, cell, true, answer)
    else if (found.every((outcome) => outcome === repeated))
      for (let cell = first; cell < end; cell += appendCells) this.append(batch, cell, false, answer)
    else
      found.forEach((outcome, index) => {
        if (outcome === written || outcome === repeated) answer.outcomes.push(withheld, 0, 0)
        else this.append(batch, first + index * appendCells, false, answer)
      })
  }

  /** What would become of an append. */
  private outlook(cells: ReadonlyArray<Cell>, cell: number): number {
    const expected = cells[cell + 3] as number
    const head = this.heads.find(cells[cell + 1] as string, cells[cell + 2] as string)
    if (head === undefined) return expected === -1 ? written : conflict
    if (head.retired) return retired
    if (head.revision === expected) return written
    return this.repeatOf(cells, cell, head) === undefined ? conflict : repeated
  }

  private append(batch: AppendBatch, cell: number, isAbsent: boolean, answer: WriteAnswer): void {
    const cells = batch.cells
    const scope = cells[cell + 1] as string
    const stream = cells[cell + 2] as string
    const expected = cells[cell + 3] as number
    const work = cells[cell + 6] as number
    // What is expected to be absent mostly is: it is created without looking first.
    const created = expected === -1 ? this.heads.create(cells[cell] as string, scope, stream, work < 0 ? null : work, isAbsent) : undefined
    if (created !== undefined && created.workDue !== null) this.openWork.add(created.scopeId, created.workDue, created.id)
    const head = created ?? this.heads.find(scope, stream)
    if (head === undefined) answer.outcomes.push(conflict, -1, 0)
    else if (head.retired) answer.outcomes.push(retired, head.revision, 0)
    else if (head.revision === expected) this.insert(batch, cell, head, answer)
    else this.answerOther(cells, cell, head, answer)
  }

  /** Not at the expected revision: a repeat of the append that is there, or a conflict. */
  private answerOther(cells: ReadonlyArray<Cell>, cell: number, head: Head, answer: WriteAnswer): void {
    const there = this.repeatOf(cells, cell, head)
    if (there === undefined) answer.outcomes.push(conflict, head.revision, 0)
    else answer.outcomes.push(repeated, (cells[cell + 3] as number) + (cells[cell + 7] as number), there)
  }

  /** The position of the very same append, where it is there already. */
  private repeatOf(cells: ReadonlyArray<Cell>, cell: number, head: Head): number | undefined {
    const revision = (cells[cell + 3] as number) + (cells[cell + 7] as number)
    const there = this.sql.findAppend.get(head.id, revision) as { position: number; count: number; events: string } | undefined
    return there !== undefined && there.count === cells[cell + 7] && idsOf(there.events) === idsOf(cells[cell + 8] as string)
      ? there.position
      : undefined
  }

  private insert(batch: AppendBatch, cell: number, head: Head, answer: WriteAnswer): void {
    const cells = batch.cells
    const at = cells[cell + 4] as number
    const origin = cells[cell + 5] as string
    const count = cells[cell + 7] as number
    const events = cells[cell + 8] as string
    const position = this.position + count
    const revision = head.revision + count
    const contents = this.sealContents(batch, cell, revision)
    const text = contents === null ? null : contents.text
    const record = recordText(at, origin, text, events)
    const hash = nextHash(head.hash, record)
    this.sql.insertAppend.run(
      position,
      head.id,
      revision,
      count,
      at,
      rowChecksum(position, head.id, revision, count, hash, record),
      contents === null ? null : contents.keyVersion,
      hash,
      text,
      origin,
      events,
      contents === null ? null : contents.bytes
    )
    this.position = position
    head.revision = revision
    head.hash = hash
    this.indexWork(head, cells[cell + 6] as number)
    answer.hashes += hash
    answer.outcomes.push(written, revision, position)
  }

  private sealContents(batch: AppendBatch, cell: number, revision: number): SealedContents | null {
    const cells = batch.cells
    const slots = cells[cell + 9] as string | null
    if (slots === null) return null
    const plain = Buffer.from(batch.pack!, cells[cell + 10] as number, cells[cell + 11] as number)
    const key = this.keys.toSeal(cells[cell + 1] as string, "log", this.position)
    const context = contentsContext(cells[cell + 2] as string, revision, slots, key.version)
    return {
      keyVersion: key.version,
      text: contentsText(slots, keyedHash(key.hashKey, plain)),
      bytes: this.sealIntoScratch(key.key, context, plain)
    }
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
    this.sql.setWork.run(next, head.id)
    if (next !== null) this.openWork.add(head.scopeId, next, head.id)
    head.workDue = next
  }

  /** Keys are durable in the vault before anything sealed with them is committed here. */
  private prepareKeys(batches: ReadonlyArray<AppendBatch>): Failure | null {
    const scopes = new Set<string>()
    for (const { cells, pack } of batches)
      if (pack !== null)
        for (let cell = 0; cell < cells.length; cell += appendCells) if (cells[cell + 9] !== null) scopes.add(cells[cell + 1] as string)
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
      this.storeTypes()
      work()
      committing = true
      this.sql.commit.run()
      this.newTypes = []
      this.head = this.position
      return null
    } catch (cause) {
      this.rollBack()
      return failureOf(cause, committing)
    }
  }

  /** Types come before the first event that is of them: a release that does not know them refuses to start. */
  private storeTypes(): void {
    for (let cell = 0; cell < this.newTypes.length; cell += 2) this.sql.insertType.run(this.newTypes[cell]!, this.newTypes[cell + 1]!)
  }

  private rollBack(): void {
    if (this.db.isTransaction) this.sql.rollback.run()
    this.heads.forget()
    this.openWork.reload()
    this.head = this.position = this.readPosition()
  }

  private writeOneByOne(batches: ReadonlyArray<AppendBatch>, changes: ReadonlyArray<Change>): WriteAnswer {
    const answer: WriteAnswer = { outcomes: [], hashes: "", failures: [] }
    for (const batch of batches)
      for (const cell of beginnings(batch)) {
        const alone: WriteAnswer = { outcomes: [], hashes: "", failures: [] }
        const failure = this.transaction(() => this.appendAll(batch, cell, alone))
        if (failure === null) {
          answer.outcomes.push(...alone.outcomes)
          answer.hashes += alone.hashes
        } else {
          const index = answer.failures.push(failure) - 1
          for (let left = togetherFrom(batch, cell); left > 0; left--) answer.outcomes.push(failed, index, 0)
        }
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

/** Appends from this one on that are written together or not at all. */
const togetherFrom = ({ cells }: AppendBatch, cell: number): number => cells[cell + 12] as number

/** Where each append of a batch begins that can be written or refused on its own. */
const beginnings = function* (batch: AppendBatch): Iterable<number> {
  for (let cell = 0; cell < batch.cells.length; cell += togetherFrom(batch, cell) * appendCells) yield cell
}

/** The ids of the events in an append's lines. */
const idsOf = (events: string): string =>
  events
    .split("\n")
    .filter((_, line) => line % linesPerEvent === 0)
    .join("\n")
