/** Appends on one long-lived call, many at once; each with a timer of our own, as the server alone obeys the deadline that it is told. */
import { randomUUID } from "node:crypto"
import shared from "@eventstore/db-client/generated/shared_pb.js"
import type { BatchAppendReq, BatchAppendResp } from "@eventstore/db-client/generated/streams_pb.js"
import streams from "@eventstore/db-client/generated/streams_pb.js"
import empty from "google-protobuf/google/protobuf/empty_pb.js"
import timestamp from "google-protobuf/google/protobuf/timestamp_pb.js"
import type { Position } from "#domain/ids.ts"
import type { AppendStream, Connection } from "./connection.ts"
import { closedFailure, type Failure, failureOf, lateFailure, StoreFailure } from "./failure.ts"
import { positionText } from "./position.ts"

/** Encoded: nothing is left that could fail on the way out. */
export interface ProposedEvent {
  readonly id: string
  readonly type: string
  readonly json: boolean
  readonly data: Uint8Array
  readonly metadata: Uint8Array
}
export type AppendAnswer =
  /** `position` is null where the server does not say. */
  | { readonly is: "written"; readonly revision: number; readonly position: Position | null }
  /** -1: absent. */
  | { readonly is: "conflict"; readonly actual: number }
  | { readonly is: "too-large"; readonly limit: number }
  | { readonly is: "closed" }

interface Pending {
  readonly stream: AppendStream
  readonly resolve: (answer: AppendAnswer) => void
  readonly reject: (failure: StoreFailure) => void
  readonly timer: NodeJS.Timeout
}

/** One message of the call carries no more; the server still writes an append as one. */
const messageBytesMax = 3 * 1024 * 1024

export class AppendCalls {
  private readonly connection: Pick<Connection, "endpoint" | "appendStream">
  private readonly pending = new Map<string, Pending>()
  private readonly streams = new WeakMap<object, Promise<AppendStream>>()

  constructor(connection: Pick<Connection, "endpoint" | "appendStream">) {
    this.connection = connection
  }

  /** Rejects with `StoreFailure` alone. `expected` -1: the stream must not exist. */
  async append(stream: string, expected: number, events: ReadonlyArray<ProposedEvent>, timeoutMillis: number): Promise<AppendAnswer> {
    const call = await this.connection.appendStream((opened) => this.listen(opened), this.streams)
    return new Promise((resolve, reject) => {
      const id = randomUUID()
      const timer = setTimeout(() => {
        this.pending.delete(id)
        reject(new StoreFailure(lateFailure(this.connection.endpoint, timeoutMillis)))
      }, timeoutMillis)
      this.pending.set(id, { stream: call, resolve, reject, timer })
      for (const request of requestsOf(id, stream, expected, events, timeoutMillis)) call.write(request)
    })
  }

  /** Whoever still waits is told that nobody knows. */
  close(): void {
    this.fail(() => true, { ...closedFailure(this.connection.endpoint), written: "unknown" })
  }

  private listen(stream: AppendStream): void {
    stream.on("data", (answer) => this.settle(answer))
    stream.on("error", (cause) => this.fail((pending) => pending.stream === stream, failureOf(cause, this.connection.endpoint)))
    stream.on("end", () =>
      this.fail(
        (pending) => pending.stream === stream,
        failureOf({ code: 14, details: "the server ended the call" }, this.connection.endpoint)
      )
    )
  }

  private settle(answer: BatchAppendResp): void {
    const id = answer.getCorrelationId()?.getString() ?? ""
    const pending = this.pending.get(id)
    if (pending === undefined) return // Its time was over: the outcome is being found out otherwise.
    this.pending.delete(id)
    clearTimeout(pending.timer)
    const outcome = outcomeOf(answer)
    if ("is" in outcome) pending.resolve(outcome)
    else pending.reject(new StoreFailure({ ...outcome, reason: `EventStoreDB at ${this.connection.endpoint} ${outcome.reason}` }))
  }

