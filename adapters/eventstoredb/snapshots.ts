/** Snapshots: a stream beside each stream, of which the newest event counts. A cache: without it, streams are read whole. */
import { randomUUID } from "node:crypto"
import { RecentMap } from "#adapters/memory/recent-map.ts"
import type { ScopeKeys } from "#adapters/sealing/scope-keys.ts"
import { seal, unseal } from "#adapters/sealing/sealing.ts"
import type { StoredSnapshot } from "#services/ports/journal.ts"
import { jsonBytes, type StoreDriver } from "./driver.ts"

interface SnapshotMetadata {
  /** Of the decider. */
  readonly version: number
  readonly revision: number
  /** The server's revision of the stream's event at `revision`. */
  readonly serverRevision: number
  readonly keyVersion: number
}
export interface OpenedSnapshot extends StoredSnapshot {
  readonly serverRevision: number
}

const snapshotStream = (stream: string): string => `snapshot-${stream}`
const snapshotContext = (stream: string, version: number, revision: number, keyVersion: number): string =>
  `snapshot\n${keyVersion}\n${version}\n${revision}\n${stream}`

/** Larger states are not kept: an append takes no more. */
const stateBytesMax = 1_000_000
/** Streams whose snapshots are known to keep one event alone. */
const boundedMax = 16_384

export class Snapshots {
  private readonly driver: StoreDriver
  private readonly keys: ScopeKeys
  private readonly bounded = new RecentMap<string, true>(boundedMax)

  constructor(driver: StoreDriver, keys: ScopeKeys) {
    this.driver = driver
    this.keys = keys
  }

  /** Null when there is none of this version, or its key is gone. */
  async newest(scope: string, stream: string, version: number): Promise<OpenedSnapshot | null> {
    const raw = (await this.driver.reads.stream({ stream: snapshotStream(stream), backwards: true, limit: 1 }))?.[0]
    if (raw === undefined || raw.type !== "snapshot") return null
    const metadata = JSON.parse(Buffer.from(raw.metadata).toString("utf8")) as SnapshotMetadata
    if (metadata.version !== version) return null
    const key = await this.keys.toOpen(scope, "log", metadata.keyVersion)
    const plain = key && unseal(key.key, snapshotContext(stream, version, metadata.revision, key.version), raw.data)
    if (plain === undefined || plain === null) return null
    return { revision: metadata.revision, serverRevision: metadata.serverRevision, state: plain.toString("utf8") }
  }

  /** An older one, or one that somebody else overtakes, changes nothing. */
  async save(scope: string, stream: string, version: number, { revision, serverRevision, state }: OpenedSnapshot): Promise<void> {
    const plain = Buffer.from(state, "utf8")
    if (plain.length > stateBytesMax) return
    const name = snapshotStream(stream)
    const there = (await this.driver.reads.stream({ stream: name, backwards: true, limit: 1 }))?.[0]
    if (there !== undefined && there.type === "snapshot") {
      const newest = JSON.parse(Buffer.from(there.metadata).toString("utf8")) as SnapshotMetadata
      if (newest.version === version && newest.revision >= revision) return
    }
    if (this.bounded.get(name) !== true) {
      await this.driver.keepNewest(name, 1)
      this.bounded.set(name, true)
    }
    const key = await this.keys.toSeal(scope, "log")
    const metadata: SnapshotMetadata = { version, revision, serverRevision, keyVersion: key.version }
    const data = new Uint8Array(seal(key.key, snapshotContext(stream, version, revision, key.version), plain))
    const event = { id: randomUUID(), type: "snapshot", json: false, data, metadata: jsonBytes(metadata) }
    await this.driver.append(name, there?.serverRevision ?? -1, [event])
  }

  /** Leaves nothing that could be opened. */
  async drop(stream: string): Promise<void> {
    const name = snapshotStream(stream)
    const there = (await this.driver.reads.stream({ stream: name, backwards: true, limit: 1 }))?.[0]
    if (there === undefined || there.type !== "snapshot") return
    const gone = { id: randomUUID(), type: "snapshot-dropped", json: false, data: new Uint8Array(), metadata: new Uint8Array() }
    await this.driver.append(name, there.serverRevision, [gone])
  }
}
