/** Where each stream of the journal stands: looked up once, then held in memory while it is in use. */
import { hashBeforeFirst } from "./event-record.ts"
import type { Statements } from "./journal-statements.ts"
import { RecentMap } from "./recent-map.ts"

/** What is known of a stream without reading it. */
export interface Head {
  readonly id: number
  readonly scopeId: number
  revision: number
  hash: string
  /** Its entry in the open-work index; null: none. */
  workDue: number | null
  retired: boolean
}
interface HeadRow {
  readonly id: number
  readonly retired_revision: number | null
  readonly retired_hash: string | null
  readonly revision: number | null
  readonly hash: string | null
  readonly due_at: number | null
}

/** Stream heads held in memory; about 300 bytes each. */
const headsMax = 16_384
const scopesMax = 16_384

/** `run-abc` of `3f/<scope>/run-abc`. */
export const localOf = (scope: string, stream: string): string => stream.slice(scope.length + 4)

/** Also numbers the streams, scopes and event types. What a transaction changed here is forgotten when it is rolled back. */
export class StreamHeads {
  private readonly sql: Statements
  private newestId: number
  private readonly heads = new RecentMap<string, Head>(headsMax)
  private readonly scopes = new RecentMap<string, number>(scopesMax)
  private readonly types = new Map<string, number>()
  /** Most events of a batch are of one type. */
  private lastType: { readonly type: string; readonly version: number; readonly id: number } | undefined

  constructor(sql: Statements) {
    this.sql = sql
    this.newestId = this.readNewestId()
  }

  forget(): void {
    this.heads.clear()
    this.scopes.clear()
    this.types.clear()
    this.lastType = undefined
    this.newestId = this.readNewestId()
  }

  /** The new stream's head, or undefined when it is there already. */
  create(space: string, scope: string, stream: string): Head | undefined {
    if (this.heads.get(stream) !== undefined) return undefined
    const scopeId = this.scopeId(space, scope, stream.slice(0, 2))
    const { changes } = this.sql.insertStream.run(this.newestId + 1, scopeId, localOf(scope, stream))
    if (changes === 0) return undefined
    const head: Head = { id: ++this.newestId, scopeId, revision: -1, hash: hashBeforeFirst(stream), workDue: null, retired: false }
    this.heads.set(stream, head)
    return head
  }

  /** Undefined: the stream does not exist. */
  find(scope: string, stream: string): Head | undefined {
    const cached = this.heads.get(stream)
    if (cached !== undefined) return cached
    const scopeId = this.scopes.get(scope) ?? (this.sql.findScope.get(scope) as { id: number } | undefined)?.id
    if (scopeId === undefined) return undefined
    const row = this.sql.findHead.get(scopeId, localOf(scope, stream)) as HeadRow | undefined
    if (row === undefined) return undefined
    const isRetired = row.retired_revision !== null
    const head: Head = {
      id: row.id,
      scopeId,
      revision: row.retired_revision ?? row.revision ?? -1,
      hash: row.retired_hash ?? row.hash ?? hashBeforeFirst(stream),
      workDue: row.due_at,
      retired: isRetired
    }
    this.heads.set(stream, head)
    return head
  }

  private scopeId(space: string, scope: string, bucket: string): number {
    const cached = this.scopes.get(scope)
    if (cached !== undefined) return cached
    this.sql.insertScope.run(space, scope, bucket)
    const { id } = this.sql.findScope.get(scope) as { id: number }
    this.scopes.set(scope, id)
    return id
  }

  typeId(type: string, version: number): number {
    const last = this.lastType
    if (last !== undefined && last.type === type && last.version === version) return last.id
    const name = `${type}@${version}`
    const id = this.types.get(name) ?? this.storedTypeId(type, version)
    this.types.set(name, id)
    this.lastType = { type, version, id }
    return id
  }

  private storedTypeId(type: string, version: number): number {
    this.sql.insertType.run(type, version)
    return (this.sql.findType.get(type, version) as { id: number }).id
  }

  private readNewestId(): number {
    return (this.sql.newestStream.get() as { id: number }).id
  }
}
