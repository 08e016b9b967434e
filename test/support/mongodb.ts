/** MongoDB for contract tests: databases of their own on a stand-in, or on a server that is there. */
import { randomBytes } from "node:crypto"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { MongoClient } from "mongodb"
import { afterAll, beforeAll } from "vitest"
import * as vault from "#adapters/mongodb/vault.ts"
import { VaultDatabase } from "#adapters/mongodb/vault-database.ts"
import { masterKeyLayer } from "../adapters/installation.ts"
import { type StandIn, type StandInOptions, startStandIn } from "../stand-ins/mongodb/start.ts"
import { containerRow, serverRow } from "./containers.ts"

/** The oldest and the newest server would be two rows too many for one machine: the one that the Compose file names. */
const image = "mongo:8.0"

/** The server's URL with a new database in its path. */
export const newDatabase = (server: string): Redacted.Redacted<string> => {
  const url = new URL(server)
  url.pathname = `/test_${randomBytes(6).toString("hex")}`
  if (url.username !== "" && !url.searchParams.has("authSource")) url.searchParams.set("authSource", "admin")
  return Redacted.make(url.href)
}

/** A stand-in for the tests of this block. */
export const standIn = (options: StandInOptions = {}): { readonly url: () => string; readonly server: () => StandIn } => {
  let running: StandIn | undefined
  beforeAll(async () => {
    running = await startStandIn(options)
  })
  afterAll(() => running?.stop())
  return { url: () => running!.url, server: () => running! }
}

/** Drops the databases of a URL's server that these tests made. */
export const dropDatabases = async (urls: ReadonlyArray<Redacted.Redacted<string>>): Promise<void> => {
  for (const url of urls) {
    const client = new MongoClient(Redacted.value(url))
    await client.db().dropDatabase()
    await client.close()
  }
}

/** A vault in a new database. A single server will do: what a majority is for is not tested here. */
export const mongoVault = (url: () => string, masterKey = new Uint8Array(32).fill(7)) => {
  let database: Redacted.Redacted<string> | undefined
  const open = Effect.sync(() => {
    database ??= newDatabase(url())
    return vault.layer.pipe(
      Layer.provideMerge(VaultDatabase.layer({ url: database, replicaSet: "optional" })),
      Layer.provide(masterKeyLayer(masterKey))
    )
  })
  return {
    open: () => Layer.unwrap(open),
    remove: () => dropDatabases(database === undefined ? [] : [database])
  }
}

/** The rows against real servers. */
export const realServers = async (rows: (url: () => string) => void): Promise<void> => {
  serverRow("MongoDB", "TEST_MONGODB_URL", rows)
  await containerRow(
    "MongoDB",
    async () => {
      const { MongoDBContainer } = await import("@testcontainers/mongodb")
      const started = await new MongoDBContainer(image).start()
      return { url: `${started.getConnectionString()}/?directConnection=true`, stop: () => started.stop() }
    },
    rows
  )
}
