/** The key that wraps all others; kept outside the data folder. */
import * as Context from "effect/Context"
import type * as Redacted from "effect/Redacted"

export class MasterKey extends Context.Service<
  MasterKey,
  {
    /** Stored with each wrapped key: the first 8 bytes of SHA-256 of the key, hex. */
    readonly id: string
    /** 32 bytes. */
    readonly key: Redacted.Redacted<Uint8Array>
    /** Where it lies, for a person: a path or the variable's name. Never the key. */
    readonly where: string
  }
>()("tributary/ports/MasterKey") {}
