/** Streams/Append, BatchAppend, Delete and Tombstone. */
import shared from "@eventstore/db-client/generated/shared_pb.js"
import type {
  AppendReq,
  AppendResp,
  BatchAppendReq,
  BatchAppendResp,
  DeleteReq,
  DeleteResp
} from "@eventstore/db-client/generated/streams_pb.js"
import streams from "@eventstore/db-client/generated/streams_pb.js"
import type { ServerDuplexStream, ServerReadableStream, ServerUnaryCall, sendUnaryData } from "@grpc/grpc-js"
import empty from "google-protobuf/google/protobuf/empty_pb.js"
import type { Doors } from "./doors.ts"
import type { AppendOutcome, Engine, Expected, Proposed } from "./engine.ts"
import { notLeader, refusalStatus, refusalTrailers, timeoutStatus, unauthenticated } from "./errors.ts"
import type { Faults } from "./faults.ts"

interface Message {
  getId(): { getString(): string } | undefined
  getMetadataMap(): { get(name: string): string | undefined }
  getData_asU8(): Uint8Array
  getCustomMetadata_asU8(): Uint8Array
}
const proposedOf = (message: Message): Proposed => ({
  id: message.getId()!.getString(),
  type: message.getMetadataMap().get("type") ?? "",
  contentType: message.getMetadataMap().get("content-type") ?? "application/octet-stream",
  data: message.getData_asU8(),
  metadata: message.getCustomMetadata_asU8()
})
const nameOf = (identifier: { getStreamName_asU8(): Uint8Array } | undefined) => Buffer.from(identifier!.getStreamName_asU8()).toString()

interface Batch {
  readonly stream: string
  readonly expected: Expected
  readonly deadlineMillis: number
  readonly proposed: Array<Proposed>
}

export const appendCalls = (engine: Engine, faults: Faults, doors: Doors) => {
  const batchAppend = (call: ServerDuplexStream<BatchAppendReq, BatchAppendResp>) => {
    if (!doors.allows(call.metadata)) return call.emit("error", unauthenticated())
    const open = new Map<string, Batch>()
    const answer = (request: BatchAppendReq, { stream, expected, deadlineMillis, proposed }: Batch) => {
      if (call.cancelled) return
      if (faults.takeNotLeader()) return void call.emit("error", notLeader(faults.leader))
      const late = deadlineMillis > 0 && Date.now() > deadlineMillis
      const outcome = late ? null : engine.append(stream, expected, proposed)
      if (outcome !== null && faults.takeDrop()) return doors.breakAll()
      call.write(batchAnswer(request, stream, expected, outcome))
    }
    call.on("data", (request: BatchAppendReq) => {
      const key = request.getCorrelationId()!.getString()
      const options = request.getOptions()
      if (options !== undefined) open.set(key, batchOf(options))
      const batch = open.get(key)!
      for (const message of request.getProposedMessagesList()) batch.proposed.push(proposedOf(message))
      if (!request.getIsFinal()) return
      open.delete(key)
      const hold = faults.hold()
      if (hold === null) answer(request, batch)
      else void hold.then(() => answer(request, batch))
    })
    call.on("end", () => call.end())
    call.on("error", () => {})
  }

  const append = (call: ServerReadableStream<AppendReq, AppendResp>, reply: sendUnaryData<AppendResp>) => {
    if (!doors.allows(call.metadata)) return reply(unauthenticated())
    let stream = ""
    let expected: Expected = "any"
    const proposed: Array<Proposed> = []
    call.on("data", (request: AppendReq) => {
      const options = request.getOptions()
      if (options === undefined) return void proposed.push(proposedOf(request.getProposedMessage()!))
      stream = nameOf(options.getStreamIdentifier())
      if (options.hasNoStream()) expected = "no_stream"
      else if (options.hasStreamExists()) expected = "stream_exists"
      else if (options.hasRevision()) expected = Number(options.getRevision())
    })
    call.on("error", () => {})
    call.on("end", async () => {
      await faults.hold()
      if (call.cancelled) return
      if (faults.takeNotLeader()) return reply(notLeader(faults.leader))
      const outcome = engine.append(stream, expected, proposed)
      if (faults.takeDrop()) return doors.breakAll()
      if (outcome.is === "too-large" || outcome.is === "tombstoned") return reply(refusalTrailers(stream, expected, outcome))
      reply(null, unaryAnswer(expected, outcome))
    })
  }

  const remove = (forEver: boolean) => (call: ServerUnaryCall<DeleteReq, DeleteResp>, reply: sendUnaryData<DeleteResp>) => {
    if (!doors.allows(call.metadata)) return reply(unauthenticated())
    const options = call.request.getOptions()!
    const stream = nameOf(options.getStreamIdentifier())
    const expected = options.hasNoStream() ? "no_stream" : options.hasRevision() ? Number(options.getRevision()) : "any"
    const outcome = engine.remove(stream, expected, forEver)
    if (!("position" in outcome)) return reply(refusalTrailers(stream, expected, outcome))
    const answer = forEver ? new streams.TombstoneResp() : new streams.DeleteResp()
    const position = forEver ? new streams.TombstoneResp.Position() : new streams.DeleteResp.Position()
    position.setCommitPosition(String(outcome.position))
    position.setPreparePosition(String(outcome.position))
    answer.setPosition(position as never)
    reply(null, answer as DeleteResp)
  }

  return { append, batchAppend, delete: remove(false), tombstone: remove(true) }
}

