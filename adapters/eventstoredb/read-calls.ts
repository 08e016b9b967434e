/** Reads: a stream or the filtered log, page by page with a timer of our own, or followed for as long as somebody listens. */
import shared from "@eventstore/db-client/generated/shared_pb.js"
import type { ReadReq, ReadResp } from "@eventstore/db-client/generated/streams_pb.js"
import streams from "@eventstore/db-client/generated/streams_pb.js"
import type { Position } from "#domain/ids.ts"
import type { AnswerStream, Connection } from "./connection.ts"
import { exceptionOf, failureOf, lateFailure, StoreFailure } from "./failure.ts"
import { logPosition, positionText } from "./position.ts"

/** An event as it lies in the store; nothing of it is parsed. */
export interface RawEvent {
  readonly stream: string
  /** The server's count: contents count too. */
  readonly serverRevision: number
  readonly id: string
  readonly type: string
  readonly data: Uint8Array
  readonly metadata: Uint8Array
  readonly position: Position
}
export interface StreamRead {
  readonly stream: string
  /** The server's revision, inclusive; left out: from the first event, or from the last one backwards. */
  readonly from?: number
  readonly backwards?: boolean
  readonly limit: number
}
export interface LogRead {
  /** Exclusive; null: from the first event, or from the last one backwards. */
  readonly after: Position | null
  readonly backwards?: boolean
  readonly limit: number
}
/** What a subscription tells, in order. */
export type Mark =
  | { readonly is: "event"; readonly event: RawEvent }
  | { readonly is: "passed"; readonly position: Position }
  | { readonly is: "live" }

/**
 * Types of the domain's events begin with a capital; the marker of a retired stream belongs to the log too. Contents, snapshots and
 * the adapter's own streams do not.
 */
const typesInLog = "^([A-Z]|retired$)"
const isInLog = new RegExp(typesInLog, "u")
/** Events that the server looks at in one go, and of such goes how many pass between two marks of a subscription. */
const searchWindow = 256
const windowsPerMark = 4
/** A read whose next answer does not come for so long has failed: the client itself would wait for ever. */
const silenceMillis = 10_000

export class ReadCalls {
  private readonly connection: Connection

  constructor(connection: Connection) {
    this.connection = connection
  }

  /** Null: there is no such stream. */
  async stream({ stream, from, backwards = false, limit }: StreamRead): Promise<ReadonlyArray<RawEvent> | null> {
    const where = new streams.ReadReq.Options.StreamOptions()
    const name = new shared.StreamIdentifier()
    name.setStreamName(new Uint8Array(Buffer.from(stream, "utf8")))
    where.setStreamIdentifier(name)
    if (from !== undefined) where.setRevision(String(from))
    else if (backwards) where.setEnd(new shared.Empty())
    else where.setStart(new shared.Empty())
    const options = optionsOf(backwards)
    options.setStream(where)
    options.setCount(String(limit))
    options.setNoFilter(new shared.Empty())
    return this.collect(requestOf(options))
  }

  /** Events of the domain alone, from a place of the log on. */
  async log({ after, backwards = false, limit }: LogRead): Promise<ReadonlyArray<RawEvent>> {
    const options = optionsOf(backwards)
    options.setAll(placeOf(after, backwards))
    // The place that it begins at belongs to a read: it is asked for and left out.
    options.setCount(String(after === null ? limit : limit + 1))
    options.setFilter(filterOf(null))
    const events = (await this.collect(requestOf(options))) ?? []
    return after === null ? events : events.filter(({ position }) => position !== after).slice(0, limit)
  }

  /** Position of the newest event of any kind, null on an empty store. */
  async newest(): Promise<Position | null> {
    const options = optionsOf(true)
    options.setAll(placeOf(null, true))
    options.setCount("1")
    options.setNoFilter(new shared.Empty())
    return (await this.collect(requestOf(options)))?.[0]?.position ?? null
  }

  /**
   * Tells what lies behind a place, then what comes: of every stream, or of those whose names match `names`, a regular expression that
   * the server sees. `begin` gets the call as soon as it is open, to pause or cancel it. */
  async follow(
    after: Position | null,
    names: string | null,
    listener: {
      readonly begin: (call: AnswerStream<ReadResp>) => void
      readonly tell: (mark: Mark) => void
      readonly end: (failure: StoreFailure) => void
    }
  ): Promise<void> {
    const options = optionsOf(false)
    options.setAll(placeOf(after, false))
    options.setSubscription(new streams.ReadReq.Options.SubscriptionOptions())
    options.setFilter(filterOf(names))
    const { endpoint } = this.connection
    const ended = failureOf({ code: 14, details: "the server ended the subscription" }, endpoint)
    await this.connection.read(
      requestOf(options),
      (call) => {
        listener.begin(call)
        call.on("data", (answer) => {
          const mark = markOf(answer)
          if (mark !== null) listener.tell(mark)
        })
        call.on("error", (cause) => listener.end(new StoreFailure(failureOf(cause, endpoint))))
        call.on("end", () => listener.end(new StoreFailure(ended)))
      },
      false
    )
  }

