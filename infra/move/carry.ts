/** Carries the log: retired streams first, then every append in its order. Whatever interrupts it, it goes on at what was reached. */
import { type CarriedAppend, CarryMismatch, type MoveTarget, type Reached } from "#adapters/eventstoredb/move-target.ts"
import type { MoveSource, StoredAppend } from "#adapters/sqlite/move-source.ts"
import { localNameOf, scopeKeyOf } from "#domain/scope.ts"
import { mayPass, patienceMillis, patiently, pause } from "./patience.ts"
import type { Progress } from "./progress.ts"

/** Behind these the source is carried. */
interface Place {
  readonly retiredId: number
  readonly position: number
}

/** The append as the other journal takes it. */
export const carriedOf = (stored: StoredAppend, source: MoveSource): CarriedAppend => {
  const { scope, stream, revision, at, origin, hash, record, events, contents, workDue } = stored
  const opened = contents === null ? null : source.open(stored)
  return {
    scope,
    stream,
    expected: revision - events.length,
    events,
    contents: opened?.contents ?? [],
    origin,
    at,
    ...(workDue === null ? {} : { workDue }),
    hash,
    record,
    contentsText: contents,
    key: opened?.key ?? null
  }
}

const placeOf = (source: MoveSource, reached: Reached | null): Place => {
  if (reached === null) return { retiredId: 0, position: 0 }
  const id = source.streamId(scopeKeyOf(reached.stream), localNameOf(reached.stream))
  if (id === undefined) throw new CarryMismatch(`${reached.stream} is not of this installation.`)
  if (reached.is === "retired") return { retiredId: id, position: 0 }
  const position = source.positionOf(id, reached.revision)
  if (position === undefined)
    throw new CarryMismatch(`${reached.stream} holds the revision ${reached.revision}, which is not of this installation.`)
  return { retiredId: Number.MAX_SAFE_INTEGER, position }
}

const carryFrom = async (source: MoveSource, target: MoveTarget, startedAt: number, place: Place, progress: Progress): Promise<void> => {
  const carry = target.carry(startedAt)
  try {
    for (const { id: _, scope, ...retired } of source.retired(place.retiredId)) await carry.retired({ ...retired, space: scope.space })
    for (const stored of source.appends(place.position)) {
      await carry.append(carriedOf(stored, source))
      progress.add(stored.events.length)
    }
    await carry.flush()
  } finally {
    carry.close()
  }
}

/** Gives up when the store has taken nothing for a minute. */
export const carryLog = async (
  source: MoveSource,
  target: MoveTarget,
  startedAt: number,
  progress: (behind: number) => Progress
): Promise<void> => {
  let before: string | undefined
  let movedAt = Date.now()
  for (;;) {
    try {
      const place = placeOf(source, await patiently(() => target.reached()))
      const now = `${place.retiredId}/${place.position}`
      if (now !== before) movedAt = Date.now()
      before = now
      return await carryFrom(source, target, startedAt, place, progress(place.position))
    } catch (cause) {
      if (!mayPass(cause) || Date.now() - movedAt > patienceMillis) throw cause
    }
    await pause()
  }
}
