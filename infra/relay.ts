/** Integration and run events on NATS, from whichever journal (`TRIBUTARY_NATS`). */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { layer as nats } from "#adapters/nats/connection.ts"
import * as publisher from "#adapters/nats/publisher.ts"
import { prefixOf } from "#adapters/nats/work-stream.ts"
import { Journal } from "#services/ports/journal.ts"
import { Ownership } from "#services/ports/ownership.ts"
import { Relay } from "#services/relay.ts"
import type { ServerAddress } from "./config.ts"
import { natsOptions } from "./server-options.ts"

/** One of the processes that share a journal is the holder; one that is alone takes over from itself at once. */
export const layer = (address: ServerAddress) =>
  Layer.unwrap(
    Effect.gen(function* () {
      const { journalId } = yield* Journal
      const { member } = yield* Ownership
      return Relay.layer({ member }).pipe(
        Layer.provide(publisher.layer({ prefix: prefixOf(journalId) })),
        Layer.provide(nats(natsOptions(address, "tributary relay")))
      )
    })
  )
