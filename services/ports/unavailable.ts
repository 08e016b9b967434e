/** What a port says when it could not: nothing of the request is known to have happened unless `written` says "unknown". */
import * as Data from "effect/Data"

export class JournalUnavailable extends Data.TaggedError("JournalUnavailable")<{
  /** "no": surely not written. "unknown": it may have been; repeat the identical append to find out (R2). */
  readonly written: "no" | "unknown"
  readonly reason: string
  readonly cause?: unknown
}> {
  override get message() {
    return `The journal cannot take or give events now: ${this.reason}. ${
      this.written === "no" ? "Nothing was written." : "Whether it was written is not known yet."
    } Try again shortly.`
  }
}

export class VaultUnavailable extends Data.TaggedError("VaultUnavailable")<{
  /** "no": no secret was surely changed. "unknown": it may have been; who repeats it puts, or removes, the same again. */
  readonly written: "no" | "unknown"
  readonly reason: string
  readonly cause?: unknown
}> {
  override get message() {
    return `The vault cannot be read or written now: ${this.reason}. ${
      this.written === "no" ? "Nothing was changed." : "Whether it was changed is not known yet."
    } Try again shortly.`
  }
}

export class ReadModelsUnavailable extends Data.TaggedError("ReadModelsUnavailable")<{
  readonly reason: string
  readonly cause?: unknown
}> {
  override get message() {
    return `The read models cannot answer now: ${this.reason}. Nothing is lost: they follow the journal. Try again shortly.`
  }
}
