/**
 * A stand-in for a MongoDB server, in a process of its own, on the loopback device alone. See README.md for what it cannot do.
 *
 *   node main.ts [--port 0] [--replica-set rs0] [--data folder] [--user name --password text] [--version 8.0.0]
 */
import { createServer, type Socket } from "node:net"
import { parseArgs } from "node:util"
import { Commands } from "./commands.ts"
import { ConnectionDropped } from "./fail-points.ts"
import { Conversation } from "./scram.ts"
import { Store } from "./store.ts"
import { answerBytes, RequestReader } from "./wire.ts"

const { values } = parseArgs({
  options: {
    port: { type: "string", default: "0" },
    "replica-set": { type: "string" },
    data: { type: "string" },
    user: { type: "string" },
    password: { type: "string", default: "" },
    version: { type: "string", default: "8.0.0" }
  }
})

const store = await Store.open(values.data ?? null)
let commands: Commands
let connections = 0

const serve = (socket: Socket): void => {
  const reader = new RequestReader()
  const conversation = values.user === undefined ? null : new Conversation(values.user, values.password)
  const caller = { id: ++connections, conversation }
  let last = Promise.resolve()
  socket.setNoDelay(true)
  socket.on("error", () => socket.destroy())
  socket.on("data", (chunk) => {
    for (const request of reader.take(chunk))
      last = last.then(async () => {
        try {
          const answer = await commands.run(request.command, caller)
          if (request.wantsAnswer && !socket.destroyed) socket.write(answerBytes(request, answer))
        } catch (cause) {
          socket.destroy()
          if (!(cause instanceof ConnectionDropped)) console.error(cause)
        }
      })
  })
}

const server = createServer(serve)
server.listen(Number(values.port), "127.0.0.1", () => {
  const { port } = server.address() as { readonly port: number }
  commands = new Commands(store, { address: `127.0.0.1:${port}`, version: values.version, replicaSet: values["replica-set"] ?? null })
  console.log(`listening on ${port}`)
})

const end = () => process.exit(0)
process.on("SIGTERM", end)
process.stdin.on("end", end).on("close", end).resume()
