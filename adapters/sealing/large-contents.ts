/** Where sealed contents lie that are too large for an event. */

/** Sealed contents too large for an event: durable before the event that refers to them; orphans are collected. */
export interface LargeContents {
  /** Durable when it is done. The same id again replaces what was there: a repeated append brings the same content. */
  readonly put: (id: string, sealed: Uint8Array) => Promise<void>
  readonly get: (id: string) => Promise<Uint8Array | undefined>
  /** Of those that are not there, nothing is said. */
  readonly remove: (ids: ReadonlyArray<string>) => Promise<void>
}
