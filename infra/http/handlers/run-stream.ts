/** Live events of runs as server-sent events: what is recorded, in order, without a gap from the position to resume at. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { Position } from "#domain/ids.ts"
import { bucketOf, kindAndIdOf, type TenantScope } from "#domain/scope.ts"
import { TooBusy } from "#services/actors.ts"
import type { Feed, FeedPage } from "#services/ports/feed.ts"
import type { StoredEvent } from "#services/ports/journal.ts"
import { readPositionToken, writePositionToken } from "#services/position-token.ts"
import { Caller } from "../api/guards.ts"
import { Stopping } from "../app.ts"
import { RequestInvalid } from "../problems.ts"

/** A sign of life for proxies; at the same time the caller's key is looked at again. */
const heartbeat = "15 seconds"
const pageEvents = 200
/** Live streams of this process. */
const streamsMax = 1_000

const messageOf =
  (journalId: string) =>
  ({ position, type, stream, revision, at, data }: StoredEvent) => ({
    id: writePositionToken(journalId, position) as string | undefined,
    event: type,
    data: { executionId: kindAndIdOf(stream).id, revision, at, fields: data }
  })
const alive = { id: undefined, event: "heartbeat", data: {} }

export interface FollowOptions {
  readonly journalId: string
  /** `run-` for all runs of the tenant, `run-<id>` for one. */
  readonly local: string
  readonly after: Position | null
  /** Told first: what was read of the stream before following. */
  readonly before?: ReadonlyArray<StoredEvent>
  /** Position of the newest event that was told or is known: the feed repeats none up to it. */
  readonly known?: Position
}

/** The position to resume after, when the client named one; refused when this journal never gave it out. */
export const resumeAfter = (feed: Feed["Service"], journalId: string, lastEventId: string | undefined) =>
  Effect.gen(function* () {
    if (lastEventId === undefined) return undefined
    const detail = "Expected the id of an event that this stream has told. Leave it out to begin now"
    const neverTold = new RequestInvalid({ errors: [{ in: "header", pointer: "/last-event-id", detail }] })
    const token = Effect.fromResult(readPositionToken(journalId, lastEventId))
    const position = yield* Effect.catchTag(token, "PositionMalformed", () => Effect.fail(neverTold))
    const head = yield* feed.head
    return head !== null && position.length === head.length && position <= head ? position : yield* neverTold
  })

/** What fails inside a stream can only end it: the client comes back with the last id that it has. */
const endQuietly = (cause: Cause.Cause<unknown>) =>
  Stream.fromEffectDrain(Cause.hasInterruptsOnly(cause) ? Effect.void : Effect.logWarning("A live stream ended early.", cause))

let open = 0
const counted = <A>(stream: Stream.Stream<A>): Stream.Stream<A> =>
  Stream.unwrap(
    Effect.sync(() => {
      open++
      return Stream.ensuring(
        stream,
        Effect.sync(() => open--)
      )
    })
  )

/** Ends when the process stops or the caller's key does. */
export const followRuns = (feed: Feed["Service"], scope: TenantScope, { journalId, local, after, before = [], known }: FollowOptions) =>
  Effect.gen(function* () {
    if (open >= streamsMax) return yield* new TooBusy({ reason: `${streamsMax} live streams are open, the most that are kept.` })
    const stopping = yield* Stopping
    const { stillValid } = yield* Caller
    const message = messageOf(journalId)
    const prefix = `${bucketOf(scope.key)}/${scope.key}/${local}`
    const fresh = ({ events }: FeedPage) => events.filter(({ position }) => known === undefined || position > known).map(message)
    const live = feed
      .follow({ after, limit: pageEvents, streamPrefixes: [prefix] })
      .pipe(Stream.map(fresh), Stream.flatMap(Stream.fromIterable))
    // The first one comes at once: it carries the headers, so that the client knows it is connected.
    const beats = Stream.tick(heartbeat).pipe(
      Stream.takeWhileEffect(() => stillValid),
      Stream.map(() => alive)
    )
    const told = Stream.fromIterable(before.map(message))
    const all = Stream.concat(told, Stream.merge(live, beats, { haltStrategy: "either" }))
    return counted(all.pipe(Stream.interruptWhen(stopping), Stream.catchCause(endQuietly)))
  })
