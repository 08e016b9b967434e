/** Wiping the work queue and the views of a distributed installation. Its processes may be at work: they begin anew from the log. */
import { JetStreamApiError } from "@nats-io/jetstream"
import * as Effect from "effect/Effect"
import { contactRefusal, type Database, type DatabaseRefused, open } from "#adapters/mongodb/connection.ts"
import { inTime } from "#adapters/mongodb/failure.ts"
import { identitiesOf, notViews, wipeViews as wipe } from "#adapters/mongodb/identities.ts"
import { Nats, layer as natsLayer } from "#adapters/nats/connection.ts"
import { prefixOf, workStreamName } from "#adapters/nats/work-stream.ts"
import type { Servers } from "../config.ts"
import { mongodbOptions, natsOptions } from "../server-options.ts"
import { type CommandFailed, failed } from "./failure.ts"
import type { Wipe } from "./wipe.ts"

const title = "Nothing was wiped"
/** Dropping many collections takes its time. */
const wipeMillis = 60_000

const looked = <A>(
  purpose: "views" | "vault",
  { facts }: Database,
  look: () => Promise<A>,
  millis?: number
): Effect.Effect<A, DatabaseRefused> => Effect.tryPromise({ try: () => inTime(look, millis), catch: contactRefusal(facts, purpose) })

/** Which installation it is, by its vault: several may share a NATS server. */
const journalIdOf = Effect.fnUntraced(function* (servers: Servers) {
  const database = yield* open(mongodbOptions(servers.vault, servers), "vault", { replicaSet: "optional" })
  const { vault } = yield* looked("vault", database, () => identitiesOf(database.db))
  if (vault === null)
    return yield* failed(
      title,
      `${database.facts.where} holds no vault, which says which work queue is this installation's. Correct TRIBUTARY_VAULT.`
    )
  return vault.journalId
})

const streamNotFound = 10059

export const wipeBus = (servers: Servers): Effect.Effect<Wipe, CommandFailed> =>
  Effect.gen(function* () {
    const name = workStreamName(prefixOf(yield* journalIdOf(servers)))
    const { streams, servers: where } = yield* Nats
    const there = yield* Effect.tryPromise({
      try: () =>
        streams.streams.delete(name).catch((cause) => {
          if (cause instanceof JetStreamApiError && cause.code === streamNotFound) return false
          throw cause
        }),
      catch: (cause) => failed(title, `NATS at ${where} did not delete ${name}: ${(cause as Error).message}.`)
    })
    const said = there
      ? `The work queue ${name} at ${where} is deleted. Running workers make it again within a second or two and announce what is open from the log.`
      : `There was no work queue ${name} at ${where}.`
    return { wiped: "bus", said }
  }).pipe(
    Effect.provide(natsLayer(natsOptions(servers.bus, "tributary wipe"))),
    Effect.scoped,
    Effect.mapError((cause) => (cause._tag === "CommandFailed" ? cause : failed(title, cause.message)))
  )

export const wipeViews = (servers: Servers): Effect.Effect<Wipe, CommandFailed> =>
  Effect.gen(function* () {
    const database = yield* open(mongodbOptions(servers.readModels, servers), "views", { replicaSet: "optional" })
    const { where } = database.facts
    const identities = yield* looked("views", database, () => identitiesOf(database.db))
    const why = notViews(identities)
    if (why !== null)
      return yield* failed(
        title,
        `${where} is named as views, but ${why}. A database is wiped only when all in it is views. Correct TRIBUTARY_READ_MODELS.`
      )
    const { models, collections } = yield* looked("views", database, () => wipe(database.db, identities), wipeMillis)
    const said = `${models} models and ${collections} collections of ${where} are deleted. Running workers make them anew from the log; until then, lists answer 503.`
    return { wiped: "views", said }
  }).pipe(
    Effect.scoped,
    Effect.mapError((cause) => (cause._tag === "CommandFailed" ? cause : failed(title, cause.message)))
  )