const batchOf = (options: BatchAppendReq.Options): Batch => {
  const deadline = options.getDeadline()
  return {
    stream: nameOf(options.getStreamIdentifier()),
    expected: options.hasNoStream()
      ? "no_stream"
      : options.hasAny()
        ? "any"
        : options.hasStreamExists()
          ? "stream_exists"
          : Number(options.getStreamPosition()),
    deadlineMillis: deadline === undefined ? 0 : deadline.toDate().getTime(),
    proposed: []
  }
}

/** Null: the deadline that the request carries had passed. */
const batchAnswer = (request: BatchAppendReq, stream: string, expected: Expected, outcome: AppendOutcome | null): BatchAppendResp => {
  const answer = new streams.BatchAppendResp()
  answer.setCorrelationId(request.getCorrelationId())
  const identifier = new shared.StreamIdentifier()
  identifier.setStreamName(new Uint8Array(Buffer.from(stream)))
  answer.setStreamIdentifier(identifier)
  if (expected === "no_stream") answer.setNoStream(new empty.Empty())
  else if (expected === "any") answer.setAny(new empty.Empty())
  else if (expected === "stream_exists") answer.setStreamExists(new empty.Empty())
  else answer.setStreamPosition(String(expected))
  if (outcome === null) answer.setError(timeoutStatus())
  else if (!("position" in outcome)) answer.setError(refusalStatus(stream, expected, outcome))
  else {
    const success = new streams.BatchAppendResp.Success()
    success.setCurrentRevision(String(outcome.revision))
    const position = new shared.AllStreamPosition()
    position.setCommitPosition(String(outcome.position))
    position.setPreparePosition(String(outcome.position))
    success.setPosition(position)
    answer.setSuccess(success)
  }
  return answer
}

const unaryAnswer = (expected: Expected, outcome: AppendOutcome): AppendResp => {
  const answer = new streams.AppendResp()
  if ("position" in outcome) {
    const success = new streams.AppendResp.Success()
    success.setCurrentRevision(String(outcome.revision))
    const position = new streams.AppendResp.Position()
    position.setCommitPosition(String(outcome.position))
    position.setPreparePosition(String(outcome.position))
    success.setPosition(position)
    answer.setSuccess(success)
    return answer
  }
  const wrong = new streams.AppendResp.WrongExpectedVersion()
  const actual = outcome.is === "conflict" ? outcome.actual : -1
  if (actual < 0) wrong.setCurrentNoStream(new shared.Empty())
  else wrong.setCurrentRevision(String(actual))
  if (expected === "any") wrong.setExpectedAny(new shared.Empty())
  else if (expected === "no_stream") wrong.setExpectedNoStream(new shared.Empty())
  else if (expected === "stream_exists") wrong.setExpectedStreamExists(new shared.Empty())
  else wrong.setExpectedRevision(String(expected))
  answer.setWrongExpectedVersion(wrong)
  return answer
}
