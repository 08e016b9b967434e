/** Streams/Read: a stream or the whole log, forwards or backwards, filtered or not, once or for as long as somebody listens. */
import { randomUUID } from "node:crypto"
import shared from "@eventstore/db-client/generated/shared_pb.js"
import type { ReadReq, ReadResp } from "@eventstore/db-client/generated/streams_pb.js"
import streams from "@eventstore/db-client/generated/streams_pb.js"
import type { ServerWritableStream } from "@grpc/grpc-js"
import type { Doors } from "./doors.ts"
import type { Engine, LoggedEvent } from "./engine.ts"
import { streamDeleted, unauthenticated } from "./errors.ts"
import type { Faults } from "./faults.ts"

type Call = ServerWritableStream<ReadReq, ReadResp>
type Options = ReadReq.Options
type Matches = (event: LoggedEvent) => boolean

export const readCalls = (engine: Engine, faults: Faults, doors: Doors) => {
  const read = async (call: Call) => {
    call.on("error", () => {})
    await faults.hold()
    if (call.cancelled) return
    if (!doors.allows(call.metadata)) return call.emit("error", unauthenticated())
    const options = call.request.getOptions()!
    if (options.hasSubscription()) return subscribe(engine, call, options)
    const stream = options.getStream()
    if (stream === undefined) {
      await sendAll(engine, call, options)
      return call.end()
    }
    const name = Buffer.from(stream.getStreamIdentifier()!.getStreamName_asU8()).toString()
    if (engine.isTombstoned(name)) return call.emit("error", streamDeleted(name))
    await sendStream(engine, call, options, name)
    return call.end()
  }
  return { read }
}

const sendStream = async (engine: Engine, call: Call, options: Options, name: string): Promise<void> => {
  const visible = engine.visible(name)
  if (visible === undefined) {
    const answer = new streams.ReadResp()
    const missing = new streams.ReadResp.StreamNotFound()
    missing.setStreamIdentifier(options.getStream()!.getStreamIdentifier())
    answer.setStreamNotFound(missing)
    call.write(answer)
    return
  }
  const { first, last, at } = visible
  const backwards = options.getReadDirection() === streams.ReadReq.Options.ReadDirection.BACKWARDS
  const where = options.getStream()!
  let revision = where.hasRevision() ? Number(where.getRevision()) : where.hasEnd() ? last : backwards ? first : 0
  revision = backwards ? Math.min(revision, last) : Math.max(revision, first)
  const count = Number(options.getCount())
  for (let sent = 0; sent < count && revision >= first && revision <= last; sent++) {
    await write(call, eventAnswer(at(revision)!))
    if (call.cancelled) return
    revision += backwards ? -1 : 1
  }
}

const sendAll = async (engine: Engine, call: Call, options: Options): Promise<void> => {
  const matches = filterOf(options)
  const all = options.getAll()!
  const backwards = options.getReadDirection() === streams.ReadReq.Options.ReadDirection.BACKWARDS
  const position = all.getPosition()
  const { log } = engine
  let index = all.hasStart() ? 0 : position === undefined ? log.length : engine.indexAt(Number(position.getCommitPosition()))
  if (backwards) index--
  const count = Number(options.getCount())
  for (let sent = 0; sent < count && index >= 0 && index < log.length; index += backwards ? -1 : 1) {
    const event = log[index]!
    if (!matches(event)) continue
    await write(call, eventAnswer(event))
    if (call.cancelled) return
    sent++
  }
}

/** Begins behind the given place, as the server does. */
const subscribe = async (engine: Engine, call: Call, options: Options): Promise<void> => {
  const confirmation = new streams.ReadResp.SubscriptionConfirmation()
  confirmation.setSubscriptionId(randomUUID())
  const confirmed = new streams.ReadResp()
  confirmed.setConfirmation(confirmation)
  call.write(confirmed)
  let wake = () => {}
  const stop = engine.onCommit(() => wake())
  call.on("cancelled", () => wake())
  call.on("close", () => wake())
  try {
    const next = options.hasStream() ? streamSubscription(engine, options) : allSubscription(engine, options)
    let live = false
    while (!call.cancelled && !call.destroyed) {
      const answer = next()
      if (answer !== null) {
        await write(call, answer)
        continue
      }
      if (!live) {
        live = true
        const caughtUp = new streams.ReadResp()
        caughtUp.setCaughtUp(new streams.ReadResp.CaughtUp())
        await write(call, caughtUp)
        continue
      }
      await new Promise<void>((resolve) => {
        wake = resolve
      })
    }
  } finally {
    stop()
  }
}

