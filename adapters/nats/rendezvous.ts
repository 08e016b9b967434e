/** Which member serves which bucket: the same answer at every member, even, and little moved when one comes or goes. */
import type { Buckets } from "#services/ports/ownership.ts"

/** FNV-1a (32 bit) with a final mix, so that names that differ in one character rank apart. */
const rank = (member: string, bucket: string): number => {
  let hash = 0x811c9dc5
  for (const text of [member, "/", bucket])
    for (let index = 0; index < text.length; index++) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}

/**
 * Rendezvous hashing with a bound: each bucket goes to the member that ranks highest for it among those that have not got their
 * share yet. Source: Thaler and Ravishankar (1998); the bound as in Mirrokni, Thorup, Zadimoghaddam, "Consistent hashing with
 * bounded loads" (2016).
 */
export const assign = (members: ReadonlyArray<string>, buckets: ReadonlyArray<string>): ReadonlyMap<string, Buckets> => {
  const shares = new Map(members.toSorted().map((member) => [member, new Set<string>()]))
  const bound = Math.ceil(buckets.length / Math.max(1, members.length))
  for (const bucket of buckets) {
    let best: Set<string> | undefined
    let bestRank = -1
    for (const [member, share] of shares) {
      if (share.size >= bound) continue
      const ranked = rank(member, bucket)
      if (ranked <= bestRank) continue
      best = share
      bestRank = ranked
    }
    best?.add(bucket)
  }
  return shares
}
