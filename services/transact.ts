/** The one way to change anything: load the aggregate, decide, append at the exact revision; one command of a stream at a time. */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Aggregate } from "#domain/decider.ts"
import type { Position } from "#domain/ids.ts"
import type { Origin } from "#domain/recorded.ts"
import { type LocalName, localNameOf, type Scope, type StreamName, streamName } from "#domain/scope.ts"
import { type Actor, Actors, rememberCommand, TooBusy } from "./actors.ts"
import { Entropy } from "./ports/entropy.ts"
import {
  type Append,
  type Appended,
  type AppendRejected,
  Journal,
  type LoadedStream,
  type NewContent,
  type NewEvent
} from "./ports/journal.ts"
import { JournalUnavailable } from "./ports/unavailable.ts"

/** The same command id came with another content: 422 (R1). */
export class CommandIdReused extends Schema.TaggedError<CommandIdReused>()("CommandIdReused", { commandId: Schema.String }) {
  override get message() {
    return `The Idempotency-Key ${this.commandId} was used for another request. Nothing was changed. Use a new key for a new request.`
  }
}
/** The stream's events were removed by the retention policy: it can be neither read nor changed. */
export class AggregateRetired extends Schema.TaggedError<AggregateRetired>()("AggregateRetired", { stream: Schema.String }) {
  override get message() {
    return `${this.stream} was retired by the retention policy. Nothing was changed.`
  }
}
export type TransactError = JournalUnavailable | TooBusy | CommandIdReused | AggregateRetired

/** Decided on another revision than the one that is there: somebody changed it meanwhile (412). */
export class RevisionMismatch extends Schema.TaggedError<RevisionMismatch>()("RevisionMismatch", {
  expected: Schema.Int,
  /** What is there now; -1: nothing. */
  revision: Schema.Int
}) {
  override get message() {
    const now = this.revision < 0 ? "It does not exist" : `It is at revision ${this.revision} now`
    return `${now}, not at ${this.expected}: somebody has changed it meanwhile. Nothing was changed. Read it again and decide anew.`
  }
}
/** What a caller takes for granted when it asks for a change. */
export interface Expecting {
  /** The revision that the aggregate has to be at; -1: it must not exist yet. Left out: whichever. */
  readonly ifRevision?: number | undefined
}

