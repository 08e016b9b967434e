/** The one way to change anything: load the aggregate, decide, append at the exact revision; one command of a stream at a time. */
import { Clock, Context, Data, Effect, Layer, Result, Schema } from "effect"
import type { Aggregate } from "#domain/decider.ts"
import type { Position } from "#domain/ids.ts"
import type { Origin } from "#domain/recorded.ts"
import { type LocalName, type Scope, type ScopeKey, type StreamName, streamName } from "#domain/scope.ts"
import { Entropy } from "./ports/entropy.ts"
import {
  type Append,
  type Appended,
  Journal,
  type LoadedStream,
  type NewContent,
  type NewEvent,
  type RevisionConflict
} from "./ports/journal.ts"
import { JournalUnavailable } from "./ports/unavailable.ts"

/** The same command id came with another content: 422 (R1). */
export class CommandIdReused extends Schema.TaggedError<CommandIdReused>()("CommandIdReused", { commandId: Schema.String }) {
  override get message() {
    return `The Idempotency-Key ${this.commandId} was used for another request. Nothing was changed. Use a new key for a new request.`
  }
}
/** A bound was reached: the tenant's mailbox is full, or others kept changing the same stream. */
export class TooBusy extends Data.TaggedError("TooBusy")<{ readonly reason: string }> {
  override get message() {
    return `${this.reason} Nothing was changed. Try again shortly.`
  }
}
/** The stream's events were removed by the retention policy: it can be neither read nor changed. */
export class AggregateRetired extends Schema.TaggedError<AggregateRetired>()("AggregateRetired", { stream: Schema.String }) {
  override get message() {
    return `${this.stream} was retired by the retention policy. Nothing was changed.`
  }
}
export type TransactError = JournalUnavailable | TooBusy | CommandIdReused | AggregateRetired

export interface TransactOptions {
  readonly origin: Origin
  /** Content that the decided events refer to; sealed and written with them. By what was decided, where it depends on it. */
  readonly contents?: ReadonlyArray<NewContent> | ((events: ReadonlyArray<{ readonly _tag: string }>) => ReadonlyArray<NewContent>)
  /** The stream is most likely new: decide on the initial state first, and load only when that proves wrong. */
  readonly presumeAbsent?: boolean
}
export interface Transacted<State, Event> {
  readonly state: State
  /** What was decided; empty when it was so already. */
  readonly events: ReadonlyArray<Event>
  readonly revision: number
  /** Of the stream's newest event, where known. */
  readonly position: Position | null
  /** The command id was seen before: nothing was done again. */
  readonly repeated: boolean
}
export interface ReadState<State> {
  readonly state: State
  /** -1: the stream does not exist. */
  readonly revision: number
  readonly position: Position | null
}
export type WorkListener = (scope: Scope, stream: StreamName, dueAt: number) => void

// biome-ignore lint/suspicious/noExplicitAny: a cache holds the states of all aggregates.
type Any = any

/** One stream in memory: the state after its last event, and who waits for their turn. */
interface Actor {
  state: Any
  revision: number
  position: Position | null
  loaded: boolean
  busy: boolean
  waiting: Array<() => void>
  /** Command ids of the newest events, oldest first, with their hash. */
  commands: Map<string, string> | undefined
  eventsSinceSnapshot: number
}

export const limits = {
  /** Streams kept in memory when nobody works on them. */
  cachedStreams: 16_384,
  /** Commands of one tenant that may wait at the same time. */
  mailboxPerTenant: 20_000,
  /** Times that a command is decided again after somebody else's append. */
  conflictRetries: 8,
  /** Times that an append with unknown outcome is repeated, and the first pause in milliseconds (doubled each time). */
  unknownRetries: 6,
  unknownPauseMillis: 20,
  /** Command ids remembered per stream. */
  commandsPerStream: 64,
  /** Events after which a state is stored as a snapshot. */
  eventsPerSnapshot: 128
} as const

