/** One connection to NATS: refused in one clear line when it cannot be used, and kept up for ever after. */
import { JetStreamApiError, type JetStreamClient, type JetStreamManager, jetstream, jetstreamManager } from "@nats-io/jetstream"
import { connect, errors, type NatsConnection } from "@nats-io/transport-node"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import { parseServerUrl, type ServerUrl } from "./server-url.ts"

/** Streams with one message per subject that refuse the newer ones exist from 2.9 on. */
const serverFloor = [2, 9] as const
const connectMillis = 5_000
/** A dead server is noticed after at most three of these. */
const pingMillis = 10_000
const reconnectMillis = 250
const drainMillis = 2_000
/** Name of the driver's error, whose class it does not export. */
const notEnabled = "JetStreamNotEnabled"

export interface NatsOptions {
  readonly url: Redacted.Redacted<string>
  /** File with the credentials, for URLs that do not hold them: NATS's own form, or one line `user:password`. */
  readonly credentialsFile?: string | undefined
  /** Shown by the server's own monitoring. */
  readonly name?: string
}

/** NATS cannot be used as configured. Nothing was changed. */
export class NatsRefused extends Data.TaggedError("NatsRefused")<{
  readonly servers: string
  readonly why: "url" | "unreachable" | "credentials" | "too-old" | "no-jetstream" | "not-permitted"
  readonly reason: string
  readonly cause?: unknown
}> {
  override get message() {
    return `NATS${this.servers === "" ? "" : ` at ${this.servers}`} cannot be used: ${this.reason} Nothing was changed, and nothing in the journal is affected.`
  }
}

/** What `doctor` says about the server. */
export interface NatsFacts {
  readonly servers: string
  readonly connected: boolean
  readonly version: string
  readonly encrypted: boolean
  /** Largest message, bytes. */
  readonly messageBytesMax: number
  /** Of the account, null when the server did not answer. */
  readonly streams: number | null
  readonly storageBytes: number | null
  /** Not above zero: no limit. */
  readonly storageBytesMax: number | null
}

export class Nats extends Context.Service<
  Nats,
  {
    readonly connection: NatsConnection
    readonly streams: JetStreamManager
    readonly client: JetStreamClient
    /** Host and port of each server, without credentials. */
    readonly servers: string
    readonly isConnected: () => boolean
    /** Called after each loss and each return of the connection, for the life of the layer. */
    readonly onChange: (listener: (connected: boolean) => void) => void
    /** Asks, and fails as soon as the connection is lost, or at once while it is: no answer would come. */
    readonly whileConnected: <A>(ask: () => Promise<A>) => Promise<A>
    readonly facts: Effect.Effect<NatsFacts>
  }
>()("tributary/adapters/Nats") {}

const isAtLeastFloor = (version: string) => {
  const [major = 0, minor = 0] = version.split(".").map(Number)
  return major > serverFloor[0] || (major === serverFloor[0] && minor >= serverFloor[1])
}

const causes = (error: unknown): ReadonlyArray<unknown> => (error instanceof Error ? [error, ...causes(error.cause)] : [])
const isOne = (error: unknown, kind: new (...args: never) => Error) => causes(error).some((cause) => cause instanceof kind)

const refusedConnect = (servers: string, cause: unknown) => {
  const text = causes(cause)
    .map((each) => (each as Error).message)
    .join(" ")
  return isOne(cause, errors.AuthorizationError) || isOne(cause, errors.UserAuthenticationExpiredError)
    ? new NatsRefused({
        servers,
        why: "credentials",
        reason: "it refused the credentials. Check the user, the token or the credentials file.",
        cause
      })
    : /tls|certificate|ssl/iu.test(text)
      ? new NatsRefused({
          servers,
          why: "unreachable",
          reason: "the TLS handshake failed. Check the scheme and the certificate files.",
          cause
        })
      : new NatsRefused({ servers, why: "unreachable", reason: "it does not answer. Check the URL, and that nats-server runs.", cause })
}

