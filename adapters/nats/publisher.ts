/** Events out to NATS: `tributary.<space>.<tenant>.<connector>.<event>`, kept by a stream of this installation. */
import { DiscardPolicy, JetStreamApiError, RetentionPolicy, StorageType, type StreamInfo } from "@nats-io/jetstream"
import { headers, nanos } from "@nats-io/transport-node"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { SpaceKey } from "#domain/ids.ts"
import { type Message, Publisher, PublisherUnavailable } from "#services/ports/publisher.ts"
import { Nats, refusedStream } from "./connection.ts"
import { ensureStream } from "./work-stream.ts"

export interface PublisherOptions {
  /** Of this installation (`prefixOf` its journal's id). */
  readonly prefix: string
  /** How long messages are kept. */
  readonly windowDays?: number
  /** Beyond it the oldest go first, whatever the window says. */
  readonly storageBytesMax?: number
  readonly replicas?: number
}
const defaults = { windowDays: 7, storageBytesMax: 1024 ** 3, replicas: 1 }
/** CloudEvents, structured mode. */
const contentType = "application/cloudevents+json"
const dayMillis = 86_400_000
const limits = {
  /** Messages that wait for the server's answer. */
  sending: 256,
  answerMillis: 2_000,
  /** Ids that the server recognises as repeated. */
  repeatWindowMillis: 120_000,
  /** Left of the largest message for its headers. */
  headerBytes: 1_024
} as const
/** Subjects must not be longer than a server's line; ids and names are far shorter. */
const tokenCharactersMax = 200

/** Percent-encoded where NATS gives a character a meaning, so that two texts never share a subject. */
export const subjectToken = (text: string): string => {
  const token = Array.from(new TextEncoder().encode(text), (byte) =>
    /[A-Za-z0-9_/:@=+~-]/u.test(String.fromCharCode(byte)) && byte < 0x80
      ? String.fromCharCode(byte)
      : `%${byte.toString(16).padStart(2, "0").toUpperCase()}`
  ).join("")
  return token === "" ? "%" : token.slice(0, tokenCharactersMax)
}
export const eventSubject = ({ space, tenant, topic }: Pick<Message, "space" | "tenant" | "topic">): string =>
  `tributary.${space}.${tenant}.${topic.map(subjectToken).join(".")}`
export const eventStreamName = (prefix: string): string => `${prefix}-events`

const targetOf = ({ config, created }: StreamInfo) => `${config.name}@${created}`
const spaceSubjects = (space: string) => `tributary.${space}.>`

class EventStream {
  private readonly nats: Nats["Service"]
  private readonly options: Required<PublisherOptions>
  /** Whose subjects the stream surely takes. */
  private readonly spaces = new Set<string>()
  private readonly headers = headers()
  constructor(nats: Nats["Service"], options: Required<PublisherOptions>) {
    this.nats = nats
    this.options = options
    this.headers.set("Content-Type", contentType)
  }

  /** When the stream was made: one that was made again is another one. Makes it when there is none. */
  async target(): Promise<string> {
    const found = await this.find()
    if (found !== undefined) return targetOf(found)
    this.spaces.clear()
    return targetOf(await this.make([]))
  }

  /** Lets the stream take the subjects of these spaces. */
  private async admit(spaces: ReadonlyArray<SpaceKey>): Promise<void> {
    const missing = [...new Set(spaces)].filter((space) => !this.spaces.has(space))
    if (missing.length === 0) return
    const present = (await this.find())?.config.subjects
    if (present === undefined) throw new Error("The stream is gone.")
    await this.make([...present, ...missing.map(spaceSubjects)])
    for (const space of missing) this.spaces.add(space)
  }

  private make(subjects: ReadonlyArray<string>) {
    const { prefix, windowDays, storageBytesMax, replicas } = this.options
    return ensureStream(this.nats.streams, {
      name: eventStreamName(prefix),
      // A stream without subjects is refused: nobody publishes to the first one.
      subjects: [...new Set([`${prefix}.events`, ...subjects])],
      retention: RetentionPolicy.Limits,
      storage: StorageType.File,
      discard: DiscardPolicy.Old,
      max_age: nanos(windowDays * dayMillis),
      max_bytes: storageBytesMax,
      duplicate_window: nanos(limits.repeatWindowMillis),
      num_replicas: replicas
    })
  }

  async publish(messages: ReadonlyArray<Message>): Promise<void> {
    try {
      await this.admit(messages.map(({ space }) => space))
      for (let first = 0; first < messages.length; first += limits.sending)
        await Promise.all(messages.slice(first, first + limits.sending).map((message) => this.send(message)))
    } catch (error) {
      // Perhaps the stream is gone: what it takes is looked up before the next one is sent.
      this.spaces.clear()
      throw error
    }
  }

  private send(message: Message) {
    return this.nats.client.publish(eventSubject(message), message.body, {
      msgID: message.id,
      headers: this.headers,
      timeout: limits.answerMillis,
      expect: { streamName: eventStreamName(this.options.prefix) }
    })
  }

  private async find() {
    try {
      return await this.nats.streams.streams.info(eventStreamName(this.options.prefix))
    } catch (error) {
      if (error instanceof JetStreamApiError && error.status === 404) return undefined
      throw error
    }
  }
}

const unavailable = (servers: string) => (cause: unknown) =>
  new PublisherUnavailable({ reason: `NATS at ${servers} does not take them`, cause })

export const layer = (options: PublisherOptions) =>
  Layer.effect(
    Publisher,
    Effect.gen(function* () {
      const nats = yield* Nats
      const settings = { ...defaults, ...options }
      const stream = new EventStream(nats, settings)
      yield* Effect.tryPromise({ try: () => stream.target(), catch: (cause) => refusedStream(nats.servers, cause) })
      const attempt = <A>(what: () => Promise<A>) =>
        Effect.tryPromise({ try: () => nats.whileConnected(what), catch: unavailable(nats.servers) })
      return Publisher.of({
        bodyBytesMax: (nats.connection.info?.max_payload ?? 1024 ** 2) - limits.headerBytes,
        windowMillis: settings.windowDays * dayMillis,
        target: attempt(() => stream.target()),
        publish: (messages) => attempt(() => stream.publish(messages))
      })
    })
  )
