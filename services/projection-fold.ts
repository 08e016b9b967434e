/** Folding a batch of events into views: each event is decoded once, each view is touched in memory and written once. */
import { UnknownEvent } from "#domain/event-family.ts"
import type { Position } from "#domain/ids.ts"
import type { Recorded } from "#domain/recorded.ts"
import type { FamiliesByType } from "#domain/registry.ts"
import type { ScopeKey } from "#domain/scope.ts"
import type { AnyProjection } from "#projections/projection.ts"
import type { StoredEvent } from "./ports/journal.ts"
import type { StoredView } from "./ports/read-models.ts"

type AnyRecorded = Recorded<{ readonly _tag: string }>

/** A page of the feed; an event is decoded when the first projection wants it, and kept for the others. */
export class DecodedBatch {
  readonly events: ReadonlyArray<StoredEvent>
  readonly #types = new Set<string>()
  readonly #families: FamiliesByType
  readonly #decoded: Array<AnyRecorded | undefined>

  constructor(events: ReadonlyArray<StoredEvent>, families: FamiliesByType) {
    this.events = events
    this.#families = families
    this.#decoded = new Array(events.length)
    for (const { type } of events) this.#types.add(type)
  }

  /** Whether it has an event of one of these types. */
  hasAny(types: ReadonlySet<string>): boolean {
    for (const type of this.#types) if (types.has(type)) return true
    return false
  }

  /** Throws when this release cannot read the event. */
  recorded(index: number): AnyRecorded {
    const known = this.#decoded[index]
    if (known !== undefined) return known
    const { id, type, version, scope, stream, revision, position, at, origin, hash, data } = this.events[index]!
    const family = this.#families.get(type)
    if (family === undefined) throw new UnknownEvent(type, version, undefined)
    const event = family.decode(type, version, data)
    const recorded = { id, type, version, scope, stream, revision, position, at, origin, hash, event }
    this.#decoded[index] = recorded
    return recorded
  }
}

/** A view in memory, as it will be stored. `at` is "" for one that is not stored. */
export interface CachedView {
  readonly key: ScopeKey
  readonly space: string
  readonly id: string
  view: Record<string, unknown> | null
  at: Position
  /** Changed since it was stored: it is written once, with the others that changed. */
  touched: boolean
}

type ByScope = Map<ScopeKey, Map<string, CachedView>>

/**
 * The views touched last, so that a fresh one need not be loaded again. Two generations: when the young one is full it becomes
 * the old one, whose unused views then fall away; cheaper than moving an entry at each use.
 */
export class ViewCache {
  readonly #max: number
  #young: ByScope = new Map()
  #youngSize = 0
  #old: ByScope = new Map()

  /** `max` bounds each generation. */
  constructor(max: number) {
    this.#max = max
  }

  get(key: ScopeKey, id: string): CachedView | undefined {
    const young = this.#young.get(key)?.get(id)
    if (young !== undefined) return young
    const old = this.#old.get(key)?.get(id)
    if (old !== undefined) this.set(old)
    return old
  }

  set(view: CachedView): void {
    let views = this.#young.get(view.key)
    if (views === undefined) {
      views = new Map()
      this.#young.set(view.key, views)
    }
    views.set(view.id, view)
    this.#youngSize++
  }

  /** Called when all touched views are stored: they must all stay until then. */
  trim(): void {
    if (this.#youngSize < this.#max) return
    this.#old = this.#young
    this.#young = new Map()
    this.#youngSize = 0
  }

  clear(): void {
    this.#young.clear()
    this.#youngSize = 0
    this.#old.clear()
  }
}

/** What stopped a projection: it threw, or the event cannot be read. */
export interface Fault {
  readonly position: Position
  readonly type: string
  readonly error: string
}

/** One event for one view. */
interface Step {
  readonly recorded: AnyRecorded
  readonly stored: CachedView
}
export interface Plan {
  readonly steps: ReadonlyArray<Step>
  /** Views that have to be loaded before the fold. */
  readonly missing: ReadonlyArray<CachedView>
  /** Up to here, the events before the fault. */
  readonly to: Position | null
  readonly fault: Fault | null
}

const nothingYet = "" as Position

const faultOf = (event: Pick<StoredEvent, "position" | "type">, cause: unknown): Fault => ({
  position: event.position,
  type: event.type,
  error: cause instanceof Error ? cause.message : String(cause)
})

/**
 * Which views the batch's events after `from` change, in order. Missing ones are put into the cache, to be filled by the
 * caller before `foldPlan`.
 */
export const planFold = (
  projection: AnyProjection,
  wanted: ReadonlySet<string>,
  batch: DecodedBatch,
  cache: ViewCache,
  from: Position | null,
  to: Position | null
): Plan => {
  // Should the first event of a stream come again, so do all after it: folding them again from nothing gives the same view.
  const firstIsFresh = projection.perStream === true
  const steps: Array<Step> = []
  const missing: Array<CachedView> = []
  const add = (recorded: AnyRecorded, id: string) => {
    const { key, space } = recorded.scope
    let stored = cache.get(key, id)
    if (stored === undefined) {
      stored = { key, space, id, view: null, at: nothingYet, touched: false }
      cache.set(stored)
      if (!(firstIsFresh && recorded.revision === 0)) missing.push(stored)
    }
    steps.push({ recorded, stored })
  }
  let before = from
  for (let index = 0; index < batch.events.length; index++) {
    const event = batch.events[index]!
    if (from !== null && event.position <= from) continue
    if (wanted.has(event.type)) {
      try {
        const recorded = batch.recorded(index)
        const ids = projection.key(recorded)
        if (typeof ids === "string") add(recorded, ids)
        else if (ids !== undefined) for (const id of ids) add(recorded, id)
      } catch (cause) {
        return { steps, missing, to: before, fault: faultOf(event, cause) }
      }
    }
    before = event.position
  }
  return { steps, missing, to, fault: null }
}

export interface Folded {
  readonly to: Position | null
  readonly fault: Fault | null
}

/** Folds, and adds what was not touched yet to `touched`; an event at or before a view's own position is skipped before the fold (R18). */
export const foldPlan = (projection: AnyProjection, plan: Plan, from: Position | null, touched: Array<CachedView>): Folded => {
  let before = from
  let last: Position | null = null
  for (const { recorded, stored } of plan.steps) {
    // The views of an event with several come one after the other: `before` moves on when they are all done.
    if (last !== recorded.position) {
      before = last ?? before
      last = recorded.position
    }
    if (recorded.position <= stored.at) continue
    let next: object | null
    try {
      next = projection.evolve(stored.view ?? undefined, recorded, stored.id) ?? null
    } catch (cause) {
      return { to: before, fault: faultOf(recorded, cause) }
    }
    // Unchanged by this event, so folding it again would not change it either.
    if (next === stored.view) continue
    stored.view = next as Record<string, unknown> | null
    stored.at = recorded.position
    if (!stored.touched) {
      stored.touched = true
      touched.push(stored)
    }
  }
  return { to: plan.to, fault: plan.fault }
}

/** Fills a view that was missing with what is stored. */
export const fill = (view: CachedView, stored: StoredView | undefined): void => {
  if (stored === undefined) return
  view.view = stored.view
  view.at = stored.at
}
