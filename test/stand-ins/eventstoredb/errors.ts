/** The three ways in which the server codes an error: trailers of the call, a packed detail, and a variant of the answer. */

import shared from "@eventstore/db-client/generated/shared_pb.js"
import statusMessages from "@eventstore/db-client/generated/status_pb.js"
import { Metadata, type ServiceError, status } from "@grpc/grpc-js"
import any from "google-protobuf/google/protobuf/any_pb.js"
import empty from "google-protobuf/google/protobuf/empty_pb.js"
import type { AppendOutcome, Expected } from "./engine.ts"

export type Refusal = Extract<AppendOutcome, { readonly is: "conflict" | "too-large" | "tombstoned" }>

const callError = (code: number, details: string, trailers: Readonly<Record<string, string>> = {}): Partial<ServiceError> => {
  const metadata = new Metadata()
  for (const [name, value] of Object.entries(trailers)) metadata.set(name, value)
  return { code, details, metadata }
}

export const unauthenticated = () => callError(status.UNAUTHENTICATED, "Bad credentials.")
export const notLeader = (leader: { readonly host: string; readonly port: number }) =>
  callError(status.NOT_FOUND, "Leader info available", {
    exception: "not-leader",
    "leader-endpoint-host": leader.host,
    "leader-endpoint-port": String(leader.port)
  })
export const streamDeleted = (stream: string) =>
  callError(status.FAILED_PRECONDITION, `Event stream '${stream}' is deleted.`, { exception: "stream-deleted", "stream-name": stream })

/** For calls with one answer: Append, Delete and Tombstone. */
export const refusalTrailers = (stream: string, expected: Expected, refusal: Refusal) => {
  switch (refusal.is) {
    case "tombstoned":
      return streamDeleted(stream)
    case "too-large":
      return callError(status.INVALID_ARGUMENT, `Maximum Append Size of ${refusal.limit} Exceeded.`, {
        exception: "maximum-append-size-exceeded",
        "maximum-append-size": String(refusal.limit)
      })
    case "conflict":
      return callError(status.FAILED_PRECONDITION, "Append failed due to WrongExpectedVersion.", {
        exception: "wrong-expected-version",
        "stream-name": stream,
        "expected-version": String(typeof expected === "number" ? expected : -1),
        ...(refusal.actual < 0 ? {} : { "actual-version": String(refusal.actual) })
      })
  }
}

const packed = (name: string, bytes: Uint8Array, code: number, message: string) => {
  const detail = new any.Any()
  detail.pack(bytes, `event_store.client.${name}`)
  const answer = new statusMessages.Status()
  answer.setCode(code as never)
  answer.setMessage(message)
  answer.setDetails(detail)
  return answer
}

/** For BatchAppend: the codes are those of google.rpc. */
export const refusalStatus = (stream: string, expected: Expected, refusal: Refusal) => {
  switch (refusal.is) {
    case "tombstoned": {
      const deleted = new shared.StreamDeleted()
      const identifier = new shared.StreamIdentifier()
      identifier.setStreamName(new Uint8Array(Buffer.from(stream)))
      deleted.setStreamIdentifier(identifier)
      return packed("StreamDeleted", deleted.serializeBinary(), status.FAILED_PRECONDITION, `Event stream '${stream}' is deleted.`)
    }
    case "too-large": {
      const size = new shared.MaximumAppendSizeExceeded()
      size.setMaxappendsize(refusal.limit)
      return packed("MaximumAppendSizeExceeded", size.serializeBinary(), status.INVALID_ARGUMENT, "Maximum Append Size Exceeded.")
    }
    case "conflict": {
      const wrong = new shared.WrongExpectedVersion()
      if (refusal.actual < 0) wrong.setCurrentNoStream(new empty.Empty())
      else wrong.setCurrentStreamRevision(String(refusal.actual))
      if (expected === "any") wrong.setExpectedAny(new empty.Empty())
      else if (expected === "stream_exists") wrong.setExpectedStreamExists(new empty.Empty())
      else if (expected === "no_stream") wrong.setExpectedNoStream(new empty.Empty())
      else wrong.setExpectedStreamPosition(String(expected))
      return packed("WrongExpectedVersion", wrong.serializeBinary(), status.FAILED_PRECONDITION, "WrongExpectedVersion")
    }
  }
}

export const timeoutStatus = () => packed("Timeout", new shared.Timeout().serializeBinary(), status.DEADLINE_EXCEEDED, "Timeout")
