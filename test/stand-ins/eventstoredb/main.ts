/** A stand-in for EventStoreDB on loopback, in a process of its own. It is no evidence about the real server: see README.md. */
import { once } from "node:events"
import { readFileSync } from "node:fs"
import type { AddressInfo, Server as NetServer } from "node:net"
import { parseArgs } from "node:util"
import gossip from "@eventstore/db-client/generated/gossip_grpc_pb.js"
import gossipMessages from "@eventstore/db-client/generated/gossip_pb.js"
import features from "@eventstore/db-client/generated/serverfeatures_grpc_pb.js"
import featureMessages from "@eventstore/db-client/generated/serverfeatures_pb.js"
import shared from "@eventstore/db-client/generated/shared_pb.js"
import streams from "@eventstore/db-client/generated/streams_grpc_pb.js"
import { Server, ServerCredentials, type sendUnaryData } from "@grpc/grpc-js"
import { appendCalls } from "./appends.ts"
import { controlServer } from "./control.ts"
import { Disk } from "./disk.ts"
import { Doors } from "./doors.ts"
import { Engine } from "./engine.ts"
import { Faults } from "./faults.ts"
import { readCalls } from "./reads.ts"

const { values } = parseArgs({
  options: {
    port: { type: "string", default: "0" },
    "control-port": { type: "string", default: "0" },
    /** Folder that keeps the log over a restart. */
    data: { type: "string" },
    "warm-ids": { type: "boolean", default: false },
    "max-append-bytes": { type: "string", default: String(1024 * 1024) },
    /** `user:password` that every call must carry; needs TLS, as with the real server. */
    credentials: { type: "string" },
    "tls-certificate": { type: "string" },
    "tls-key": { type: "string" },
    "server-version": { type: "string", default: "23.10.0" }
  }
})

const faults = new Faults()
const doors = new Doors(faults, values.credentials ?? null)
const disk = values.data === undefined ? null : new Disk(values.data)
const engine = new Engine({ appendBytesMax: Number(values["max-append-bytes"]), coldIds: !values["warm-ids"] }, disk)
const stopping = { port: 0 }

const getSupportedMethods = (_call: unknown, reply: sendUnaryData<InstanceType<typeof featureMessages.SupportedMethods>>) => {
  const answer = new featureMessages.SupportedMethods()
  answer.setEventStoreServerVersion(values["server-version"])
  for (const name of ["read", "append", "delete", "tombstone", "batchappend"]) {
    const method = new featureMessages.SupportedMethod()
    method.setServiceName("event_store.client.streams.streams")
    method.setMethodName(name)
    answer.addMethods(method)
  }
  reply(null, answer)
}

const readGossip = (_call: unknown, reply: sendUnaryData<InstanceType<typeof gossipMessages.ClusterInfo>>) => {
  const member = new gossipMessages.MemberInfo()
  const id = new shared.UUID()
  id.setString(crypto.randomUUID())
  member.setInstanceId(id)
  member.setTimeStamp(String(Date.now()))
  member.setIsAlive(true)
  member.setState(gossipMessages.MemberInfo.VNodeState.LEADER)
  const endpoint = new gossipMessages.EndPoint()
  endpoint.setAddress("127.0.0.1")
  endpoint.setPort(stopping.port)
  member.setHttpEndPoint(endpoint)
  const answer = new gossipMessages.ClusterInfo()
  answer.addMembers(member)
  reply(null, answer)
}

const server = new Server({ "grpc.max_receive_message_length": 32 * 1024 * 1024 })
server.addService(streams.StreamsService as never, { ...appendCalls(engine, faults, doors), ...readCalls(engine, faults, doors) } as never)
server.addService(features.ServerFeaturesService as never, { getSupportedMethods } as never)
server.addService(gossip.GossipService as never, { read: readGossip } as never)

const certificate = values["tls-certificate"]
const credentials =
  certificate === undefined
    ? ServerCredentials.createInsecure()
    : ServerCredentials.createSsl(null, [{ cert_chain: readFileSync(certificate), private_key: readFileSync(values["tls-key"]!) }])
const injector = server.createConnectionInjector(credentials)

const listen = async (listener: NetServer, port: string): Promise<number> => {
  await once(listener.listen(Number(port), "127.0.0.1"), "listening")
  return (listener.address() as AddressInfo).port
}
const port = await listen(
  doors.listener((socket) => injector.injectConnection(socket)),
  values.port
)
stopping.port = port
faults.leader = { host: "127.0.0.1", port }
const controlPort = await listen(controlServer(engine, faults, doors), values["control-port"])

const stop = () => {
  disk?.close()
  process.exit(0)
}
process.on("SIGTERM", stop)
process.stdin.on("end", stop).on("error", stop).resume()
console.log(`control on ${controlPort}`)
console.log(`listening on ${port}`)
