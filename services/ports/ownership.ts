/** Which buckets this process serves: for speed, fairness and connection limits, never for correctness (R4). */
import * as Context from "effect/Context"
import type * as Stream from "effect/Stream"

/** All buckets, `00` to `ff`, in order (see `bucketOf`). */
export const allBuckets: ReadonlyArray<string> = Array.from({ length: 256 }, (_, bucket) => bucket.toString(16).padStart(2, "0"))

export type Buckets = ReadonlySet<string>

export class Ownership extends Context.Service<
  Ownership,
  {
    /** Names this process among the workers; another one after a restart. */
    readonly member: string
    /**
     * Buckets of this process now. Two processes may both believe that they own one, or neither, for as long as a lease; appends at
     * exact revisions keep that harmless.
     */
    readonly owned: () => Buckets
    /** The buckets now, then after each change; a slow reader sees only the newest. Never ends. */
    readonly changes: Stream.Stream<Buckets>
    /** Workers that share the buckets, this one among them where it takes part. */
    readonly members: () => ReadonlyArray<string>
  }
>()("tributary/ports/Ownership") {}