export interface TransactOptions<State = never> extends Expecting {
  /** Which revision is meant where a stream holds several things; the stream's when left out. Asked only when one is expected. */
  readonly revisionOf?: (state: State) => number
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
/** Only who names a revision can miss it. */
type MismatchOf<Options> = "ifRevision" extends keyof Options ? RevisionMismatch : never
export type OvertakenListener = (stream: StreamName, revision: number) => void
export type WorkListener = (scope: Scope, stream: StreamName, dueAt: number, origin: Origin) => void

// biome-ignore lint/suspicious/noExplicitAny: a cache holds the states of all aggregates.
type Any = any

const limits = {
  /** Times that a command is decided again after somebody else's append. */
  conflictRetries: 32,
  /** Times that an append with unknown outcome is repeated, and the first pause in milliseconds (doubled each time). */
  unknownRetries: 6,
  unknownPauseMillis: 20,
  /** Events after which a state is stored as a snapshot. */
  eventsPerSnapshot: 128
} as const

/** Commands on their way to one stream. */
interface Job {
  readonly aggregate: Aggregate<Any, Any, Any, Any>
  readonly scope: Scope
  readonly stream: StreamName
  readonly actor: Actor
  readonly commands: ReadonlyArray<Any>
  readonly options: TransactOptions
  readonly clock: Clock.Clock
  conflicts: number
}
interface Decided {
  readonly state: Any
  readonly events: ReadonlyArray<Any>
  readonly due: number | null
  readonly dueBefore: number | null
}

export class Transact extends Context.Service<
  Transact,
  {
    /** Decides one command, or several on each other's results in one append. */
    readonly transact: <State, Command, Event extends { readonly _tag: string }, Rejection, Options extends TransactOptions<State>>(
      aggregate: Aggregate<State, Command, Event, Rejection>,
      scope: Scope,
      id: string,
      command: Command | ReadonlyArray<Command>,
      options: Options
    ) => Effect.Effect<Transacted<State, Event>, Rejection | TransactError | MismatchOf<Options>>
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
    /**
     * The log has this event, whoever appended it: a state that lacks it is dropped. Called where other processes write too, with
     * every event of the kinds that are kept in memory.
     */
    readonly overtake: (stream: StreamName, revision: number) => void
    /** Called when `overtake` told of an event that this process may not have made. */
    readonly onOvertaken: (listener: OvertakenListener) => void
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
      const actors = new Actors()
      const listeners: Array<WorkListener> = []
      const overtakenListeners: Array<OvertakenListener> = []
      let appended = 0
      let conflicts = 0

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
          rememberCommand(actor, event.origin)
        }
        actor.eventsSinceSnapshot = found.events.length
        actor.loaded = true
      }

      const load = Effect.fnUntraced(function* (aggregate: Aggregate<Any, Any, Any, Any>, scope: Scope, stream: StreamName, actor: Actor) {
        const found = yield* journal.load(scope, stream, aggregate.version)
        if (found.retired) return yield* new AggregateRetired({ stream: localNameOf(stream) })
        restore(aggregate, actor, found)
      })

      const unknown = (error: { readonly _tag: string }): boolean => error instanceof JournalUnavailable && error.written === "unknown"

      /** Repeats the identical batch until its outcome is known (R2). */
      const repeatUnknown = (append: Append, tries: number): Effect.Effect<Appended, AppendRejected | JournalUnavailable> =>
        Effect.sleep(limits.unknownPauseMillis * 2 ** tries).pipe(
          Effect.andThen(journal.append(append)),
          Effect.catch((error) =>
            unknown(error) && tries + 1 < limits.unknownRetries ? repeatUnknown(append, tries + 1) : Effect.fail(error)
          )
        )

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

      /** Load when it has to be, decide, append, and again when somebody else was first. */
      const attempt = (job: Job): Effect.Effect<Transacted<Any, Any>, Any> => {
        const { actor, aggregate, options } = job
        if (actor.loaded) return decideAndAppend(job)
        if (options.presumeAbsent === true && job.conflicts === 0) {
          Object.assign(actor, { loaded: true, state: aggregate.initialState, revision: -1, position: null, commands: undefined })
          return decideAndAppend(job)
        }
        return Effect.flatMap(load(aggregate, job.scope, job.stream, actor), () => decideAndAppend(job))
      }

      const decideAndAppend = (job: Job): Effect.Effect<Transacted<Any, Any>, Any> => {
        const { actor, aggregate, options } = job
        const { commandId, commandHash } = options.origin
        const seen = commandId === undefined ? undefined : actor.commands?.get(commandId)
        if (seen !== undefined)
          return seen === (commandHash ?? "")
            ? Effect.succeed(done(actor, [], true))
            : Effect.fail(new CommandIdReused({ commandId: commandId! }))
        if (options.ifRevision !== undefined) {
          const revision = options.revisionOf?.(actor.state as never) ?? actor.revision
          if (revision !== options.ifRevision) return Effect.fail(new RevisionMismatch({ expected: options.ifRevision, revision }))
        }
        const decided = decideAll(aggregate, job.commands, actor.state)
        if (Result.isFailure(decided)) {
          // It was presumed absent, and nobody has looked yet.
          if (options.presumeAbsent === true && actor.revision < 0) actor.loaded = false
          return Effect.fail(decided.failure)
        }
        const { events, state } = decided.success
        if (events.length === 0) return Effect.succeed(done(actor, events, false))
        const dueBefore = actor.revision < 0 ? null : (aggregate.workDue?.(actor.state) ?? null)
        const due = aggregate.workDue?.(state) ?? null
        const append: Append = {
          scope: job.scope,
          stream: job.stream,
          expected: actor.revision,
          events: events.map((event) => encode(aggregate, event)) as [NewEvent, ...Array<NewEvent>],
          contents: typeof options.contents === "function" ? options.contents(events) : (options.contents ?? []),
          origin: options.origin,
          at: job.clock.currentTimeMillisUnsafe(),
          ...(due === dueBefore ? {} : { workDue: due })
        }
        return Effect.matchEffect(journal.append(append), {
          onSuccess: (outcome) => succeeded(job, { state, events, due, dueBefore }, outcome),
          onFailure: (error) =>
            unknown(error)
              ? Effect.matchEffect(repeatUnknown(append, 0), {
                  onSuccess: (outcome) => succeeded(job, { state, events, due, dueBefore }, outcome),
                  onFailure: (last) => failed(job, last)
                })
              : failed(job, error)
        })
      }

      const succeeded = (job: Job, { state, events, due, dueBefore }: Decided, outcome: Appended) => {
        const { actor } = job
        appended += events.length
        actor.state = state
        actor.revision = outcome.revision
        actor.position = outcome.position
        actor.eventsSinceSnapshot += events.length
        rememberCommand(actor, job.options.origin)
        if (due !== null && due !== dueBefore) for (const listener of listeners) listener(job.scope, job.stream, due, job.options.origin)
        const transacted = done(actor, events, false)
        return actor.eventsSinceSnapshot < limits.eventsPerSnapshot
          ? Effect.succeed(transacted)
          : Effect.as(snapshot(job.aggregate, job.scope, job.stream, actor), transacted)
      }

      const failed = (job: Job, error: AppendRejected | JournalUnavailable): Effect.Effect<Transacted<Any, Any>, Any> => {
        job.actor.loaded = false
        if (error._tag === "StreamRetired") return Effect.fail(new AggregateRetired({ stream: localNameOf(job.stream) }))
        // Nobody may hand over so much: the same append would fail for ever.
        if (error._tag === "AppendTooLarge") return Effect.die(error)
        if (error._tag !== "RevisionConflict") return Effect.fail(error)
        conflicts++
        return ++job.conflicts > limits.conflictRetries
          ? Effect.fail(new TooBusy({ reason: `Others kept changing ${job.aggregate.kind}.` }))
          : attempt(job)
      }

      /** Whatever becomes of it, the next one has its turn. */
      const inTurn = <A, E>(scope: Scope, stream: StreamName, actor: Actor, body: () => Effect.Effect<A, E>) => {
        const turn = Effect.onExit(Effect.suspend(body), () => Effect.sync(() => actors.leave(stream, actor)))
        const entering = actors.enter(scope, actor)
        return entering === undefined ? turn : Effect.flatMap(entering, () => turn)
      }

      return Transact.of({
        transact: (aggregate, scope, id, command, options) =>
          Effect.uninterruptible(
            Clock.clockWith((clock) => {
              const stream = streamName(scope, `${aggregate.kind}-${id}`)
              const actor = actors.of(stream, aggregate.initialState)
              const commands: ReadonlyArray<Any> = Array.isArray(command) ? command : [command]
              return inTurn(scope, stream, actor, () =>
                attempt({ aggregate, scope, stream, actor, commands, options, clock, conflicts: 0 })
              ) as Any
            })
          ),
        read: (aggregate, scope, id) =>
          Effect.suspend(() => {
            const stream = streamName(scope, `${aggregate.kind}-${id}`)
            const settled = actors.settled(stream)
            if (settled !== undefined) return Effect.succeed(readOf(settled))
            const actor = actors.of(stream, aggregate.initialState)
            return Effect.uninterruptible(
              inTurn(scope, stream, actor, () =>
                Effect.map(actor.loaded ? Effect.void : load(aggregate, scope, stream, actor), () => readOf(actor))
              )
            )
          }),
        peek: (aggregate, scope, id) => actors.settled(streamName(scope, `${aggregate.kind}-${id}`))?.state,
        forget: (scope, local) => actors.forget(streamName(scope, local)),
        overtake: (stream, revision) => {
          if (actors.overtake(stream, revision)) for (const listener of overtakenListeners) listener(stream, revision)
        },
        onOvertaken: (listener) => {
          overtakenListeners.push(listener)
        },
        onWork: (listener) => {
          listeners.push(listener)
        },
        figures: () => ({ streams: actors.size, waiting: actors.waiting, appended, conflicts })
      })
    })
  )
}

const readOf = ({ state, revision, position }: Actor): ReadState<Any> => ({ state, revision, position })