export class Transact extends Context.Service<
  Transact,
  {
    /** Decides one command, or several on each other's results in one append. */
    readonly transact: <State, Command, Event extends { readonly _tag: string }, Rejection>(
      aggregate: Aggregate<State, Command, Event, Rejection>,
      scope: Scope,
      id: string,
      command: Command | ReadonlyArray<Command>,
      options: TransactOptions
    ) => Effect.Effect<Transacted<State, Event>, Rejection | TransactError>
    /** The state as of the newest event, from memory when it is there. */
    readonly read: <State, Command, Event extends { readonly _tag: string }, Rejection>(
      aggregate: Aggregate<State, Command, Event, Rejection>,
      scope: Scope,
      id: string
    ) => Effect.Effect<ReadState<State>, JournalUnavailable | TooBusy | AggregateRetired>
    /** The state when it is in memory and nobody is changing it: for hot paths that must not wait. */
    readonly peek: <State, Command, Event extends { readonly _tag: string }, Rejection>(
      aggregate: Aggregate<State, Command, Event, Rejection>,
      scope: Scope,
      id: string
    ) => State | undefined
    /** Drops a stream from memory, as one that nobody will need soon. */
    readonly forget: (scope: Scope, local: LocalName) => void
    /** Called after each append that leaves a stream with work newly due. */
    readonly onWork: (listener: WorkListener) => void
    /** Streams in memory, and commands that wait: for the metrics. */
    readonly figures: () => { readonly streams: number; readonly waiting: number; readonly appended: number; readonly conflicts: number }
  }