const streamSubscription = (engine: Engine, options: Options): (() => ReadResp | null) => {
  const where = options.getStream()!
  const name = Buffer.from(where.getStreamIdentifier()!.getStreamName_asU8()).toString()
  let next = where.hasRevision() ? Number(where.getRevision()) + 1 : where.hasEnd() ? (engine.visible(name)?.last ?? -1) + 1 : 0
  return () => {
    const visible = engine.visible(name)
    if (visible === undefined || next > visible.last) return null
    next = Math.max(next, visible.first)
    return eventAnswer(visible.at(next++)!)
  }
}

/** With a filter, a checkpoint after each so many events that were looked at. */
const allSubscription = (engine: Engine, options: Options): (() => ReadResp | null) => {
  const matches = filterOf(options)
  const filter = options.getFilter()
  const interval = filter === undefined ? 0 : (filter.getMax() || 32) * Math.max(1, filter.getCheckpointintervalmultiplier())
  const all = options.getAll()!
  const position = all.getPosition()
  let seen = all.hasStart() ? -1 : position === undefined ? engine.headPosition : Number(position.getCommitPosition())
  let considered = 0
  let owed: ReadResp | null = null
  return () => {
    const takeOwed = () => {
      const answer = owed
      owed = null
      return answer
    }
    if (owed !== null) return takeOwed()
    for (let index = engine.indexAt(seen + 1); index < engine.log.length; index++) {
      const event = engine.log[index]!
      seen = event.position
      considered++
      if (interval > 0 && considered % interval === 0) owed = checkpointAnswer(event)
      if (matches(event)) return eventAnswer(event)
      if (owed !== null) return takeOwed()
    }
    return null
  }
}

const filterOf = (options: Options): Matches => {
  const filter = options.getFilter()
  if (filter === undefined) return () => true
  const onType = filter.getEventType()
  const expression = onType ?? filter.getStreamIdentifier()!
  const subject = (event: LoggedEvent) => (onType === undefined ? event.stream : event.type)
  const pattern = expression.getRegex()
  if (pattern !== "") {
    const regex = new RegExp(pattern, "u")
    return (event) => regex.test(subject(event))
  }
  const prefixes = expression.getPrefixList()
  return (event) => prefixes.some((prefix) => subject(event).startsWith(prefix))
}

const eventAnswer = ({ position, stream, revision, id, type, contentType, data, metadata, createdMillis }: LoggedEvent): ReadResp => {
  const recorded = new streams.ReadResp.ReadEvent.RecordedEvent()
  const uuid = new shared.UUID()
  uuid.setString(id)
  recorded.setId(uuid)
  const identifier = new shared.StreamIdentifier()
  identifier.setStreamName(new Uint8Array(Buffer.from(stream)))
  recorded.setStreamIdentifier(identifier)
  recorded.setStreamRevision(String(revision))
  recorded.setCommitPosition(String(position))
  recorded.setPreparePosition(String(position))
  const map = recorded.getMetadataMap()
  map.set("type", type)
  map.set("content-type", contentType)
  map.set("created", String(BigInt(createdMillis) * 10_000n))
  recorded.setData(new Uint8Array(data))
  recorded.setCustomMetadata(new Uint8Array(metadata))
  const event = new streams.ReadResp.ReadEvent()
  event.setEvent(recorded)
  event.setCommitPosition(String(position))
  const answer = new streams.ReadResp()
  answer.setEvent(event)
  return answer
}

const checkpointAnswer = ({ position }: LoggedEvent): ReadResp => {
  const checkpoint = new streams.ReadResp.Checkpoint()
  checkpoint.setCommitPosition(String(position))
  checkpoint.setPreparePosition(String(position))
  const answer = new streams.ReadResp()
  answer.setCheckpoint(checkpoint)
  return answer
}

/** Waits while the reader is slower. */
const write = (call: Call, answer: ReadResp): Promise<void> | void => {
  if (call.write(answer)) return
  return new Promise((resolve) => {
    const go = () => {
      for (const event of ["drain", "close", "cancelled", "error"]) call.off(event, go)
      resolve()
    }
    for (const event of ["drain", "close", "cancelled", "error"]) call.on(event, go)
  })
}
