/** Ownership without anybody to share with: one process owns all buckets, or takes no part at all. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { allBuckets, type Buckets, Ownership } from "#services/ports/ownership.ts"

const fixed = (owned: Buckets, members: ReadonlyArray<string>) =>
  Layer.succeed(
    Ownership,
    Ownership.of({
      member: "self",
      owned: () => owned,
      changes: Stream.concat(Stream.succeed(owned), Stream.fromEffect(Effect.never)),
      members: () => members
    })
  )

/** A process that was given these buckets for good. */
export const layerOf = (buckets: Buckets) => fixed(buckets, ["self"])

/** The only worker there is. */
export const layer = layerOf(new Set(allBuckets))

/** A process that does no work of its own, such as one that serves the API alone. */
export const layerNone = fixed(new Set(), [])
