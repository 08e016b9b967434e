/** What the main thread and the journal thread say to each other. Appends travel as flat lists: the cheapest thing to clone. */

export type Cell = string | number | null

/** How the thread is started. */
export interface JournalThreadOptions {
  readonly journalFile: string
  readonly vaultFile: string
  readonly masterKey: Uint8Array
  readonly masterKeyId: string
  /** The newest version of each event type that this release can read. */
  readonly eventTypes: Readonly<Record<string, number>>
  readonly cacheKilobytes: number
}
export type Hello =
  | { readonly journalId: string; readonly head: number }
  | { readonly refused: { readonly kind: string; readonly message: string } }

/** `workDue` of an append as a number. */
export const workKeep = -2
export const workNone = -1

/**
 * Appends one behind the other, with these cells each: space, scope key, stream, expected, at, origin, work due, number of events,
 * lines of the events, slots of the contents (null: none), where the contents begin in `pack`, their bytes, and how many appends
 * from this one on are written together or not at all.
 */
export const appendCells = 13

export interface AppendBatch {
  readonly cells: ReadonlyArray<Cell>
  /** Type and version, in turns, of events that this connection had not sent before. */
  readonly newTypes: ReadonlyArray<Cell>
  /** The contents' bytes, in the order of their appends; transferred, not copied. */
  readonly pack: ArrayBuffer | null
}

export type Request =
  | { readonly op: "load"; readonly stream: string; readonly scope: string; readonly snapshotVersion: number }
  | { readonly op: "readStream"; readonly stream: string; readonly scope: string; readonly from: number; readonly limit: number }
  | { readonly op: "readFeed"; readonly after: number; readonly limit: number; readonly prefixes: ReadonlyArray<string> | null }
  | {
      readonly op: "saveSnapshot"
      readonly stream: string
      readonly scope: string
      readonly version: number
      readonly revision: number
      readonly state: string
    }
  | { readonly op: "retire"; readonly stream: string; readonly scope: string; readonly revision: number }
  | { readonly op: "openContents"; readonly scope: string; readonly owners: ReadonlyArray<string>; readonly slots: ReadonlyArray<string> }
  | {
      readonly op: "workDue"
      readonly before: number
      readonly limit: number
      readonly scope: string | null
      readonly after: { readonly dueAt: number; readonly scope: string; readonly stream: string } | null
    }
  | { readonly op: "workSummary" }
  | { readonly op: "putSecret"; readonly scope: string; readonly owner: string; readonly field: string; readonly secret: string }
  | { readonly op: "getSecret"; readonly scope: string; readonly owner: string; readonly field: string; readonly atLeastVersion: number }
  | { readonly op: "removeSecret"; readonly scope: string; readonly owner: string; readonly field: string }
  | { readonly op: "nameDigest"; readonly scope: string; readonly kind: string; readonly text: string }
  | { readonly op: "sealField"; readonly scope: string; readonly field: string; readonly text: string }
  | { readonly op: "openField"; readonly scope: string; readonly field: string; readonly sealed: string }
  /** How many pages the journal's file may have: how an operator caps it, and how a full disk is rehearsed. */
  | { readonly op: "limitPages"; readonly pagesMax: number }

export interface ToThread {
  readonly appends: AppendBatch | null
  readonly requests: ReadonlyArray<Request> | null
}

export const written = 0
export const repeated = 1
export const conflict = 2
export const retired = 3
export const failed = 4
/** Nothing was wrong with it; but with one of those that it goes together with. */
export const withheld = 5

export const hashCharacters = 64

export interface Failure {
  readonly written: "no" | "unknown"
  readonly reason: string
  /** A broken rule of the caller, not a weakness of the store: it must die, not be tried again. */
  readonly defect: boolean
}

/** Answers in the order of what was asked. */
export interface FromThread {
  /** Three numbers per append: outcome, revision (conflict: the actual one; failed: index of the failure), position. */
  readonly outcomes: ReadonlyArray<number> | null
  /** Stream hashes of the appends written, in order: `hashCharacters` each. */
  readonly hashes: string
  readonly failures: ReadonlyArray<Failure>
  readonly replies: ReadonlyArray<Reply> | null
}
export type Reply = { readonly is: unknown } | { readonly failure: Failure }

/** Twelve cells per event: position, space, scope key, stream, revision, id, type, version, at, origin, data, hash. */
export const rowCells = 12
export type EventRowCells = ReadonlyArray<Cell>

export interface LoadReply {
  readonly snapshot: { readonly revision: number; readonly state: string } | null
  readonly events: EventRowCells
  readonly retired: boolean
}
export interface FeedReply {
  readonly events: EventRowCells
  /** 0: the log is empty, or nothing follows an `after` of 0. */
  readonly position: number
  readonly atHead: boolean
}
export type ContentReply =
  | { readonly contents: ReadonlyArray<Uint8Array> }
  | { readonly gone: number; readonly why: "retired" | "absent" | "damaged" }
export interface WorkReply {
  /** Four cells per item: space, scope key, stream, due at. */
  readonly items: ReadonlyArray<Cell>
}
