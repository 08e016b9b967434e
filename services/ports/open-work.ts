/** The index of streams that somebody has to go on with, written in the same transaction as their events (R24). */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"
import type { Scope, ScopeKey, StreamName } from "#domain/scope.ts"
import type { JournalUnavailable } from "./unavailable.ts"

export interface WorkItem {
  readonly scope: Scope
  readonly stream: StreamName
  /** Epoch milliseconds from which it is due; 0: at once. */
  readonly dueAt: number
}

export class OpenWork extends Context.Service<
  OpenWork,
  {
    /** Items due at or before a time, oldest due first. */
    readonly due: (query: {
      readonly before: number
      readonly limit: number
      /** Only this tenant's. */
      readonly key?: ScopeKey
      /** Continue after this item of the order (dueAt, stream). */
      readonly after?: WorkItem
    }) => Effect.Effect<ReadonlyArray<WorkItem>, JournalUnavailable>
    /** Says once, and again whenever this process has taken buckets over since: whatever is open in them was announced by nobody here. */
    readonly takenOver: Stream.Stream<void>
    /** Number of open items, and the earliest due time. */
    readonly summary: Effect.Effect<{ readonly open: number; readonly earliestDueAt: number | null }, JournalUnavailable>
  }
>()("tributary/ports/OpenWork") {}