  private fail(which: (pending: Pending) => boolean, failure: Failure): void {
    for (const [id, pending] of this.pending) {
      if (!which(pending)) continue
      this.pending.delete(id)
      clearTimeout(pending.timer)
      pending.reject(new StoreFailure(failure))
    }
  }
}

function* requestsOf(
  id: string,
  stream: string,
  expected: number,
  events: ReadonlyArray<ProposedEvent>,
  timeoutMillis: number
): Iterable<BatchAppendReq> {
  const correlation = new shared.UUID()
  correlation.setString(id)
  let request = new streams.BatchAppendReq()
  request.setOptions(optionsOf(stream, expected, timeoutMillis))
  let bytes = 0
  for (const event of events) {
    const size = event.data.length + event.metadata.length
    if (bytes > 0 && bytes + size > messageBytesMax) {
      request.setCorrelationId(correlation)
      yield request
      request = new streams.BatchAppendReq()
      bytes = 0
    }
    bytes += size
    request.addProposedMessages(messageOf(event))
  }
  request.setCorrelationId(correlation)
  request.setIsFinal(true)
  yield request
}

const optionsOf = (stream: string, expected: number, timeoutMillis: number): BatchAppendReq.Options => {
  const options = new streams.BatchAppendReq.Options()
  const name = new shared.StreamIdentifier()
  name.setStreamName(new Uint8Array(Buffer.from(stream, "utf8")))
  options.setStreamIdentifier(name)
  options.setDeadline(timestamp.Timestamp.fromDate(new Date(Date.now() + timeoutMillis)))
  if (expected < 0) options.setNoStream(new empty.Empty())
  else options.setStreamPosition(String(expected))
  return options
}

const messageOf = ({ id, type, json, data, metadata }: ProposedEvent): BatchAppendReq.ProposedMessage => {
  const message = new streams.BatchAppendReq.ProposedMessage()
  const uuid = new shared.UUID()
  uuid.setString(id)
  message.setId(uuid)
  message
    .getMetadataMap()
    .set("type", type)
    .set("content-type", json ? "application/json" : "application/octet-stream")
  message.setData(data)
  message.setCustomMetadata(metadata)
  return message
}

const detailName = (name: string) => `event_store.client.${name}`

const outcomeOf = (answer: BatchAppendResp): AppendAnswer | Failure => {
  const success = answer.getSuccess()
  if (success !== undefined) {
    const position = success.getPosition()
    return {
      is: "written",
      revision: Number(success.getCurrentRevision()),
      position: position === undefined ? null : positionText(position.getCommitPosition(), position.getPreparePosition())
    }
  }
  const error = answer.getError()!
  const detail = error.getDetails()
  switch (detail?.getTypeName()) {
    case detailName("WrongExpectedVersion"): {
      const wrong = detail.unpack(shared.WrongExpectedVersion.deserializeBinary, detailName("WrongExpectedVersion"))!
      return { is: "conflict", actual: wrong.hasCurrentStreamRevision() ? Number(wrong.getCurrentStreamRevision()) : -1 }
    }
    case detailName("MaximumAppendSizeExceeded"): {
      const size = detail.unpack(shared.MaximumAppendSizeExceeded.deserializeBinary, detailName("MaximumAppendSizeExceeded"))!
      return { is: "too-large", limit: size.getMaxappendsize() }
    }
    case detailName("StreamDeleted"):
      return { is: "closed" }
    case detailName("AccessDenied"):
      return {
        kind: "credentials",
        written: "no",
        reason: "does not allow the append with these credentials; grant its user write on all streams"
      }
    case detailName("Timeout"):
      return { kind: "late", written: "unknown", reason: "ran out of time" }
    default:
      return { kind: "other", written: "unknown", reason: `failed (${error.getMessage().slice(0, 200)})` }
  }
}
