/**
 * The one client of this process. It owns channel, discovery, credentials and reconnecting; calls are made on its channel by
 * ourselves: its table of pending appends is shared by all clients and streams of a process, it cannot read the log filtered, and it
 * gives the marks of a subscription out of order.
 */
import { EventStoreDBClient } from "@eventstore/db-client"
import gossip from "@eventstore/db-client/generated/gossip_grpc_pb.js"
import type { ClusterInfo } from "@eventstore/db-client/generated/gossip_pb.js"
import gossipMessages from "@eventstore/db-client/generated/gossip_pb.js"
import shared from "@eventstore/db-client/generated/shared_pb.js"
import streams from "@eventstore/db-client/generated/streams_grpc_pb.js"
import type { BatchAppendReq, BatchAppendResp, ReadReq, ReadResp } from "@eventstore/db-client/generated/streams_pb.js"
import { type CheckedAddress, checkAddress, type StoreAddress } from "./address.ts"
import { closedFailure, failureOf, lateFailure, StoreFailure } from "./failure.ts"
import { StoreRefused } from "./refusal.ts"

/** What is used of a call with a stream of answers. */
export interface AnswerStream<Answer> {
  on(event: "data", listener: (answer: Answer) => void): this
  on(event: "error", listener: (cause: Error) => void): this
  on(event: "end", listener: () => void): this
  pause(): this
  resume(): this
  cancel(): void
}
export interface AppendStream extends AnswerStream<BatchAppendResp> {
  write(request: BatchAppendReq): boolean
}
interface GrpcClient {
  read(request: ReadReq, ...call: CallArguments): AnswerStream<ReadResp>
  batchAppend(...call: CallArguments): AppendStream
}
type CallArguments = readonly [metadata: unknown, options: unknown]

/** Parts of the client that are `protected`, made for those who build on it. */
interface ClientInternals {
  GRPCStreamCreator<T>(
    service: unknown,
    name: string,
    create: (client: GrpcClient) => T,
    cache?: WeakMap<object, Promise<T>>
  ): () => Promise<T>
  execute<T>(service: unknown, name: string, action: (client: never) => Promise<T>): Promise<T>
  callArguments(base: { readonly requiresLeader?: boolean }, call: { readonly deadline: number | Date }): CallArguments
  readonly capabilities: Promise<{ readonly serverVersion: string; supports(method: unknown): boolean }>
  dispose(): Promise<void>
}

/** How long the first answers of the server may take. */
const helloMillis = 10_000
/** The oldest server whose subscriptions say when they have caught up. */
const versionMin = [23, 10] as const

let held: { readonly address: CheckedAddress; readonly connection: Connection; users: number } | undefined

/** What `doctor` tells of the store. */
export interface StoreFacts {
  readonly endpoint: string
  readonly version: string
  /** Null: the server does not say. */
  readonly leader: string | null
}

export class Connection {
  readonly endpoint: string
  private readonly client: ClientInternals
  private closed = false

  private constructor({ connectionString, endpoint }: CheckedAddress) {
    this.endpoint = endpoint
    this.client = EventStoreDBClient.connectionString(connectionString) as unknown as ClientInternals
  }

  /** Further users of the same store share the client; a second store in one process is refused. */
  static open(given: StoreAddress): Connection {
    const address = checkAddress(given)
    if (held === undefined) held = { address, connection: new Connection(address), users: 0 }
    else if (held.address.connectionString !== address.connectionString)
      throw new StoreRefused({
        kind: "SecondClient",
        reason: `This process is connected to EventStoreDB at ${held.address.endpoint} already. One process serves one journal. Nothing was changed.`
      })
    held.users++
    return held.connection
  }

  /** The last user closes it. */
  async close(): Promise<void> {
    if (held?.connection !== this || --held.users > 0) return
    held = undefined
    this.closed = true
    await this.client.dispose()
  }

