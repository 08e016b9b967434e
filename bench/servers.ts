/** The servers of the distributed form for the bench: a real NATS, and the tests' stand-ins, which are no measure of EventStoreDB or MongoDB. */
import { randomBytes } from "node:crypto"
import { join } from "node:path"
import { type Child, freePort, launch } from "./child.ts"

const standIn = (name: string) => join(import.meta.dirname, "..", "test", "stand-ins", name, "main.ts")

export interface Servers {
  /** By which a process finds them, and the master key that all processes share. */
  readonly environment: Readonly<Record<string, string>>
  readonly stop: () => Promise<void>
}

const listening = async (child: Child): Promise<string> => (await child.says(/listening on (\d+)/u))[1]!

export const startServers = async (folder: string): Promise<Servers> => {
  const port = String(await freePort())
  const nats = launch(["-a", "127.0.0.1", "-p", port, "-js", "-sd", join(folder, "nats")], {}, undefined, "nats-server")
  await nats.says(/Server is ready/u)
  const store = launch([standIn("eventstoredb"), "--data", join(folder, "eventstoredb")])
  const storePort = await listening(store)
  const mongodb = launch([standIn("mongodb"), "--replica-set", "rs0", "--data", join(folder, "mongodb")])
  const mongodbPort = await listening(mongodb)
  const database = (name: string) => `mongodb://127.0.0.1:${mongodbPort}/${name}?replicaSet=rs0`
  return {
    environment: {
      TRIBUTARY_MASTER_KEY: randomBytes(32).toString("hex"),
      TRIBUTARY_JOURNAL: `esdb://127.0.0.1:${storePort}?tls=false`,
      TRIBUTARY_BUS: `nats://127.0.0.1:${port}`,
      TRIBUTARY_READ_MODELS: database("tributary_views"),
      TRIBUTARY_VAULT: database("tributary_vault")
    },
    stop: async () => {
      for (const server of [nats, store, mongodb]) await server.stop()
    }
  }
}