  /** Nothing is changed by a read: its failures say so. */
  private collect(request: ReadReq): Promise<ReadonlyArray<RawEvent> | null> {
    const { endpoint } = this.connection
    return new Promise((resolve, reject) => {
      const events: Array<RawEvent> = []
      let missing = false
      let cancel = () => {}
      const late = () => {
        reject(new StoreFailure({ ...lateFailure(endpoint, silenceMillis), written: "no" }))
        cancel()
      }
      const timer = setTimeout(late, silenceMillis)
      const fail = (cause: unknown) => {
        clearTimeout(timer)
        if (exceptionOf(cause) === "stream-deleted") return resolve(null)
        reject(cause instanceof StoreFailure ? cause : new StoreFailure({ ...failureOf(cause, endpoint), written: "no" }))
      }
      const begin = (call: AnswerStream<ReadResp>) => {
        cancel = () => call.cancel()
        call.on("data", (answer) => {
          timer.refresh()
          if (answer.hasStreamNotFound()) missing = true
          const event = answer.getEvent()
          if (event !== undefined) {
            const raw = rawEvent(event)
            if (raw !== null) events.push(raw)
          }
        })
        call.on("error", fail)
        call.on("end", () => {
          clearTimeout(timer)
          resolve(missing ? null : events)
        })
      }
      this.connection.read(request, begin, true).catch(fail)
    })
  }
}

const requestOf = (options: ReadReq.Options): ReadReq => {
  const request = new streams.ReadReq()
  request.setOptions(options)
  return request
}

const optionsOf = (backwards: boolean): ReadReq.Options => {
  const options = new streams.ReadReq.Options()
  const uuid = new streams.ReadReq.Options.UUIDOption()
  uuid.setString(new shared.Empty())
  options.setUuidOption(uuid)
  options.setResolveLinks(false)
  options.setReadDirection(backwards ? streams.ReadReq.Options.ReadDirection.BACKWARDS : streams.ReadReq.Options.ReadDirection.FORWARDS)
  return options
}

const placeOf = (after: Position | null, backwards: boolean): ReadReq.Options.AllOptions => {
  const all = new streams.ReadReq.Options.AllOptions()
  if (after !== null) {
    const { commit, prepare } = logPosition(after)
    const position = new streams.ReadReq.Options.Position()
    position.setCommitPosition(commit)
    position.setPreparePosition(prepare)
    all.setPosition(position)
  } else if (backwards) all.setEnd(new shared.Empty())
  else all.setStart(new shared.Empty())
  return all
}

/** The server filters by one thing: by type, or by the stream's name, and then what is not of the log is left out here. */
const filterOf = (names: string | null): ReadReq.Options.FilterOptions => {
  const expression = new streams.ReadReq.Options.FilterOptions.Expression()
  expression.setRegex(names ?? typesInLog)
  const filter = new streams.ReadReq.Options.FilterOptions()
  if (names === null) filter.setEventType(expression)
  else filter.setStreamIdentifier(expression)
  filter.setMax(searchWindow)
  filter.setCheckpointintervalmultiplier(windowsPerMark)
  return filter
}

/** Null: a link whose target is gone. */
const rawEvent = (answer: ReadResp.ReadEvent): RawEvent | null => {
  const event = answer.getEvent()
  if (event === undefined) return null
  return {
    stream: Buffer.from(event.getStreamIdentifier()!.getStreamName_asU8()).toString("utf8"),
    serverRevision: Number(event.getStreamRevision()),
    id: event.getId()!.getString(),
    type: event.getMetadataMap().get("type") ?? "",
    data: event.getData_asU8(),
    metadata: event.getCustomMetadata_asU8(),
    position: positionText(event.getCommitPosition(), event.getPreparePosition())
  }
}

const markOf = (answer: ReadResp): Mark | null => {
  const event = answer.getEvent()
  if (event !== undefined) {
    const raw = rawEvent(event)
    if (raw === null) return null
    return isInLog.test(raw.type) ? { is: "event", event: raw } : { is: "passed", position: raw.position }
  }
  const checkpoint = answer.getCheckpoint()
  if (checkpoint !== undefined)
    return { is: "passed", position: positionText(checkpoint.getCommitPosition(), checkpoint.getPreparePosition()) }
  return answer.hasCaughtUp() ? { is: "live" } : null
}
