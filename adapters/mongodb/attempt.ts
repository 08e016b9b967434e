/** One call on the vault's database: within its time, and told apart by whether it had begun to write. */
import * as Effect from "effect/Effect"
import { SealingFailed } from "#adapters/sealing/failure.ts"
import { VaultUnavailable } from "#services/ports/unavailable.ts"
import { inTime, isMongoFailure, reasonOf } from "./failure.ts"

/** Whether a secret may be another than before. Once its caller was told that it failed, nothing more is begun. */
export class Writing {
  written: "no" | "unknown" = "no"
  private over = false

  /** Sends the write. Until its answer is there, and when it is a failure, its outcome is not known: the driver may have sent it twice. */
  async send<A>(write: () => Promise<A>): Promise<A> {
    if (this.over) throw new Error("Nobody waits for it any more.")
    this.written = "unknown"
    const answer = await write()
    this.written = "no"
    return answer
  }

  end(): void {
    this.over = true
  }
}

/** What is no failure of MongoDB is a defect. */
export const attempt = <A>(work: (writing: Writing) => Promise<A>, milliseconds?: number): Effect.Effect<A, VaultUnavailable> =>
  Effect.suspend(() => {
    const writing = new Writing()
    const tried = Effect.tryPromise({ try: () => inTime(() => work(writing), milliseconds), catch: (cause) => cause })
    return Effect.catch(tried, (cause) => {
      writing.end()
      if (cause instanceof VaultUnavailable) return Effect.fail(cause)
      const reason = cause instanceof SealingFailed ? cause.message : isMongoFailure(cause) ? reasonOf(cause) : null
      return reason === null ? Effect.die(cause) : Effect.fail(new VaultUnavailable({ written: writing.written, reason, cause }))
    })
  })