  /** The stream of appends that `kept` holds; made again after it was lost. `begin` is called with each new one. */
  async appendStream(begin: (stream: AppendStream) => void, kept: WeakMap<object, Promise<AppendStream>>): Promise<AppendStream> {
    return this.attempt(
      this.client.GRPCStreamCreator(
        streams.StreamsClient,
        "appendToStream",
        (client) => {
          const stream = client.batchAppend(...this.client.callArguments({ requiresLeader: true }, { deadline: Number.POSITIVE_INFINITY }))
          begin(stream)
          return stream
        },
        kept
      )
    )
  }

  /** Answers of a read or a subscription, as they come. `begin` must listen at once. */
  async read(request: ReadReq, begin: (stream: AnswerStream<ReadResp>) => void, requiresLeader: boolean): Promise<void> {
    await this.attempt(
      this.client.GRPCStreamCreator(streams.StreamsClient, "read", (client) => {
        const stream = client.read(request, ...this.client.callArguments({ requiresLeader }, { deadline: Number.POSITIVE_INFINITY }))
        begin(stream)
        return stream
      })
    )
  }

  /** Asks server and cluster who they are. */
  async facts(): Promise<StoreFacts> {
    const { serverVersion } = await this.attempt(() => bounded(this.client.capabilities, helloMillis, this.endpoint))
    return { endpoint: this.endpoint, version: serverVersion, leader: await this.leader().catch(() => null) }
  }

  /** Refuses a server that lacks what we build on. */
  async checkServer(): Promise<void> {
    try {
      const features = await this.attempt(() => bounded(this.client.capabilities, helloMillis, this.endpoint))
      const version = features.serverVersion.split(".").map(Number)
      const known = version.length >= 2 && version.slice(0, 2).every(Number.isSafeInteger)
      const tooOld = known && (version[0]! < versionMin[0] || (version[0] === versionMin[0] && version[1]! < versionMin[1]))
      if (!known || tooOld || !features.supports(streams.StreamsService.batchAppend))
        throw new StoreRefused({
          kind: "ServerTooOld",
          reason: `EventStoreDB at ${this.endpoint} has version ${features.serverVersion}; ${versionMin.join(".")} or later is needed. Nothing was changed. Upgrade the server.`
        })
    } catch (cause) {
      throw refusalOf(cause)
    }
  }

  private async leader(): Promise<string | null> {
    const info = await bounded(
      this.client.execute(
        gossip.GossipClient,
        "gossip",
        (client: { read(empty: unknown, reply: (error: Error | null, info: ClusterInfo) => void): void }) =>
          new Promise<ClusterInfo>((resolve, reject) =>
            client.read(new shared.Empty(), (error, info) => (error === null ? resolve(info) : reject(error)))
          )
      ),
      helloMillis,
      this.endpoint
    )
    const leader = info.getMembersList().find((member) => member.getState() === gossipMessages.MemberInfo.VNodeState.LEADER)
    const end = leader?.getHttpEndPoint()
    return end === undefined ? null : `${end.getAddress()}:${end.getPort()}`
  }

  private async attempt<A>(call: () => Promise<A>): Promise<A> {
    if (this.closed) throw new StoreFailure(closedFailure(this.endpoint))
    try {
      return await call()
    } catch (cause) {
      // Nothing was sent: what fails here is the way to a connection.
      throw cause instanceof StoreFailure ? cause : new StoreFailure({ ...failureOf(cause, this.endpoint), written: "no" })
    }
  }
}

const bounded = <A>(promise: Promise<A>, millis: number, endpoint: string): Promise<A> =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new StoreFailure(lateFailure(endpoint, millis))), millis)
    promise.then(resolve, reject).finally(() => clearTimeout(timer))
  })

/** One clear line for whoever starts the platform. */
export const refusalOf = (cause: unknown): unknown => {
  if (!(cause instanceof StoreFailure)) return cause
  const { kind, reason } = cause.failure
  return new StoreRefused({
    kind: kind === "credentials" ? "RefusedCredentials" : "Unreachable",
    reason: `The journal was not opened: ${reason}. Nothing was changed. Start again when it is settled.`
  })
}
