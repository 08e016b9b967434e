/** What keeps keys, or large contents, could not: a failure of another store within the journal's own work. */
export class SealingFailed extends Error {
  override readonly name = "SealingFailed"
  /** "unknown": keys, or contents, may have been stored or removed; a repeat finds them so, or does it again. */
  readonly written: "no" | "unknown"

  constructor(written: "no" | "unknown", reason: string, cause: unknown) {
    super(reason, { cause })
    this.written = written
  }
}
