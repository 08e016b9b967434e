/** Where each stream of the journal stands: looked up once, then held in memory while it is in use. */

import { RecentMap } from "#adapters/memory/recent-map.ts"
import { hashBeforeFirst } from "./event-record.ts"
import type { Statements } from "./journal-statements.ts"
import { StreamNames } from "./stream-names.ts"

/** What is known of a stream without reading it. */
export interface Head {
  readonly id: number
  readonly scopeId: number
  revision: number
  hash: string
  /** Its open work; null: none. */
  workDue: number | null
  retired: boolean
}
interface HeadRow {
  readonly scope_id: number
  readonly due_at: number | null
  readonly retired_revision: number | null
  readonly retired_hash: string | null
  readonly revision: number | null
  readonly hash: string | null
}

/** Stream heads held in memory; about 300 bytes each. */
const headsMax = 16_384
const scopesMax = 16_384

/** Also numbers the scopes. What a transaction changed here is forgotten when it is rolled back. */
export class StreamHeads {
  readonly names: StreamNames
  private readonly sql: Statements
  private readonly heads = new RecentMap<string, Head>(headsMax)
  private readonly scopes = new RecentMap<string, number>(scopesMax)

  constructor(sql: Statements) {
    this.sql = sql
    this.names = new StreamNames(sql)
  }

  forget(): void {
    this.heads.clear()
    this.scopes.clear()
    this.names.reload()
  }

  /** The new stream's head, stored with its open work, or undefined when it is there already; `isAbsent`: somebody has just looked. */
  create(space: string, scope: string, stream: string, workDue: number | null, isAbsent: boolean): Head | undefined {
    const hash = hashBeforeFirst(stream)
    if (!isAbsent && this.names.find(scope, stream, hash) !== undefined) return undefined
    const scopeId = this.scopeId(space, scope, stream.slice(0, 2))
    const id = this.names.add(scopeId, scope, stream, hash, workDue)
    const head: Head = { id, scopeId, revision: -1, hash, workDue, retired: false }
    this.heads.set(stream, head)
    return head
  }

  /** Undefined: the stream does not exist. */
  find(scope: string, stream: string): Head | undefined {
    const cached = this.heads.get(stream)
    if (cached !== undefined) return cached
    const first = hashBeforeFirst(stream)
    const id = this.names.find(scope, stream, first)
    if (id === undefined) return undefined
    const row = this.sql.findHead.get(id) as unknown as HeadRow
    const head: Head = {
      id,
      scopeId: row.scope_id,
      revision: row.retired_revision ?? row.revision ?? -1,
      hash: row.retired_hash ?? row.hash ?? first,
      workDue: row.due_at,
      retired: row.retired_revision !== null
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
}
