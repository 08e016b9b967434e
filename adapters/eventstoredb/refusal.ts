/** The store was not opened, for a reason that a person has to settle. */
import * as Data from "effect/Data"

export class StoreRefused extends Data.TaggedError("StoreRefused")<{
  readonly kind:
    | "WrongUrl"
    | "SecondClient"
    | "RefusedCredentials"
    | "ServerTooOld"
    | "Unreachable"
    | "UnknownEventTypes"
    | "WrongVault"
    | "NotEmpty"
  readonly reason: string
}> {
  override get message() {
    return this.reason
  }
}
