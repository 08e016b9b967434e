/** The store as the rest of the adapter uses it: appends whose outcome gets known, reads, and streams' metadata. */
import { randomUUID } from "node:crypto"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { RecentMap } from "#adapters/memory/recent-map.ts"
import type { Position } from "#domain/ids.ts"
import type { StoreAddress } from "./address.ts"
import { type AppendAnswer, AppendCalls, type ProposedEvent } from "./append-calls.ts"
import { Connection, refusalOf, type StoreFacts } from "./connection.ts"
import { StoreFailure } from "./failure.ts"
import { laterOf } from "./position.ts"
import { ReadCalls } from "./read-calls.ts"
import type { StoreRefused } from "./refusal.ts"

export interface DriverOptions extends StoreAddress {
  /** One try of an append takes no longer; then its outcome is unknown. */
  readonly appendMillis?: number
  /** How long an unknown outcome is pursued before the caller is told so. */
  readonly outcomeMillis?: number
}
export type Outcome =
  /** `fresh`: surely written by this call, and not by an earlier one. */
  | { readonly is: "written"; readonly revision: number; readonly position: Position | null; readonly fresh: boolean }
  | Exclude<AppendAnswer, { readonly is: "written" }>

const defaults = { appendMillis: 5_000, outcomeMillis: 10_000 }
/** Pauses between the tries of one append: doubled from the first to the last. */
const pauseMillis = { first: 20, last: 500 }

const doubtfulMax = 4_096

/** What an event of the adapter's own is made of. Throws on what JSON cannot hold: it would never be answered by the client. */
export const jsonBytes = (value: unknown): Uint8Array => {
  const text = JSON.stringify(value)
  if (text === undefined) throw new TypeError(`${typeof value} is no JSON. Nothing was written.`)
  return new Uint8Array(Buffer.from(text, "utf8"))
}
export const noMetadata = new Uint8Array()

export class StoreDriver {
  readonly endpoint: string
  readonly reads: ReadCalls
  private readonly connection: Connection
  private readonly appends: AppendCalls
  private readonly appendMillis: number
  private readonly outcomeMillis: number
  private known: Position | null = null
  /** First ids of appends that were given up while nobody knew their outcome. */
  private readonly doubtful = new RecentMap<string, true>(doubtfulMax)
  private closed = false

  constructor(connection: Connection, options: Pick<DriverOptions, "appendMillis" | "outcomeMillis">) {
    this.connection = connection
    this.endpoint = connection.endpoint
    this.appends = new AppendCalls(connection)
    this.reads = new ReadCalls(connection)
    this.appendMillis = options.appendMillis ?? defaults.appendMillis
    this.outcomeMillis = options.outcomeMillis ?? defaults.outcomeMillis
  }

  /** The newest position that this process has seen of the whole store. */
  get newestKnown(): Position | null {
    return this.known
  }

  /** Checks the server, and learns how far its log is. Rejects with `StoreRefused`. */
  async start(): Promise<void> {
    await this.connection.checkServer()
    try {
      this.known = laterOf(this.known, await this.reads.newest())
    } catch (cause) {
      throw refusalOf(cause)
    }
  }

  facts(): Promise<StoreFacts> {
    return this.connection.facts()
  }

  /**
   * Writes all events or none. When the answer is lost, the identical append is sent again, and a conflict then is told from the
   * own success by comparing ids. Rejects with `StoreFailure`: "unknown" only after all tries.
   */
  async append(stream: string, expected: number, events: ReadonlyArray<ProposedEvent>): Promise<Outcome> {
    if (events.length === 0) throw new Error(`An append to ${stream} holds no event.`) // The server would call it a success.
    const floor = this.known
    const giveUpAt = performance.now() + this.outcomeMillis
    const doubted = this.doubtful.get(events[0]!.id) === true
    let unknown = false
    for (let pause = pauseMillis.first; ; pause = Math.min(2 * pause, pauseMillis.last)) {
      try {
        const answer = await this.appends.append(stream, expected, events, this.appendMillis)
        if (answer.is === "conflict" && unknown) return (await this.findOwn(stream, expected, events)) ?? answer
        if (answer.is !== "written") return answer
        this.known = laterOf(this.known, answer.position)
        const fresh = !doubted && answer.position !== null && (floor === null || answer.position > floor)
        return { ...answer, fresh }
      } catch (cause) {
        if (!(cause instanceof StoreFailure)) throw cause
        const { kind, written } = cause.failure
        unknown ||= written === "unknown"
        const hopeless = this.closed || kind === "credentials" || (!unknown && kind !== "not-leader")
        if (hopeless || performance.now() + pause >= giveUpAt) {
          if (unknown) this.doubtful.set(events[0]!.id, true)
          throw unknown ? unknownOf(cause) : cause
        }
      }
      await new Promise((resolve) => setTimeout(resolve, pause * (0.5 + Math.random())))
    }
  }

  /** Sets `$maxCount`: only so many of the newest events stay. Repeatable. */
  async keepNewest(stream: string, count: number): Promise<void> {
    const metastream = `$$${stream}`
    const data = jsonBytes({ $maxCount: count })
    const event: ProposedEvent = { id: randomUUID(), type: "$metadata", json: true, data, metadata: noMetadata }
    for (let tries = 0; ; tries++) {
      const newest = (await this.reads.stream({ stream: metastream, backwards: true, limit: 1 }))?.[0]
      if (newest !== undefined && Buffer.compare(newest.data, data) === 0) return
      const answer = await this.append(metastream, newest?.serverRevision ?? -1, [event])
      if (answer.is === "written") return
      if (tries === 8) throw new StoreFailure({ kind: "other", written: "no", reason: `the metadata of ${stream} changes all the time` })
    }
  }

  async close(): Promise<void> {
    this.closed = true
    this.appends.close()
    await this.connection.close()
  }

  /** The very events at the place where they were to be, or null when others are there. */
  private async findOwn(stream: string, expected: number, events: ReadonlyArray<ProposedEvent>): Promise<Outcome | null> {
    const there = await this.reads.stream({ stream, from: expected + 1, limit: events.length })
    if (there === null || there.length !== events.length || there.some(({ id }, index) => id !== events[index]!.id)) return null
    const { serverRevision, position } = there.at(-1)!
    this.known = laterOf(this.known, position)
    return { is: "written", revision: serverRevision, position, fresh: true }
  }
}

const unknownOf = ({ failure }: StoreFailure): StoreFailure => new StoreFailure({ ...failure, written: "unknown" })

/** The connected driver, one per process, as long as its scope. */
export class Store extends Context.Service<Store, StoreDriver>()("tributary/adapters/eventstoredb/Store") {
  static readonly layer = (options: DriverOptions): Layer.Layer<Store, StoreRefused> =>
    Layer.effect(
      Store,
      Effect.acquireRelease(
        Effect.tryPromise({
          try: async () => {
            const driver = new StoreDriver(Connection.open(options), options)
            try {
              await driver.start()
            } catch (cause) {
              await driver.close()
              throw cause
            }
            return driver
          },
          catch: (cause) => cause as StoreRefused
        }),
        (driver) => Effect.promise(() => driver.close())
      )
    )
}

/** What `doctor` asks: opens the store, asks and closes it again. */
export const probe = (address: StoreAddress): Effect.Effect<StoreFacts, StoreRefused> =>
  Effect.tryPromise({
    try: async () => {
      const connection = Connection.open(address)
      try {
        await connection.checkServer()
        return await connection.facts()
      } finally {
        await connection.close()
      }
    },
    catch: (cause) => refusalOf(cause) as StoreRefused
  })
