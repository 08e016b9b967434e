/** Calls to the store as effects: its failures become the port's, and anything else is a defect. */
import * as Effect from "effect/Effect"
import { SealingFailed } from "#adapters/sealing/failure.ts"
import { JournalUnavailable } from "#services/ports/unavailable.ts"
import { StoreFailure, unavailableOf } from "./failure.ts"
import { EventDamaged } from "./recorded-event.ts"

export const attempt = <A>(call: () => Promise<A>): Effect.Effect<A, JournalUnavailable> =>
  Effect.callback((resume) => {
    call().then(
      (value) => resume(Effect.succeed(value)),
      (cause: unknown) => {
        if (cause instanceof StoreFailure) resume(Effect.fail(unavailableOf(cause)))
        else if (cause instanceof SealingFailed)
          resume(Effect.fail(new JournalUnavailable({ written: cause.written, reason: cause.message, cause })))
        else if (cause instanceof EventDamaged) resume(Effect.fail(new JournalUnavailable({ written: "no", reason: cause.message, cause })))
        else resume(Effect.die(cause))
      }
    )
  })
