/** The relay: one elected process publishes integration events and run events from the log; at least once, same ids (R27). */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import type { Position } from "#domain/ids.ts"
import { type Origin, systemActor } from "#domain/recorded.ts"
import { positionBefore, type RelayCommand, type Relay as RelayState, relay, within } from "#domain/relay.ts"
import { platformScope } from "#domain/scope.ts"
import { Feed, type FeedPage } from "./ports/feed.ts"
import { Journal } from "./ports/journal.ts"
import { Publisher } from "./ports/publisher.ts"
import { isTold, makeMessages } from "./relay-messages.ts"
import { Transact } from "./transact.ts"

export interface RelayOptions {
  /** Names this process; one that starts under the name of the last holder goes on at once. */
  readonly member: string
  /** A holder that leaves work lying for so long is replaced. */
  readonly leaseMillis?: number
  /** Progress is recorded this often while there is any. */
  readonly recordMillis?: number
  /** How often it is looked whether what was published is still there. */
  readonly lookMillis?: number
}
const defaults = { leaseMillis: 10_000, recordMillis: 2_000, lookMillis: 5_000 }

const limits = {
  /** Events of one page of the log. */
  page: 500,
  /** Messages, and events without any, after which progress is recorded at once. */
  messages: 1_000,
  passed: 10_000,
  /** Contents opened at the same time. */
  opening: 16,
  /** Pauses after a failure: doubled from the first to the last. */
  failureFirstMillis: 100,
  failureLastMillis: 5_000,
  /** How long the last progress and the hand-over may take at the end. */
  stopMillis: 3_000
} as const

export interface RelayFigures {
  /** Whether this process publishes. */
  readonly holds: boolean
  /** Messages published by this process. */
  readonly published: number
  /** Up to here everything is published, as far as this process knows. */
  readonly position: Position | null
  /** Times that the window was published again because what was kept was gone. */
  readonly rewinds: number
}

const id = "self"
const origin: Origin = { actor: systemActor("relay") }
const local = `${relay.kind}-${id}` as const

/** What was kept is gone: everything of the window is published again. */
class TargetGone extends Data.TaggedError("TargetGone") {}

/** How far the holder is. */
interface Progress {
  readonly epoch: number
  readonly target: string
  /** What was recorded before is not told; epoch milliseconds. */
  readonly since: number
  position: Position | null
  /** Since the last record. */
  messages: number
  passed: number
  /** When the newest page was asked for. */
  readAt: number
}

