/** The journal: the log of events that is the truth, one short stream per aggregate. */
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import type * as Effect from "effect/Effect"
import type { EventId, Position } from "#domain/ids.ts"
import type { Envelope, Origin } from "#domain/recorded.ts"
import type { Scope, StreamName } from "#domain/scope.ts"
import type { JournalUnavailable } from "./unavailable.ts"

/** Encoded and checked before the port: `data` is JSON text of the event's fields, without its tag. */
export interface NewEvent {
  readonly id: EventId
  readonly type: string
  readonly version: number
  readonly data: string
}

/** Bytes to seal under the tenant's log key and keep beside the events, found again as `<stream's local name>#<slot>`. */
export interface NewContent {
  readonly slot: string
  readonly bytes: Uint8Array | string
}

/** A tenant, or the space, owns the stream; the platform's own streams hold no content. */
export interface Append {
  readonly scope: Scope
  readonly stream: StreamName
  /** The revision that the stream must be at: -1 when it must not exist. There is no "any" (R2). */
  readonly expected: number
  readonly events: readonly [NewEvent, ...ReadonlyArray<NewEvent>]
  readonly contents: ReadonlyArray<NewContent>
  readonly origin: Origin
  /** Epoch milliseconds of all events of this append. */
  readonly at: number
  /** Open work of the stream from now on (see `Aggregate.workDue`); left out: as it was. */
  readonly workDue?: number | null
}

export interface Appended {
  /** Revision of the batch's last event. */
  readonly revision: number
  readonly position: Position
  /** True when these very events were already there: an earlier try had been written. */
  readonly repeated: boolean
}

export class RevisionConflict extends Data.TaggedError("RevisionConflict")<{
  readonly stream: StreamName
  readonly expected: number
  /** -1: absent. */
  readonly actual: number
}> {
  override get message() {
    return `${this.stream} is at revision ${this.actual}, not ${this.expected}. Nothing was written. Read it again and decide again.`
  }
}
export class AppendTooLarge extends Data.TaggedError("AppendTooLarge")<{ readonly bytes: number; readonly limitBytes: number }> {
  override get message() {
    return `An append of ${this.bytes} bytes exceeds the journal's ${this.limitBytes}. Nothing was written. Split it.`
  }
}
/** The stream was retired: its events are gone, its name and last hash stay. */
export class StreamRetired extends Data.TaggedError("StreamRetired")<{ readonly stream: StreamName }> {
  override get message() {
    return `${this.stream} was retired by the retention policy. Nothing was written.`
  }
}
export type AppendRejected = RevisionConflict | AppendTooLarge | StreamRetired

/** A stored event before its fields are upcast and decoded. */
export interface StoredEvent extends Envelope {
  readonly data: Record<string, unknown>
}

export interface StoredSnapshot {
  readonly revision: number
  /** JSON text of the state. */
  readonly state: string
}
export interface LoadedStream {
  readonly snapshot: StoredSnapshot | null
  /** The events after the snapshot, or all. Empty without a snapshot: the stream does not exist. */
  readonly events: ReadonlyArray<StoredEvent>
  readonly retired: boolean
}

export class Journal extends Context.Service<
  Journal,
  {
    readonly facts: {
      readonly maxAppendBytes: number
      readonly durable: "fsync" | "server"
      /** Nobody else writes while this process runs: whoever had a run in hand before is surely gone. */
      readonly soleWriter: boolean
    }
    /** Identity of this log, kept for its life: positions of another journal are refused (R22). */
    readonly journalId: string
    /**
     * All or nothing, durable when it succeeds, at exactly the expected revision. Repeating the identical append (same ids, same
     * expected revision) is recognised and succeeds. Appends of one caller to one stream are written in the order of the calls.
     */
    readonly append: (append: Append) => Effect.Effect<Appended, AppendRejected | JournalUnavailable>
    /**
     * Appends to several streams of one scope, each named once: all of them or none, as one `append` to each otherwise. Null where the
     * store cannot; then they are appended to one after the other.
     */
    readonly appendTogether:
      | ((
          appends: readonly [Append, ...ReadonlyArray<Append>]
        ) => Effect.Effect<ReadonlyArray<Appended>, AppendRejected | JournalUnavailable>)
      | null
    /** The newest snapshot of this decider version, if any, and the events after it. Never a scan. */
    readonly load: (scope: Scope, stream: StreamName, snapshotVersion: number) => Effect.Effect<LoadedStream, JournalUnavailable>
    /** Events of one stream in order, from a revision on. Row checksums are verified. */
    readonly readStream: (
      scope: Scope,
      stream: StreamName,
      options?: { readonly from?: number; readonly limit?: number }
    ) => Effect.Effect<ReadonlyArray<StoredEvent>, JournalUnavailable>
    /** Cache only: losing it is harmless (R23). */
    readonly saveSnapshot: (
      scope: Scope,
      stream: StreamName,
      snapshotVersion: number,
      snapshot: StoredSnapshot
    ) => Effect.Effect<void, JournalUnavailable>
    /**
     * Removes a finished stream's events, content and snapshots; name, last revision and last hash stay. False when the stream is at
     * another revision by now: then nothing was done. Repeatable.
     */
    readonly retire: (scope: Scope, stream: StreamName, revision: number) => Effect.Effect<boolean, JournalUnavailable>
  }
>()("tributary/ports/Journal") {}
