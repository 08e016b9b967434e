/** What an event says of a secret: where it lies in the vault, which version, and a keyed fingerprint; never the secret. */
import * as Schema from "effect/Schema"

export type SecretVersion = typeof SecretVersion.Type
export const SecretVersion = Schema.Struct({
  /** Field name within its owner. */
  field: Schema.String,
  version: Schema.Int,
  fingerprint: Schema.String
})