export class Relay extends Context.Service<Relay, { readonly figures: () => RelayFigures }>()("tributary/services/Relay") {
  static readonly layer = (options: RelayOptions) =>
    Layer.effect(
      Relay,
      Effect.gen(function* () {
        const { member, leaseMillis, recordMillis, lookMillis } = { ...defaults, ...options }
        const feed = yield* Feed
        const { journalId: journal } = yield* Journal
        const publisher = yield* Publisher
        const { forget, read, transact } = yield* Transact
        const messageOf = yield* makeMessages(publisher.bodyBytesMax)
        const figures = { holds: false, published: 0, position: null as Position | null, rewinds: 0 }
        /** Publishing and recording take turns. */
        const turn = yield* Semaphore.make(1)
        let held: Progress | undefined
        /** In a row. */
        let failures = 0

        const command = (given: RelayCommand) => transact(relay, platformScope, id, given, { origin })
        /** Past what this process remembers: another one may have appended. */
        const stateNow = Effect.suspend(() => {
          forget(platformScope, local)
          return Effect.map(read(relay, platformScope, id), ({ state }) => state)
        })

        const record = Effect.fnUntraced(function* (progress: Progress) {
          const { epoch, target, position, messages, readAt: at } = progress
          yield* command({ _tag: "AdvanceRelay", member, epoch, position, journal, target, messages, at })
          progress.messages = 0
          progress.passed = 0
        })

        const publishPage = Effect.fnUntraced(function* (progress: Progress, page: FeedPage) {
          const told = page.events.filter((event) => event.at >= progress.since && isTold(event))
          const messages = (yield* Effect.forEach(told, messageOf, { concurrency: limits.opening })).filter((message) => message !== null)
          if (messages.length > 0) yield* publisher.publish(messages)
          progress.position = page.position
          progress.messages += messages.length
          progress.passed += page.events.length
          figures.published += messages.length
          figures.position = page.position
          failures = 0
          if (progress.messages >= limits.messages || progress.passed >= limits.passed) yield* record(progress)
        })

        const beginAt = Effect.fnUntraced(function* (state: RelayState) {
          const now = yield* Clock.currentTimeMillis
          const target = yield* publisher.target
          const since = now - publisher.windowMillis
          const isNew = target !== state.target
          const known = within(state, journal)
          const position = isNew ? positionBefore(known, since) : known.position
          const progress: Progress = { epoch: state.epoch, target, since, position, messages: 0, passed: 0, readAt: now }
          if (isNew) {
            if (state.target !== null) figures.rewinds++
            yield* record(progress)
          }
          return progress
        })

        /** Records what was published; its own record is no progress, or it would never rest. */
        const recording = (progress: Progress) =>
          turn
            .withPermits(1)(Effect.suspend(() => (progress.messages > 0 ? record(progress) : Effect.void)))
            .pipe(Effect.delay(recordMillis), Effect.forever)
        const looking = (progress: Progress) =>
          Effect.flatMap(publisher.target, (target) => (target === progress.target ? Effect.void : Effect.fail(new TargetGone()))).pipe(
            Effect.delay(lookMillis),
            Effect.forever
          )
        const following = (progress: Progress) =>
          Stream.runForEach(feed.follow({ after: progress.position, limit: limits.page }), (page) =>
            turn.withPermits(1)(
              Effect.andThen(
                Effect.map(Clock.currentTimeMillis, (now) => {
                  progress.readAt = now
                }),
                publishPage(progress, page)
              )
            )
          )

        /** Until it is replaced, fails, or has to begin elsewhere. */
        const hold = Effect.fnUntraced(function* (state: RelayState) {
          const progress = yield* beginAt(state)
          held = progress
          figures.holds = true
          figures.position = progress.position
          yield* Effect.raceAllFirst([following(progress), recording(progress), looking(progress)])
        })

        const take = (seen: RelayState) =>
          Effect.map(command({ _tag: "TakeRelay", member, epoch: seen.epoch, position: seen.position }), ({ state }) => state)

        /** Something that its holder should have published by now. */
        const isWaiting = Effect.fnUntraced(function* (seen: RelayState) {
          if ((yield* publisher.target) !== seen.target) return true
          let after = within(seen, journal).position
          for (let passed = 0; passed < limits.passed; passed += limits.page) {
            const page = yield* feed.read({ after, limit: limits.page })
            if (page.events.some(isTold)) return true
            if (page.atHead) return false
            after = page.position
          }
          return true
        })

        /** Resolves when this process holds the relay. */
        const elect = Effect.gen(function* () {
          while (true) {
            const seen = yield* stateNow
            if (seen.member === null || seen.member === member) return yield* take(seen)
            const waited = yield* isWaiting(seen)
            yield* Effect.sleep(leaseMillis)
            const now = yield* stateNow
            if (waited && now.epoch === seen.epoch && now.position === seen.position) return yield* take(now)
          }
        })

        const pause = (why: unknown) => {
          const wait = Math.min(limits.failureLastMillis, limits.failureFirstMillis * 2 ** failures++)
          return Effect.as(Effect.andThen(Effect.logWarning(`The relay pauses for ${wait} ms.`, why), Effect.sleep(wait)), undefined)
        }
        /** Undefined after a failure, which was logged and waited for. */
        const orPause = <A, E extends { readonly message: string }>(work: Effect.Effect<A, E>): Effect.Effect<A | undefined> =>
          work.pipe(
            Effect.catch(({ message }) => pause(message)),
            Effect.catchCause((cause) => (Cause.hasInterruptsOnly(cause) ? Effect.interrupt : pause(cause)))
          )

        /** One stretch after the other, each from what was recorded, as long as this life of the holder is not replaced. */
        const holding = Effect.fnUntraced(function* (taken: RelayState) {
          let state: RelayState | undefined = taken
          while (state === undefined || (state.member === member && state.epoch === taken.epoch)) {
            if (state !== undefined) yield* orPause(Effect.catchTag(hold(state), ["TargetGone", "RelayNotYours"], () => Effect.void))
            state = yield* orPause(stateNow)
          }
          held = undefined
          figures.holds = false
        })

        const life = orPause(Effect.catchTag(elect, "RelayNotYours", () => Effect.succeed(undefined))).pipe(
          Effect.flatMap((taken) => (taken === undefined ? Effect.void : holding(taken))),
          Effect.forever
        )

        /** Records the rest and hands the relay back. */
        const stop = Effect.suspend(() => {
          if (held === undefined) return Effect.void
          const { epoch } = held
          const rest = held.messages > 0 ? record(held) : Effect.void
          return Effect.andThen(rest, command({ _tag: "ReleaseRelay", member, epoch }))
        }).pipe(Effect.timeoutOption(limits.stopMillis), Effect.ignore)

        yield* Effect.addFinalizer(() => stop)
        yield* Effect.forkScoped(life)
        return Relay.of({ figures: () => figures })
      })
    )
}
