/** The stores on EventStoreDB as a contract needs them: keys and large contents in memory, the log wherever the row says. */
import { createSecretKey } from "node:crypto"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as Driver from "#adapters/eventstoredb/driver.ts"
import * as Feed from "#adapters/eventstoredb/feed.ts"
import * as Journal from "#adapters/eventstoredb/journal.ts"
import * as OpenWork from "#adapters/eventstoredb/open-work.ts"
import * as Payloads from "#adapters/eventstoredb/payloads.ts"
import type { LargeContents } from "#adapters/sealing/large-contents.ts"
import type { ScopeKey, ScopeKeys } from "#adapters/sealing/scope-keys.ts"
import { makeWrappedKey } from "#adapters/sealing/wrapped-keys.ts"
import { bucketOf } from "#domain/scope.ts"
import { acme, appendBytesMax, type Installation, knownTypes, other, space } from "../installation.ts"

/** Keys that last as long as the process. */
export class MemoryKeys implements ScopeKeys {
  private readonly keys = new Map<string, ScopeKey>()
  private readonly masterKey = createSecretKey(new Uint8Array(32).fill(7))

  async toSeal(scope: string, purpose: "log" | "vault" | "name"): Promise<ScopeKey> {
    const name = `${purpose}:${scope}`
    const there = this.keys.get(name)
    if (there !== undefined) return there
    const { key } = makeWrappedKey(this.masterKey, { scope, purpose, version: 1, masterKeyId: "test", madeAt: 0 })
    this.keys.set(name, key)
    return key
  }

  async toOpen(scope: string, purpose: "log" | "vault" | "name", version: number): Promise<ScopeKey | undefined> {
    const key = this.keys.get(`${purpose}:${scope}`)
    return key?.version === version ? key : undefined
  }

  /** Nothing that was sealed opens any more. */
  destroy(): void {
    this.keys.clear()
  }
}

export class MemoryContents implements LargeContents {
  readonly held = new Map<string, Uint8Array>()

  async put(id: string, sealed: Uint8Array): Promise<void> {
    this.held.set(id, Uint8Array.from(sealed))
  }

  async get(id: string): Promise<Uint8Array | undefined> {
    return this.held.get(id)
  }

  async remove(ids: ReadonlyArray<string>): Promise<void> {
    for (const id of ids) this.held.delete(id)
  }
}

export type EventStorePorts = Driver.Store | Journal.OpenedJournal
export interface EventStoreInstallation extends Installation<EventStorePorts> {
  readonly keys: MemoryKeys
  readonly large: MemoryContents
  readonly openWith: (options: OpenOptions) => ReturnType<Installation<EventStorePorts>["open"]>
}
export interface OpenOptions {
  readonly journalId?: string
  readonly eventTypes?: Readonly<Record<string, number>>
  readonly buckets?: Stream.Stream<ReadonlySet<string>>
  readonly driver?: Pick<Driver.DriverOptions, "appendMillis" | "outcomeMillis">
  readonly appendBytesMax?: number
}

const testBuckets: ReadonlySet<string> = new Set([acme, other, space].map(({ key }) => bucketOf(key)))

/** `prepare` runs before the first opening: it may empty the log. */
export const eventStoreInstallation = (
  url: () => string,
  prepare: () => Promise<unknown> = async () => undefined,
  large = new MemoryContents()
): EventStoreInstallation => {
  const keys = new MemoryKeys()
  let prepared: Promise<unknown> | undefined
  const openWith: EventStoreInstallation["openWith"] = (options) =>
    Layer.unwrap(
      Effect.promise(async () => {
        prepared ??= prepare()
        await prepared
        const opened = Journal.OpenedJournal.layer({
          ...(options.journalId === undefined ? {} : { journalId: options.journalId }),
          keys,
          large,
          eventTypes: options.eventTypes ?? knownTypes,
          appendBytesMax: options.appendBytesMax ?? appendBytesMax
        })
        return Layer.mergeAll(
          Journal.journal,
          Feed.layer,
          Payloads.layer,
          OpenWork.layer({ buckets: options.buckets ?? Stream.succeed(testBuckets) })
        ).pipe(Layer.provideMerge(opened), Layer.provideMerge(Driver.Store.layer({ url: url(), ...options.driver })))
      })
      // No vault: these contracts ask for none.
    ) as ReturnType<EventStoreInstallation["openWith"]>
  return { keys, large, open: () => openWith({}), openWith, remove: () => {} }
}
