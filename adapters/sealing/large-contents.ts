/** Where sealed contents lie that are too large for an event. */

/** Sealed contents too large for an event: durable before the event that refers to them; orphans are collected. */
export interface LargeContents {
  /** Durable when it is done. The same id again replaces what was there: a repeated append brings the same content. */
  readonly put: (id: string, sealed: Uint8Array) => Promise<void>
  readonly get: (id: string) => Promise<Uint8Array | undefined>
  /** Of those that are not there, nothing is said. */
  readonly remove: (ids: ReadonlyArray<string>) => Promise<void>
}

/** A content as it was put at one time: when it is put again it is another one. */
export interface PutContent {
  readonly id: string
  /** Epoch milliseconds, on the clock of whoever put it. */
  readonly putAt: number
}

export interface CollectableContents extends LargeContents {
  /** Those that were put before a time and are not known to be referred to, the oldest first, after one of them. */
  readonly putBefore: (time: number, after: PutContent | null, limit: number) => Promise<ReadonlyArray<PutContent>>
  /** An event refers to it: it is not looked at again, unless it is put again. */
  readonly markReferenced: (content: PutContent) => Promise<void>
  /** Removes it unless it was put again meanwhile; says whether it did. */
  readonly removePut: (content: PutContent) => Promise<boolean>
}
