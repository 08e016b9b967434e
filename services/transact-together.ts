/** A change to several streams: decided for each of them, and appended to all or to none. */
import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import type { Aggregate } from "#domain/decider.ts"
import { type Scope, streamName } from "#domain/scope.ts"
import type { Actors } from "./actors.ts"
import type { Append, Appended } from "./ports/journal.ts"
import type { Any, AppendFailure, Decided, Job, TransactError, Transacted, TransactOptions } from "./transact-job.ts"

/** One stream's share of a change to several. */
export interface Part {
  readonly aggregate: Aggregate<Any, Any, Any, Any>
  readonly id: string
  readonly commands: ReadonlyArray<object>
  /** Presumed absent, it is taken at once or refused: nobody waits for what is in another's hands, or looks for what is there. */
  readonly options: TransactOptions
  /** What has to hold of what was decided. */
  readonly onlyIf?: (events: ReadonlyArray<Any>) => boolean
}
/** A change to several streams was not made, for the sake of one of them. */
export class PartRefused extends Data.TaggedError("PartRefused")<{
  /** Of the part, in the order in which they were given. */
  readonly index: number
}> {
  override get message() {
    return `Part ${this.index} of a change to several streams cannot be made as it was meant. Nothing was changed.`
  }
}

/** The steps of a change to one stream, of which one to several is made. */
export interface Steps {
  readonly actors: Actors
  readonly load: (job: Job) => Effect.Effect<void, TransactError>
  /** Takes the stream for a new one. */
  readonly presume: (job: Job) => void
  readonly decideAll: (job: Job) => Result.Result<Pick<Decided, "state" | "events">, Any>
  readonly decidedOf: (job: Job, decided: Pick<Decided, "state" | "events">) => Decided
  readonly appendOf: (job: Job, decided: Decided) => Append
  readonly append: (appends: readonly [Append, ...ReadonlyArray<Append>]) => Effect.Effect<ReadonlyArray<Appended>, AppendFailure>
  readonly succeeded: (job: Job, decided: Decided, outcome: Appended) => Effect.Effect<Transacted<Any, Any>>
  readonly unchanged: (job: Job) => Transacted<Any, Any>
  /** Somebody else was first. */
  readonly conflicted: () => void
}

export const togetherBy = ({ actors, load, presume, decideAll, decidedOf, appendOf, append, succeeded, unchanged, conflicted }: Steps) => {
  /** Takes the turns of all, one after the other, and sees that each is in memory. */
  const enterAll = Effect.fnUntraced(function* (scope: Scope, parts: ReadonlyArray<Part>, jobs: Array<Job>, clock: Clock.Clock) {
    for (const { aggregate, commands, id, options } of parts) {
      const stream = streamName(scope, `${aggregate.kind}-${id}`)
      const actor = actors.of(stream, aggregate.initialState)
      const isNew = options.presumeAbsent === true
      if (isNew && (actor.busy || (actor.loaded && actor.revision >= 0))) return yield* new PartRefused({ index: jobs.length })
      const entering = actors.enter(scope, actor)
      if (entering !== undefined) yield* entering
      const job: Job = { aggregate, scope, stream, actor, commands, options, clock, conflicts: 0 }
      jobs.push(job)
      if (isNew) presume(job)
      else if (!actor.loaded) yield* load(job)
    }
  })

  /** Nothing was written: what was presumed is not known any more. */
  const withdraw = (jobs: ReadonlyArray<Job>) => {
    for (const { actor, options } of jobs) if (options.presumeAbsent === true) actor.loaded = false
  }

  const decide = Effect.fnUntraced(function* (jobs: ReadonlyArray<Job>, parts: ReadonlyArray<Part>) {
    const decided: Array<Decided> = []
    const changed: Array<number> = []
    for (let index = 0; index < jobs.length; index++) {
      const result = decideAll(jobs[index]!)
      if (Result.isFailure(result) || parts[index]!.onlyIf?.(result.success.events) === false) return yield* new PartRefused({ index })
      decided.push(decidedOf(jobs[index]!, result.success))
      if (result.success.events.length > 0) changed.push(index)
    }
    const [first, ...others] = changed.map((index) => appendOf(jobs[index]!, decided[index]!))
    if (first === undefined) return jobs.map(unchanged)
    const written = yield* Effect.result(append([first, ...others]))
    if (Result.isFailure(written)) {
      const error = written.failure
      if (error._tag === "AppendTooLarge") return yield* Effect.die(error)
      if (error._tag === "JournalUnavailable") return yield* error
      const index = jobs.findIndex(({ stream }) => stream === error.stream)
      jobs[index]!.actor.loaded = false
      conflicted()
      return yield* new PartRefused({ index })
    }
    const results = jobs.map(unchanged)
    for (let at = 0; at < changed.length; at++) {
      const index = changed[at]!
      results[index] = yield* succeeded(jobs[index]!, decided[index]!, written.success[at]!)
    }
    return results
  })

  return (scope: Scope, parts: ReadonlyArray<Part>) =>
    Effect.uninterruptible(
      Clock.clockWith((clock) => {
        const jobs: Array<Job> = []
        return Effect.onExit(
          Effect.flatMap(enterAll(scope, parts, jobs, clock), () => decide(jobs, parts)),
          (exit) =>
            Effect.sync(() => {
              if (Exit.isFailure(exit)) withdraw(jobs)
              for (const { actor, stream } of jobs) actors.leave(stream, actor)
            })
        )
      })
    )
}
