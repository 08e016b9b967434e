/** Given recorded events, these views: what a projection makes of a list, without an engine. */
import type { EventId, Position } from "#domain/ids.ts"
import { type Recorded, systemActor } from "#domain/recorded.ts"
import { type LocalName, type Scope, streamName } from "#domain/scope.ts"
import type { Projection } from "#projections/projection.ts"

/** Events of one stream, recorded a millisecond apart from `from` on. */
export const recorded = <Event extends { readonly _tag: string }>(
  scope: Scope,
  local: LocalName,
  events: ReadonlyArray<Event>,
  from = 1_000
): ReadonlyArray<Recorded<Event>> =>
  events.map((event, revision) => ({
    id: `${local}/${revision}` as EventId,
    type: event._tag,
    version: 1,
    scope,
    stream: streamName(scope, local),
    revision,
    position: String(from + revision).padStart(16, "0") as Position,
    at: from + revision,
    origin: { actor: systemActor("test") },
    hash: "",
    event
  }))

/** The views by scope key and id, as `<scope key>/<id>`. */
export const project = <Event extends { readonly _tag: string }, View extends object>(
  projection: Projection<Event, View>,
  events: ReadonlyArray<Recorded<Event>>
): Readonly<Record<string, View>> => {
  const views: Record<string, View> = {}
  for (const event of events)
    for (const id of [projection.key(event) ?? []].flat()) {
      const name = `${event.scope.key}/${id}`
      const view = projection.evolve(views[name], event, id)
      if (view === undefined) delete views[name]
      else views[name] = view
    }
  return views
}
