/** What a contract needs of an implementation: stores that can be closed and opened again over the same data. */
import { randomUUID } from "node:crypto"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Redacted from "effect/Redacted"
import { afterAll } from "vitest"
import { masterKeyId } from "#adapters/node/master-key.ts"
import * as SqliteJournal from "#adapters/sqlite/journal.ts"
import type { JournalThread } from "#adapters/sqlite/journal-thread-client.ts"
import type { EventId, SpaceKey, TenantKey } from "#domain/ids.ts"
import { systemActor } from "#domain/recorded.ts"
import { type LocalName, type Scope, spaceScope, streamName, tenantScope } from "#domain/scope.ts"
import type { Feed } from "#services/ports/feed.ts"
import type { Append, Journal, NewContent, NewEvent } from "#services/ports/journal.ts"
import { MasterKey } from "#services/ports/master-key.ts"
import type { OpenWork } from "#services/ports/open-work.ts"
import type { Payloads } from "#services/ports/payloads.ts"
import type { Vault } from "#services/ports/vault.ts"

export type Stores = Journal | Feed | OpenWork | Payloads | Vault

export interface Installation<Also = never> {
  /** The stores, over the installation's data; each use opens them anew. */
  readonly open: () => Layer.Layer<Stores | Also, unknown>
  readonly remove: () => void
}
export interface SqliteInstallation extends Installation<JournalThread> {
  readonly folder: string
  readonly openWith: (options: {
    readonly eventTypes?: Readonly<Record<string, number>>
    readonly masterKey?: Uint8Array
  }) => Layer.Layer<Stores | JournalThread, unknown>
}

export const appendBytesMax = 100_000
export const knownTypes = { Happened: 1, Renamed: 2 }

export const masterKeyLayer = (key: Uint8Array) =>
  Layer.succeed(MasterKey, MasterKey.of({ id: masterKeyId(key), key: Redacted.make(key), where: "test" }))

/** The embedded stores on real files in a folder of their own. */
export const sqliteInstallation = (): SqliteInstallation => {
  const folder = mkdtempSync(join(tmpdir(), "tributary-test-"))
  const openWith: SqliteInstallation["openWith"] = ({ eventTypes = knownTypes, masterKey = new Uint8Array(32).fill(7) }) =>
    SqliteJournal.layer({
      journalFile: join(folder, "journal.db"),
      vaultFile: join(folder, "vault.db"),
      eventTypes,
      appendBytesMax
    }).pipe(Layer.provide(masterKeyLayer(masterKey)))
  return { folder, open: () => openWith({}), openWith, remove: () => rmSync(folder, { recursive: true, force: true }) }
}

/** One opening of an installation for all tests of a suite. */
export const shared = <R>(installation: { readonly open: () => Layer.Layer<R, unknown>; readonly remove: () => unknown }) => {
  const runtime = ManagedRuntime.make(installation.open())
  afterAll(async () => {
    await runtime.dispose()
    await installation.remove()
  })
  return <A, E>(effect: Effect.Effect<A, E, R>): Promise<A> => runtime.runPromise(effect)
}

/** Opens an installation for one effect and closes it again. */
export const session = <A, E, R>(layer: Layer.Layer<R, unknown>, effect: Effect.Effect<A, E, R>): Promise<A> =>
  Effect.runPromise(Effect.provide(effect, layer))

export const space = spaceScope(`s${"a".repeat(19)}` as SpaceKey)
export const tenant = (letter: string) => tenantScope(space.space, `t${letter.repeat(19)}` as TenantKey)
export const acme = tenant("a")
export const other = tenant("b")

let counter = 0
/** A name that no test used before. */
export const fresh = (kind: string): LocalName => `${kind}-${++counter}x${process.pid}`
export const eventId = (): EventId => randomUUID() as EventId

export const happened = (fields: Record<string, unknown> = {}): NewEvent => ({
  id: eventId(),
  type: "Happened",
  version: 1,
  data: JSON.stringify(fields)
})

/** An append of one event to a stream that must not exist, unless said otherwise. */
export const appendOf = (
  scope: Scope,
  local: LocalName,
  given: Partial<Pick<Append, "expected" | "workDue">> & {
    readonly events?: ReadonlyArray<NewEvent>
    readonly contents?: ReadonlyArray<NewContent>
  } = {}
): Append => ({
  scope,
  stream: streamName(scope, local),
  expected: given.expected ?? -1,
  events: (given.events ?? [happened()]) as unknown as Append["events"],
  contents: given.contents ?? [],
  origin: { actor: systemActor("test"), correlationId: "cause-1" },
  at: 1_760_000_000_000,
  ...("workDue" in given ? { workDue: given.workDue ?? null } : {})
})
