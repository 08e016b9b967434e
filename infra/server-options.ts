/** The servers that the environment names, as the adapters want them told. */
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type { StoreAddress } from "#adapters/eventstoredb/address.ts"
import type { DatabaseOptions } from "#adapters/mongodb/connection.ts"
import type { NatsOptions } from "#adapters/nats/connection.ts"
import type { ServerAddress, Servers } from "./config.ts"

const credentialsOf = ({ credentialsFile }: ServerAddress): string | undefined => Option.getOrUndefined(credentialsFile)

export const journalOptions = (address: ServerAddress): StoreAddress => ({
  url: Redacted.value(address.url),
  credentialsFile: credentialsOf(address)
})

/** `name` is shown by the server's own monitoring. */
export const natsOptions = (address: ServerAddress, name: string): NatsOptions => ({
  url: address.url,
  credentialsFile: credentialsOf(address),
  name
})

export const mongodbOptions = (address: ServerAddress, { mongodbCaFile }: Pick<Servers, "mongodbCaFile">): DatabaseOptions => {
  const passwordFile = credentialsOf(address)
  return {
    url: address.url,
    ...(passwordFile === undefined ? {} : { passwordFile }),
    ...(Option.isSome(mongodbCaFile) ? { caFile: mongodbCaFile.value } : {})
  }
}
