/** Where projections run and their views are asked for: in this process, or in a thread beside it. */
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import type * as Effect from "effect/Effect"
import type { Position } from "#domain/ids.ts"
import type { Scope } from "#domain/scope.ts"
import type { Page, Query, QueryRefused } from "./read-models.ts"
import type { ReadModelsUnavailable } from "./unavailable.ts"

/** How far one stored generation of a projection is. */
export interface ModelProgress {
  /** `runs@1`, or `runs@1+2` for its second generation, made by a rebuild. */
  readonly model: string
  /**
   * live: follows the log. building: is being made, does not serve yet. catching-up: serves, and has fallen behind. standby:
   * somebody else runs it. quarantined: stopped at an event. frozen: of an older version, serves as it is.
   */
  readonly status: "live" | "building" | "catching-up" | "standby" | "quarantined" | "frozen"
  readonly position: Position | null
  readonly rows: number
  /** From 0 to 1, where the journal's positions can be counted. */
  readonly share: number | null
  /** Measured over the last seconds of building; null otherwise. */
  readonly eventsPerSecond: number | null
  /** The event that stopped it, and why. */
  readonly fault: { readonly position: Position; readonly type: string; readonly error: string } | null
}
export interface ProjectionStatus {
  readonly name: string
  readonly version: number
  /** The generation that answers queries; null: none can yet. */
  readonly serving: ModelProgress | null
  /** The generation that is being made to take its place. */
  readonly building: ModelProgress | null
  /** Position of the newest event. */
  readonly head: Position | null
}

export class ProjectionUnknown extends Data.TaggedError("ProjectionUnknown")<{
  readonly projection: string
  readonly known: ReadonlyArray<string>
}> {
  override get message() {
    return `There is no projection ${this.projection}. There are: ${this.known.join(", ")}.`
  }
}
/** No stored version can answer; the new one is on its way. */
export class ViewsBuilding extends Data.TaggedError("ViewsBuilding")<{
  readonly projection: string
  /** From 0 to 1, where it is known. */
  readonly share: number | null
  readonly retryAfterSeconds: number
}> {
  override get message() {
    const share = this.share === null ? "" : ` (${Math.floor(this.share * 100)} % done)`
    return `The view ${this.projection} is being built from the log${share}. Nothing is lost. Try again in ${this.retryAfterSeconds} s.`
  }
}
/** The view has not got to the position that the reader has seen, within the time that a query may wait (R22). */
export class ViewsBehind extends Data.TaggedError("ViewsBehind")<{
  readonly projection: string
  readonly wanted: Position
  readonly position: Position | null
  readonly retryAfterSeconds: number
}> {
  override get message() {
    return `The view ${this.projection} does not show the wanted position yet. Nothing is lost. Try again in ${this.retryAfterSeconds} s.`
  }
}
export type ViewFailure = ProjectionUnknown | ViewsBuilding | ViewsBehind | QueryRefused | ReadModelsUnavailable

export class ViewServer extends Context.Service<
  ViewServer,
  {
    /** A view, or null. With `after`, waits a bounded time until the view has got there. */
    readonly get: (
      projection: string,
      scope: Scope,
      id: string,
      after: Position | null
    ) => Effect.Effect<Record<string, unknown> | null, ViewFailure>
    readonly find: (projection: string, query: Query, after: Position | null) => Effect.Effect<Page, ViewFailure>
    readonly projections: Effect.Effect<ReadonlyArray<ProjectionStatus>, ReadModelsUnavailable>
    /** Starts making a fresh generation while the present one serves; when one is being made already, changes nothing. */
    readonly rebuild: (projection: string) => Effect.Effect<ProjectionStatus, ProjectionUnknown | ReadModelsUnavailable>
  }
>()("tributary/ports/ViewServer") {}
