/** The shape of every read model: a pure fold from recorded events to one view per key. */
import type { Recorded } from "#domain/recorded.ts"

/** How a field of a view can be searched and sorted. */
export type FieldType = "text" | "number" | "flag" | "time"

export interface Projection<Event extends { readonly _tag: string }, View extends object> {
  readonly name: string
  /** Raise it when the view changes shape or meaning: every row is then rebuilt from the first event (R21). */
  readonly version: number
  /** Oldest version whose stored views today's code can still show while a newer one is built; left out: no older one. */
  readonly readableSince?: number
  /** Event types that it wants; the engine decodes no others for it. */
  readonly events: ReadonlyArray<Event["_tag"]>
  /** Top-level fields of the view that queries may filter and sort by. */
  readonly fields: Readonly<Partial<Record<keyof View & string, FieldType>>>
  /** Sort orders that have an index: fields after the scope, in order. */
  readonly sorts: ReadonlyArray<ReadonlyArray<keyof View & string>>
  /** Queries may list its views of all scopes of a space: by indexes of their own, which each write pays for. */
  readonly acrossSpace?: true
  /** Its views are one per stream: a stream's first event finds none, so none is looked for. */
  readonly perStream?: true
  /** Id of the view within the event's scope that this event changes; several for an event about many; none to skip it. */
  readonly key: (recorded: Recorded<Event>) => string | ReadonlyArray<string> | undefined
  /** The view after the event; undefined removes it. `key` is the view that is being folded. */
  readonly evolve: (view: View | undefined, recorded: Recorded<Event>, key: string) => View | undefined
}

// biome-ignore lint/suspicious/noExplicitAny: a list of projections holds different event and view types.
export type AnyProjection = Projection<any, any>
