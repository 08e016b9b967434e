/** Failures with MongoDB's codes. */

const names: Record<number, string> = {
  2: "BadValue",
  13: "Unauthorized",
  18: "AuthenticationFailed",
  26: "NamespaceNotFound",
  43: "CursorNotFound",
  59: "CommandNotFound",
  66: "ImmutableField",
  72: "InvalidOptions",
  112: "WriteConflict",
  251: "NoSuchTransaction",
  263: "OperationNotSupportedInTransaction",
  11000: "DuplicateKey"
}

export class CommandFailed extends Error {
  readonly code: number
  readonly labels: ReadonlyArray<string>
  constructor(code: number, message: string, labels: ReadonlyArray<string> = []) {
    super(message)
    this.code = code
    this.labels = labels
  }

  get answer() {
    return {
      ok: 0,
      code: this.code,
      codeName: names[this.code] ?? "Error",
      errmsg: this.message,
      ...(this.labels.length === 0 ? {} : { errorLabels: this.labels })
    }
  }
}
