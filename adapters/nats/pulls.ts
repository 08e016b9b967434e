/** Asking the server for tickets: one small open request per bucket, asked again as tickets are taken. */
import { createInbox, type Msg, type NatsConnection, nanos, type Subscription } from "@nats-io/transport-node"
import { consumerName } from "./work-stream.ts"

const limits = {
  /** Tickets of a bucket asked for at a time, and kept here at most. */
  perBucket: 4,
  /** The server ends an unanswered request after this time. */
  expiresMillis: 5_000,
  /** A request that did not even end was never heard: the consumer is gone. */
  silenceMillis: 2_000,
  watchMillis: 1_000
} as const
const status = { timeout: [404, 408], gone: 409, noResponders: 503 } as const

interface Request {
  /** Tells its end from that of an older one. */
  readonly number: number
  /** Tickets that may still come. */
  open: number
  readonly at: number
}

export interface PullEvents {
  /** With the subject under which it was announced. */
  readonly onMessage: (message: Msg) => void
  /** Tickets kept of a bucket that nobody has taken yet. */
  readonly readyIn: (bucket: string) => number
  /** A consumer, or the whole stream, is gone: `start` has to be called again once it is back. */
  readonly onLost: () => void
}

export class Pulls {
  private readonly connection: NatsConnection
  private readonly stream: string
  private readonly events: PullEvents
  private readonly inbox = createInbox()
  private readonly requests = new Map<string, Request>()
  private readonly subscription: Subscription
  private readonly watch: NodeJS.Timeout
  private buckets: ReadonlySet<string> = new Set()
  private life = ""
  private numbers = 0

  constructor(connection: NatsConnection, stream: string, events: PullEvents) {
    this.connection = connection
    this.stream = stream
    this.events = events
    this.subscription = connection.subscribe(`${this.inbox}.*.*`, {
      callback: (error, message) => {
        if (error === null) this.hear(message)
      }
    })
    this.watch = setInterval(() => this.look(), limits.watchMillis)
  }

  /** Begins anew, for these buckets of the stream in this life: what was asked before is not waited for any more. */
  start(buckets: ReadonlySet<string>, life: string): void {
    this.life = life
    this.requests.clear()
    this.buckets = buckets
    for (const bucket of buckets) this.more(bucket)
  }

  /** Asks for no others from now on; those that come of them are the caller's to give back. */
  keepOnly(buckets: ReadonlySet<string>): void {
    this.buckets = buckets
    for (const bucket of this.requests.keys()) if (!buckets.has(bucket)) this.requests.delete(bucket)
  }

  /** Asks for tickets of a bucket, unless enough are asked for or waiting here. */
  more(bucket: string): void {
    const asked = this.requests.get(bucket)?.open ?? 0
    const wanted = limits.perBucket - this.events.readyIn(bucket)
    if (!this.buckets.has(bucket) || asked > 0 || wanted <= 0) return
    const request: Request = { number: ++this.numbers, open: wanted, at: performance.now() }
    this.requests.set(bucket, request)
    const body = JSON.stringify({ batch: wanted, expires: nanos(limits.expiresMillis) })
    this.connection.publish(`$JS.API.CONSUMER.MSG.NEXT.${this.stream}.${consumerName(bucket, this.life)}`, body, {
      reply: `${this.inbox}.${bucket}.${request.number}`
    })
  }

  close(): void {
    clearInterval(this.watch)
    this.buckets = new Set()
    if (!this.connection.isClosed()) this.subscription.unsubscribe()
  }

  private hear(message: Msg): void {
    if (message.reply !== undefined && message.reply !== "") {
      this.events.onMessage(message)
      return
    }
    const [number, bucket] = message.subject.split(".").reverse()
    const code = message.headers?.code ?? 0
    if (code === status.noResponders || (code === status.gone && /deleted/iu.test(message.headers!.description))) {
      // Also the end of an older request tells that the consumer is gone: a newer one may never have been heard.
      if (this.buckets.has(bucket!)) this.events.onLost()
      return
    }
    if (this.requests.get(bucket!)?.number !== Number(number) || code < 400) return
    this.requests.delete(bucket!)
    if (status.timeout.includes(code as 404)) this.more(bucket!)
    // Otherwise the server has too many requests for now: the watch asks again.
  }

  /** One ticket of the bucket's open request has come. */
  received(bucket: string): void {
    const request = this.requests.get(bucket)
    if (request !== undefined && --request.open <= 0) this.requests.delete(bucket)
  }

  private look(): void {
    const silent = performance.now() - limits.expiresMillis - limits.silenceMillis
    for (const request of this.requests.values()) {
      if (request.at > silent) continue
      this.events.onLost()
      return
    }
    for (const bucket of this.buckets) this.more(bucket)
  }
}
