/** Chance: ids and keys, cryptographically random except in simulations. */
import * as Context from "effect/Context"
import type { EventId } from "#domain/ids.ts"

export class Entropy extends Context.Service<
  Entropy,
  {
    /** A random UUID. */
    readonly eventId: () => EventId
    /** So many characters of lower-case base32, 5 bits each. */
    readonly base32: (length: number) => string
    /** A number in [0, 1), for jitter. */
    readonly fraction: () => number
  }
>()("tributary/ports/Entropy") {}
