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
import { type Append, type Appended, Journal, type LoadedStream, type NewEvent } from "./ports/journal.ts"
import { JournalUnavailable } from "./ports/unavailable.ts"
import {
  AggregateRetired,
  type Any,
  type AppendFailure,
  CommandIdReused,
  type Decided,
  type Expecting,
  type Job,
  type TransactError,
  type Transacted,
  type TransactOptions
} from "./transact-job.ts"
import { type Part, PartRefused, togetherBy } from "./transact-together.ts"

export {
  AggregateRetired,
  CommandIdReused,
  type Expecting,
  type Part,
  PartRefused,
  type TransactError,
  type Transacted,
  type TransactOptions
}

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

const limits = {
  /** Times that a command is decided again after somebody else's append. */
  conflictRetries: 32,
  /** Times that an append with unknown outcome is repeated, and the first pause in milliseconds (doubled each time). */
  unknownRetries: 6,
  unknownPauseMillis: 20,
  /** Events after which a state is stored as a snapshot. */
  eventsPerSnapshot: 128
} as const

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
    /**
     * Decides for several streams of one scope and appends to all of them, or to none. Null where the journal cannot. Two changes that
     * share a stream have to name it first: then they cannot wait for each other.
     */
    readonly together:
      | ((scope: Scope, parts: ReadonlyArray<Part>) => Effect.Effect<ReadonlyArray<Transacted<Any, Any>>, PartRefused | TransactError>)
      | null
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

      const load = Effect.fnUntraced(function* ({
        actor,
        aggregate,
        scope,
        stream
      }: Pick<Job, "actor" | "aggregate" | "scope" | "stream">) {
        const found = yield* journal.load(scope, stream, aggregate.version)
        if (found.retired) return yield* new AggregateRetired({ stream: localNameOf(stream) })
        restore(aggregate, actor, found)
      })

      const unknown = (error: { readonly _tag: string }): boolean => error instanceof JournalUnavailable && error.written === "unknown"

      /** Repeats the identical append while nobody knows whether it was written (R2). */
      const untilKnown = <A>(append: () => Effect.Effect<A, AppendFailure>, tries = 0): Effect.Effect<A, AppendFailure> =>
        Effect.catch(append(), (error) =>
          unknown(error) && tries < limits.unknownRetries
            ? Effect.andThen(Effect.sleep(limits.unknownPauseMillis * 2 ** tries), untilKnown(append, tries + 1))
            : Effect.fail(error)
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

      const decideAll = ({
        actor,
        aggregate,
        commands
      }: Job): Result.Result<{ readonly state: Any; readonly events: ReadonlyArray<Any> }, Any> => {
        const events: Array<Any> = []
        let { state } = actor
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
        data: aggregate.events.encode(event)
      })

      /** Load when it has to be, decide, append, and again when somebody else was first. */
      const attempt = (job: Job): Effect.Effect<Transacted<Any, Any>, Any> => {
        const { actor, options } = job
        if (actor.loaded) return decideAndAppend(job)
        if (options.presumeAbsent === true && job.conflicts === 0) {
          presume(job)
          return decideAndAppend(job)
        }
        return Effect.flatMap(load(job), () => decideAndAppend(job))
      }

      const decideAndAppend = (job: Job): Effect.Effect<Transacted<Any, Any>, Any> => {
        const { actor, options } = job
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
        const result = decideAll(job)
        if (Result.isFailure(result)) {
          // It was presumed absent, and nobody has looked yet.
          if (options.presumeAbsent === true && actor.revision < 0) actor.loaded = false
          return Effect.fail(result.failure)
        }
        if (result.success.events.length === 0) return Effect.succeed(done(actor, [], false))
        const decided = decidedOf(job, result.success)
        const append = appendOf(job, decided)
        return Effect.matchEffect(
          untilKnown(() => journal.append(append)),
          {
            onSuccess: (outcome) => succeeded(job, decided, outcome),
            onFailure: (error) => failed(job, error)
          }
        )
      }

      const decidedOf = ({ actor, aggregate }: Job, { events, state }: Pick<Decided, "events" | "state">): Decided => ({
        state,
        events,
        due: aggregate.workDue?.(state) ?? null,
        dueBefore: actor.revision < 0 ? null : (aggregate.workDue?.(actor.state) ?? null)
      })

      const appendOf = ({ actor, aggregate, clock, options, scope, stream }: Job, { due, dueBefore, events }: Decided): Append => ({
        scope,
        stream,
        expected: actor.revision,
        events: events.map((event) => encode(aggregate, event)) as [NewEvent, ...Array<NewEvent>],
        contents: typeof options.contents === "function" ? options.contents(events) : (options.contents ?? []),
        origin: options.origin,
        at: clock.currentTimeMillisUnsafe(),
        ...(due === dueBefore ? {} : { workDue: due })
      })

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

      const failed = (job: Job, error: AppendFailure): Effect.Effect<Transacted<Any, Any>, Any> => {
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

      const presume = ({ actor, aggregate }: Job) => {
        Object.assign(actor, { loaded: true, state: aggregate.initialState, revision: -1, position: null, commands: undefined })
      }

      const together = (append: NonNullable<Journal["Service"]["appendTogether"]>) =>
        togetherBy({
          actors,
          load,
          presume,
          decideAll,
          decidedOf,
          appendOf,
          append: (appends) => untilKnown(() => append(appends)),
          succeeded,
          unchanged: ({ actor }) => done(actor, [], false),
          conflicted: () => conflicts++
        })

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
        together: journal.appendTogether === null ? null : together(journal.appendTogether),
        read: (aggregate, scope, id) =>
          Effect.suspend(() => {
            const stream = streamName(scope, `${aggregate.kind}-${id}`)
            const settled = actors.settled(stream)
            if (settled !== undefined) return Effect.succeed(readOf(settled))
            const actor = actors.of(stream, aggregate.initialState)
            return Effect.uninterruptible(
              inTurn(scope, stream, actor, () =>
                Effect.map(actor.loaded ? Effect.void : load({ actor, aggregate, scope, stream }), () => readOf(actor))
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