>()("tributary/services/Transact") {
  static readonly layer = Layer.effect(
    Transact,
    Effect.gen(function* () {
      const journal = yield* Journal
      const entropy = yield* Entropy
      const actors = new Map<StreamName, Actor>()
      const mailboxes = new Map<ScopeKey, number>()
      const listeners: Array<WorkListener> = []
      let appended = 0
      let conflicts = 0

      const actorOf = (stream: StreamName, initialState: Any): Actor => {
        const known = actors.get(stream)
        if (known !== undefined) return known
        const actor: Actor = {
          state: initialState,
          revision: -1,
          position: null,
          loaded: false,
          busy: false,
          waiting: [],
          commands: undefined,
          eventsSinceSnapshot: 0
        }
        actors.set(stream, actor)
        return actor
      }

      /** The map's order is that of use, from when it is half full on. */
      const touch = (stream: StreamName, actor: Actor) => {
        if (actors.size <= limits.cachedStreams / 2 || actors.get(stream) !== actor) return
        actors.delete(stream)
        actors.set(stream, actor)
      }

      const evict = () => {
        for (const [stream, actor] of actors) {
          if (actors.size <= limits.cachedStreams) return
          if (!actor.busy) actors.delete(stream)
        }
      }

      const enter = (scope: Scope, actor: Actor): Effect.Effect<void, TooBusy> => {
        if (!actor.busy) {
          actor.busy = true
          return Effect.void
        }
        const waiting = mailboxes.get(scope.key) ?? 0
        if (waiting >= limits.mailboxPerTenant)
          return Effect.fail(new TooBusy({ reason: `The tenant has ${waiting} commands waiting, the most that are kept.` }))
        mailboxes.set(scope.key, waiting + 1)
        return Effect.callback<void>((resume) => {
          actor.waiting.push(() => {
            const left = (mailboxes.get(scope.key) ?? 1) - 1
            if (left === 0) mailboxes.delete(scope.key)
            else mailboxes.set(scope.key, left)
            resume(Effect.void)
          })
        })
      }

      const leave = (stream: StreamName, actor: Actor) => {
        const next = actor.waiting.shift()
        if (next !== undefined) return next()
        actor.busy = false
        if (!actor.loaded) actors.delete(stream)
        else {
          touch(stream, actor)
          if (actors.size > limits.cachedStreams) evict()
        }
      }

      const remember = (actor: Actor, origin: Origin) => {
        if (origin.commandId === undefined) return
        actor.commands ??= new Map()
        actor.commands.set(origin.commandId, origin.commandHash ?? "")
        if (actor.commands.size > limits.commandsPerStream) actor.commands.delete(actor.commands.keys().next().value!)
      }

      const restore = (aggregate: Aggregate<Any, Any, Any, Any>, actor: Actor, found: LoadedStream) => {
        actor.commands = undefined
        actor.state = aggregate.initialState
        actor.revision = -1
        actor.position = null
        if (found.snapshot !== null) {
          const snapshot = JSON.parse(found.snapshot.state) as { state: Any; commands: Array<[string, string]> }
          actor.state = snapshot.state
          actor.revision = found.snapshot.revision
          if (snapshot.commands.length > 0) actor.commands = new Map(snapshot.commands)
        }
        for (const event of found.events) {
          actor.state = aggregate.evolve(actor.state, aggregate.events.decode(event.type, event.version, event.data))
          actor.revision = event.revision
          actor.position = event.position
          remember(actor, event.origin)
        }
        actor.eventsSinceSnapshot = found.events.length
        actor.loaded = true
      }

      const load = Effect.fnUntraced(function* (aggregate: Aggregate<Any, Any, Any, Any>, scope: Scope, stream: StreamName, actor: Actor) {
        const found = yield* journal.load(scope, stream, aggregate.version)
        if (found.retired) return yield* new AggregateRetired({ stream: stream.slice(stream.lastIndexOf("/") + 1) })
        restore(aggregate, actor, found)
      })

      /** Repeats the identical batch until its outcome is known (R2). */
      const appendCertainly = Effect.fnUntraced(function* (append: Append) {
        let pause = limits.unknownPauseMillis as number
        for (let attempt = 0; ; attempt++) {
          const outcome: Result.Result<Appended, Any> = yield* Effect.result(journal.append(append))
          if (Result.isSuccess(outcome)) return outcome.success
          const error = outcome.failure
          if (!(error instanceof JournalUnavailable) || error.written === "no" || attempt >= limits.unknownRetries)
            return yield* Effect.fail(error as RevisionConflict | JournalUnavailable)
          yield* Effect.sleep(pause)
          pause *= 2
        }
      })

      const snapshot = (aggregate: Aggregate<Any, Any, Any, Any>, scope: Scope, stream: StreamName, actor: Actor) => {
        actor.eventsSinceSnapshot = 0
        const state = JSON.stringify({ state: actor.state, commands: [...(actor.commands ?? [])] })
        return Effect.ignore(journal.saveSnapshot(scope, stream, aggregate.version, { revision: actor.revision, state }))
      }

      const done = (actor: Actor, events: ReadonlyArray<Any>, repeated: boolean): Transacted<Any, Any> => ({
        state: actor.state,
        events,
        revision: actor.revision,
        position: actor.position,
        repeated
      })

      const decideAll = (
        aggregate: Aggregate<Any, Any, Any, Any>,
        commands: ReadonlyArray<Any>,
        from: Any
      ): Result.Result<{ readonly state: Any; readonly events: ReadonlyArray<Any> }, Any> => {
        const events: Array<Any> = []
        let state = from
        for (const command of commands) {
          const decided = aggregate.decide(command, state)
          if (Result.isFailure(decided)) return Result.fail(decided.failure)
          for (const event of decided.success) {
            state = aggregate.evolve(state, event)
            events.push(event)
          }
        }
        return Result.succeed({ state, events })
      }

      const encode = (aggregate: Aggregate<Any, Any, Any, Any>, event: Any): NewEvent => ({
        id: entropy.eventId(),
        type: event._tag,
        version: aggregate.events.versionOf(event._tag),
        data: JSON.stringify(aggregate.events.encode(event))
      })

      const decideAndAppend = Effect.fnUntraced(function* (
        aggregate: Aggregate<Any, Any, Any, Any>,
        scope: Scope,
        stream: StreamName,
        actor: Actor,
        commands: ReadonlyArray<Any>,
        options: TransactOptions
      ) {
        const presumed = !actor.loaded && options.presumeAbsent === true
        if (presumed)
          Object.assign(actor, { loaded: true, state: aggregate.initialState, revision: -1, position: null, commands: undefined })
        for (let attempt = 0; ; attempt++) {
          if (!actor.loaded) yield* load(aggregate, scope, stream, actor)
          const { commandId, commandHash } = options.origin
          const seen = commandId === undefined ? undefined : actor.commands?.get(commandId)
          if (seen !== undefined)
            return seen === (commandHash ?? "") ? done(actor, [], true) : yield* new CommandIdReused({ commandId: commandId! })
          const decided = decideAll(aggregate, commands, actor.state)
          if (Result.isFailure(decided)) {
            if (presumed && actor.revision < 0) actor.loaded = false
            return yield* Effect.fail(decided.failure)
          }
          const { events, state } = decided.success
          if (events.length === 0) return done(actor, events, false)
          const at = yield* Clock.currentTimeMillis
          const dueBefore = actor.revision < 0 ? null : (aggregate.workDue?.(actor.state) ?? null)
          const due = aggregate.workDue?.(state) ?? null
          const outcome: Result.Result<Appended, Any> = yield* Effect.result(
            appendCertainly({
              scope,
              stream,
              expected: actor.revision,
              events: events.map((event) => encode(aggregate, event)) as [NewEvent, ...Array<NewEvent>],
              contents: typeof options.contents === "function" ? options.contents(events) : (options.contents ?? []),
              origin: options.origin,
              at,
              ...(due === dueBefore ? {} : { workDue: due })
            })
          )
          if (Result.isSuccess(outcome)) {
            appended += events.length
            actor.state = state
            actor.revision = outcome.success.revision
            actor.position = outcome.success.position
            actor.eventsSinceSnapshot += events.length
            remember(actor, options.origin)
            if (actor.eventsSinceSnapshot >= limits.eventsPerSnapshot) yield* snapshot(aggregate, scope, stream, actor)
            if (due !== null && due !== dueBefore) for (const listener of listeners) listener(scope, stream, due)
            return done(actor, events, false)
          }
          actor.loaded = false
          const error = outcome.failure
          if (error._tag === "StreamRetired") return yield* new AggregateRetired({ stream: stream.slice(stream.lastIndexOf("/") + 1) })
          if (error._tag !== "RevisionConflict") return yield* Effect.fail(error as JournalUnavailable)
          conflicts++
          if (attempt >= limits.conflictRetries) return yield* new TooBusy({ reason: `Others kept changing ${aggregate.kind}.` })
        }
      })

      const inTurn = <A, E>(scope: Scope, stream: StreamName, initialState: Any, body: (actor: Actor) => Effect.Effect<A, E>) =>
        Effect.uninterruptible(
          Effect.suspend(() => {
            const actor = actorOf(stream, initialState)
            return Effect.flatMap(enter(scope, actor), () =>
              Effect.ensuring(
                body(actor),
                Effect.sync(() => leave(stream, actor))
              )
            )
          })
        )

      return Transact.of({
        transact: (aggregate, scope, id, command, options) => {
          const stream = streamName(scope, `${aggregate.kind}-${id}`)
          const commands = Array.isArray(command) ? command : [command]
          return inTurn(scope, stream, aggregate.initialState, (actor) =>
            decideAndAppend(aggregate, scope, stream, actor, commands, options)
          ) as Any
        },
        read: (aggregate, scope, id) => {
          const stream = streamName(scope, `${aggregate.kind}-${id}`)
          const actor = actors.get(stream)
          if (actor?.loaded === true && !actor.busy) {
            touch(stream, actor)
            return Effect.succeed({ state: actor.state, revision: actor.revision, position: actor.position })
          }
          return inTurn(scope, stream, aggregate.initialState, (actor) =>
            Effect.map(actor.loaded ? Effect.void : load(aggregate, scope, stream, actor), () => ({
              state: actor.state,
              revision: actor.revision,
              position: actor.position
            }))
          )
        },
        peek: (aggregate, scope, id) => {
          const actor = actors.get(streamName(scope, `${aggregate.kind}-${id}`))
          return actor?.loaded === true && !actor.busy ? actor.state : undefined
        },
        forget: (scope, local) => {
          const stream = streamName(scope, local)
          if (actors.get(stream)?.busy === false) actors.delete(stream)
        },
        onWork: (listener) => {
          listeners.push(listener)
        },
        figures: () => {
          let waiting = 0
          for (const count of mailboxes.values()) waiting += count
          return { streams: actors.size, waiting, appended, conflicts }
        }
      })
    })
  )
}