/** Turns a refusal of JetStream into ours. */
export const refusedStream = (servers: string, cause: unknown) =>
  causes(cause).some((each) => (each as Error).name === notEnabled) || isOne(cause, errors.NoRespondersError)
    ? new NatsRefused({
        servers,
        why: "no-jetstream",
        reason: "JetStream is off for this account. Start nats-server with -js (jetstream { store_dir: … }).",
        cause
      })
    : isOne(cause, errors.PermissionViolationError)
      ? new NatsRefused({
          servers,
          why: "not-permitted",
          reason: "the user may not use JetStream's API. Grant it publish on $JS.API.>.",
          cause
        })
      : new NatsRefused({
          servers,
          why: "no-jetstream",
          reason: `JetStream answered ${cause instanceof JetStreamApiError ? `${cause.code}: ${cause.message}` : "nothing in time"}.`,
          cause
        })

const open = ({ shown, options }: ServerUrl, name: string) =>
  Effect.tryPromise({
    try: () =>
      connect({
        ...options,
        name,
        timeout: connectMillis,
        pingInterval: pingMillis,
        maxReconnectAttempts: -1,
        reconnectTimeWait: reconnectMillis,
        reconnectJitter: reconnectMillis,
        // Credentials that are refused for a while, as in the middle of a rotation, do not end the connection for good.
        ignoreAuthErrorAbort: true,
        noAsyncTraces: true
      }),
    catch: (cause) => refusedConnect(shown, cause)
  })

const close = (connection: NatsConnection) =>
  Effect.promise(() => connection.drain().catch(() => connection.close())).pipe(
    Effect.timeoutOption(drainMillis),
    Effect.andThen(Effect.promise(() => connection.close().catch(() => undefined)))
  )

/** Tells the listeners; ends with the connection. */
const watch = (connection: NatsConnection) => {
  let connected = true
  const listeners: Array<(connected: boolean) => void> = []
  const asking = new Set<() => void>()
  const tell = (now: boolean) => {
    connected = now
    if (!now) for (const giveUp of asking) giveUp()
    for (const listener of listeners) listener(now)
  }
  const follow = async () => {
    for await (const { type } of connection.status()) {
      if (type === "disconnect") tell(false)
      else if (type === "reconnect") tell(true)
    }
  }
  void follow()
  const whileConnected = <A>(ask: () => Promise<A>): Promise<A> =>
    new Promise<A>((resolve, reject) => {
      const giveUp = () => reject(new errors.ConnectionError("There is no connection to the server."))
      if (!connected) return giveUp()
      asking.add(giveUp)
      ask()
        .then(resolve, reject)
        .finally(() => asking.delete(giveUp))
    })
  const onChange = (listener: (connected: boolean) => void) => void listeners.push(listener)
  return { isConnected: () => connected, onChange, whileConnected }
}

/** The connection; build the layer once per URL and provide it to whoever uses that server. */
export const layer = ({ url, credentialsFile, name = "tributary" }: NatsOptions) =>
  Layer.effect(
    Nats,
    Effect.gen(function* () {
      const parsed = parseServerUrl(url, credentialsFile)
      if (Result.isFailure(parsed)) return yield* new NatsRefused({ servers: "", why: "url", reason: parsed.failure })
      const servers = parsed.success.shown
      const connection = yield* Effect.acquireRelease(open(parsed.success, name), close)
      const { version } = connection.info!
      if (!isAtLeastFloor(version))
        return yield* new NatsRefused({
          servers,
          why: "too-old",
          reason: `it is version ${version}; ${serverFloor.join(".")} or newer is needed. Upgrade nats-server.`
        })
      const streams = yield* Effect.tryPromise({
        try: () => jetstreamManager(connection, { timeout: connectMillis }),
        catch: (cause) => refusedStream(servers, cause)
      })
      const { isConnected, onChange, whileConnected } = watch(connection)
      const facts = Effect.promise(async (): Promise<NatsFacts> => {
        const account = await streams.getAccountInfo().catch(() => null)
        return {
          servers,
          connected: isConnected(),
          version: connection.info?.version ?? version,
          encrypted: connection.info?.tls_required === true,
          messageBytesMax: connection.info?.max_payload ?? 0,
          streams: account?.streams ?? null,
          storageBytes: account?.storage ?? null,
          storageBytesMax: account?.limits.max_storage ?? null
        }
      })
      return Nats.of({ connection, streams, client: jetstream(connection), servers, isConnected, onChange, whileConnected, facts })
    })
  )
