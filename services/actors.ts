/** Tenant actors: the streams in memory, each changed by one command at a time, in the order in which they came. */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import type { Position } from "#domain/ids.ts"
import type { Origin } from "#domain/recorded.ts"
import type { Scope, ScopeKey, StreamName } from "#domain/scope.ts"

/** A bound was reached: the tenant's mailbox is full, or others kept changing the same stream. */
export class TooBusy extends Data.TaggedError("TooBusy")<{ readonly reason: string }> {
  override get message() {
    return `${this.reason} Nothing was changed. Try again shortly.`
  }
}

/** One stream in memory: the state after its last event, and who waits for their turn. */
export interface Actor {
  // biome-ignore lint/suspicious/noExplicitAny: actors of all aggregates are kept together.
  state: any
  /** -1: the stream does not exist. */
  revision: number
  position: Position | null
  loaded: boolean
  busy: boolean
  readonly waiting: Array<() => void>
  /** Of the stream's newest event that the feed has told of; -1: of none. */
  newest: number
  /** Command ids of the newest events, oldest first, with their hash. */
  commands: Map<string, string> | undefined
  eventsSinceSnapshot: number
}

export const limits = {
  /** Streams kept in memory when nobody works on them: some five for a tenant. */
  cachedStreams: 65_536,
  /** Commands of one tenant that may wait at the same time. */
  mailboxPerTenant: 20_000,
  /** Command ids remembered per stream. */
  commandsPerStream: 64
} as const

/** Recognises the actor's repeats from now on. */
export const rememberCommand = (actor: Actor, { commandId, commandHash }: Origin): void => {
  if (commandId === undefined) return
  actor.commands ??= new Map()
  actor.commands.set(commandId, commandHash ?? "")
  if (actor.commands.size > limits.commandsPerStream) actor.commands.delete(actor.commands.keys().next().value!)
}

export class Actors {
  /** In two generations, so that a use moves an actor once and not every time: the old one is dropped when the young one is full. */
  #young = new Map<StreamName, Actor>()
  #old = new Map<StreamName, Actor>()
  /** Actors that came into the young generation, those that have left it again included. */
  #came = 0
  readonly #mailboxes = new Map<ScopeKey, number>()
  /** Turns that are being handed over. */
  readonly #turns: Array<() => void> = []

  get size(): number {
    return this.#young.size + this.#old.size
  }

  /** Commands that wait for their turn. */
  get waiting(): number {
    let waiting = 0
    for (const count of this.#mailboxes.values()) waiting += count
    return waiting
  }

  /** The stream's actor; a fresh one is not loaded. */
  of(stream: StreamName, initialState: unknown): Actor {
    const known = this.#used(stream)
    if (known !== undefined) return known
    const actor: Actor = {
      state: initialState,
      revision: -1,
      position: null,
      loaded: false,
      busy: false,
      waiting: [],
      newest: -1,
      commands: undefined,
      eventsSinceSnapshot: 0
    }
    this.#keep(stream, actor)
    return actor
  }

  /** The actor when its state can be read at once: loaded, and nobody is changing it. Counts as a use. */
  settled(stream: StreamName): Actor | undefined {
    const actor = this.#used(stream)
    return actor === undefined || !actor.loaded || actor.busy ? undefined : actor
  }

  /** Takes the turn: at once, which undefined says, or after those who wait already. */
  enter(scope: Scope, actor: Actor): Effect.Effect<void, TooBusy> | undefined {
    if (!actor.busy) {
      actor.busy = true
      return undefined
    }
    const waiting = this.#mailboxes.get(scope.key) ?? 0
    if (waiting >= limits.mailboxPerTenant)
      return Effect.fail(new TooBusy({ reason: `The tenant has ${waiting} commands waiting, the most that are kept.` }))
    this.#mailboxes.set(scope.key, waiting + 1)
    return Effect.callback<void>((resume) => {
      actor.waiting.push(() => {
        const left = (this.#mailboxes.get(scope.key) ?? 1) - 1
        if (left === 0) this.#mailboxes.delete(scope.key)
        else this.#mailboxes.set(scope.key, left)
        resume(Effect.void)
      })
    })
  }

  /** Gives the turn to the next. */
  leave(stream: StreamName, actor: Actor): void {
    if (actor.revision < actor.newest) {
      actor.loaded = false
      actor.newest = -1
    }
    const next = actor.waiting.shift()
    if (next === undefined) this.#rest(stream, actor)
    else this.#handOver(next)
  }

  /** One after the other, not one inside the other: a command that has nothing to wait for gives its turn on at once. */
  #handOver(turn: () => void): void {
    this.#turns.push(turn)
    if (this.#turns.length > 1) return
    for (let index = 0; index < this.#turns.length; index++) this.#turns[index]!()
    this.#turns.length = 0
  }

  #rest(stream: StreamName, actor: Actor): void {
    actor.busy = false
    if (!actor.loaded) this.#drop(stream)
  }

  /** The feed tells of an event: a state without it is dropped, at once or when its turn is over. False: the state has it. */
  overtake(stream: StreamName, revision: number): boolean {
    const actor = this.#find(stream)
    if (actor === undefined) return true
    if (actor.loaded && actor.revision >= revision) return false
    if (actor.busy) actor.newest = Math.max(actor.newest, revision)
    else this.#drop(stream)
    return true
  }

  /** Drops a stream: one that is being changed is loaded anew for whoever comes next. */
  forget(stream: StreamName): void {
    const actor = this.#find(stream)
    if (actor?.busy === true) actor.newest = Number.MAX_SAFE_INTEGER
    else if (actor !== undefined) this.#drop(stream)
  }

  #find(stream: StreamName): Actor | undefined {
    return this.#young.get(stream) ?? this.#old.get(stream)
  }

  #used(stream: StreamName): Actor | undefined {
    const young = this.#young.get(stream)
    if (young !== undefined) return young
    const old = this.#old.get(stream)
    if (old === undefined) return undefined
    this.#old.delete(stream)
    this.#keep(stream, old)
    return old
  }

  #keep(stream: StreamName, actor: Actor): void {
    const full = limits.cachedStreams / 2
    if (this.#young.size >= full && this.#came >= full) this.#age()
    this.#came++
    this.#young.set(stream, actor)
  }

  #drop(stream: StreamName): void {
    this.#young.delete(stream)
    this.#old.delete(stream)
  }

  /** Those that somebody works on stay, however long it takes. */
  #age(): void {
    const dropped = this.#old
    this.#old = this.#young
    this.#young = new Map()
    this.#came = 0
    for (const [stream, actor] of dropped) if (actor.busy) this.#young.set(stream, actor)
  }
}
